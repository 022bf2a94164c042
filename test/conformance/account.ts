/** The account that the suite's browser signs in with, made through the front door. */
import { createBrowser } from '../support/browser.ts'
import { register, signIn } from '../support/journeys.ts'
import type { Mailbox } from '../support/mailbox.ts'

export const ACCOUNT = { email: 'conformance@example.com', password: 'a lantern in the quiet harbour' } as const

/** What its owner says, so that the scopes have something to release. */
const PROFILE = {
  name: 'Ada Harbour',
  given_name: 'Ada',
  family_name: 'Harbour',
  nickname: 'Ada',
  birthdate: '1990-01-31',
  zoneinfo: 'Europe/Helsinki',
  phone_number: '+358 40 1234567',
  website: 'https://ada.example',
}

export interface AccountOptions {
  readonly issuer: string
  /** Trusted certificate of the issuer (PEM). */
  readonly ca?: string
  readonly mailbox: Mailbox
}

/** Registers the account, or signs in to the one that is there. @throws Error when neither is possible */
export async function ensureAccount({ issuer, ca, mailbox }: AccountOptions): Promise<void> {
  const { email, password } = ACCOUNT
  const browser = createBrowser(ca === undefined ? {} : { ca })
  const start = await browser.get(`${issuer}/account`)
  const home = await signIn(browser, start, email, password)
  if (new URL(home.url).pathname.startsWith('/account')) return
  const other = createBrowser(ca === undefined ? {} : { ca })
  const made = await register(other, await other.get(`${issuer}/account`), mailbox, email, password)
  if (!new URL(made.url).pathname.startsWith('/account')) throw new Error(`no account: ${made.url} ${made.text}`)
  const saved = await other.submit(await other.get(`${issuer}/account/profile`), PROFILE, { form: '/account/profile' })
  if (saved.status >= 400) throw new Error(`no profile: ${saved.status} ${saved.text}`)
}
