/** People with a second factor on a server whose time the test moves: no code of an app is good twice, so each takes a new one. */
import { type Authenticator, appOf, codesOf } from './authenticator.ts'
import type { Browser, Page } from './browser.ts'
import { PASSWORD, signIn } from './journeys.ts'
import { stepOf } from './people.ts'
import type { Member, Target } from './target.ts'

export interface Protected extends Member {
  readonly app: Authenticator
  readonly recoveryCodes: readonly string[]
}

export interface Clock {
  now(): Date
  /** Moves the server's time; a step of an app is 30 seconds. */
  later(seconds: number): Promise<void>
}

export function clockOf({ server }: Pick<Target, 'server'>): Clock {
  let ahead = 0
  return {
    now: () => new Date(Date.now() + ahead * 1000),
    async later(seconds) {
      ahead += seconds
      await server.shiftDate(ahead)
    },
  }
}

/** Opens an account page, showing password and code where they are asked for. */
export async function openAccount(
  target: Pick<Target, 'issuer'>,
  browser: Browser,
  path: string,
  { email, app, clock }: { email: string; app?: Authenticator; clock: Clock },
): Promise<Page> {
  let page = await browser.get(`${target.issuer}${path}`)
  if (['identifier', 'password'].includes(stepOf(page) ?? '')) page = await signIn(browser, page, email, PASSWORD)
  if (stepOf(page) !== 'totp' || app === undefined) return page
  await clock.later(30)
  return browser.submit(page, { code: app.code(clock.now()) }, { form: '/totp' })
}

/** Registers, sets up an app on the account page, and saves the recovery codes. */
export async function signUpWithApp(target: Target, clock: Clock, email: string): Promise<Protected> {
  const member = await target.signUp(email)
  const { browser } = member
  const page = await openAccount(target, browser, '/account/totp', { email, clock })
  const app = appOf(page)
  const shown = await browser.submit(page, { code: app.code(clock.now()) }, { form: '/account/totp/new' })
  const recoveryCodes = codesOf(shown)
  if (recoveryCodes.length !== 10) throw new Error(`no recovery codes: ${shown.status} ${shown.url} ${shown.text}`)
  await browser.submit(shown, {}, { form: '/account/recovery-codes/new' })
  await clock.later(30)
  return { ...member, app, recoveryCodes }
}

/** Password only; ends at the page that asks for more, or at the client. */
export async function firstFactor(
  target: Target,
  { email }: { email: string },
  parameters: { readonly [name: string]: string } = {},
  browser: Browser = target.person(),
): Promise<{ browser: Browser; page: Page }> {
  return { browser, page: await signIn(browser, await target.open(browser, parameters), email) }
}
