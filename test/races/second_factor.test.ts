/** Two instances on one PostgreSQL and one Redis: a code of an app, a recovery code and a set-up count once, wherever they arrive. */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { type Authenticator, appOf, codesOf } from '../support/authenticator.ts'
import type { Browser, Page } from '../support/browser.ts'
import { choose, SETTINGS, signIn } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson } from '../support/people.ts'
import { type Pair, startPair } from '../support/server.ts'

const EMAIL = 'ann@factors.example'
const AT_ONCE = 50

let pair: Pair
let mailbox: SmtpMailbox
let database: Database
let app: Authenticator
let recoveryCodes: readonly string[]
let ahead = 0

beforeAll(async () => {
  mailbox = await startMailbox()
  const limits = { sign_in_per_identifier: 10_000, sign_in_per_address: 10_000 }
  pair = await startPair({ settings: { ...SETTINGS, limits }, env: { SMTP_URL: mailbox.url } })
  database = await openDatabase({ databaseUrl: pair.stores.databaseUrl })
  await newPerson(pair.issuer, mailbox, EMAIL)
})
afterAll(async () => {
  await database?.close()
  await pair?.close()
  await mailbox?.stop()
})

const now = () => new Date(Date.now() + ahead * 1000)
async function later(seconds: number): Promise<void> {
  ahead += seconds
  await Promise.all(pair.servers.map((server) => server.shiftDate(ahead)))
}
const times = <T>(work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: AT_ONCE }, (_, index) => work(index)))
const signsIn = (page: Page) => page.params.has('code')
const open = (browser: Browser) => browser.get(authorizationRequest(pair.issuer, 'own').url)

/** Browsers that have shown the password, one after the other: hashing at once has a limit of its own. */
async function atSecondFactor(count: number): Promise<{ browser: Browser; page: Page }[]> {
  const all: { browser: Browser; page: Page }[] = []
  for (let i = 0; i < count; i++) {
    const browser = clientBrowser()
    all.push({ browser, page: await signIn(browser, await open(browser), EMAIL) })
  }
  return all
}

it('an app is set up once of 50 times at once', async () => {
  const browser = clientBrowser()
  const start = await browser.get(`${pair.issuer}/account/totp/new`)
  const page = await signIn(browser, start, EMAIL)
  app = appOf(page)
  const code = app.code(now())
  const ends = await times(() => browser.submit(page, { code }, { form: '/account/totp/new' }))
  expect(ends.filter((end) => codesOf(end).length === 10)).not.toHaveLength(0)
  expect(await database.db('outbox').where({ type: 'factor.added' }).whereRaw(`data->>'method' = 'totp'`)).toHaveLength(
    1,
  )
  const shown = await browser.get(`${pair.issuer}/account/recovery-codes/new`)
  recoveryCodes = codesOf(shown)
  expect(recoveryCodes).toHaveLength(10)
  await browser.submit(shown, {}, { form: '/account/recovery-codes/new' })
}, 120_000)

it('a code of an app, of 50 times at once, signs in once', async () => {
  await later(600)
  const browsers = await atSecondFactor(AT_ONCE)
  const code = app.code(now())
  const ends = await Promise.all(browsers.map(({ browser, page }) => browser.submit(page, { code }, { form: '/totp' })))
  expect(ends.filter(signsIn)).toHaveLength(1)
  // Five are looked at, and five more once the right one among them has ended the row.
  expect(ends.filter(({ status }) => status === 400).length).toBeLessThan(10)
}, 180_000)

it('a recovery code, of 50 times at once, signs in once', async () => {
  await later(600)
  const browsers = await atSecondFactor(AT_ONCE)
  const asked = await Promise.all(
    browsers.map(async ({ browser, page }) => ({ browser, page: await choose(browser, page, 'recovery_code') })),
  )
  const [code = ''] = recoveryCodes
  const ends = await Promise.all(
    asked.map(({ browser, page }) => browser.submit(page, { code }, { form: '/recovery_code' })),
  )
  expect(ends.filter(signsIn)).toHaveLength(1)
  expect(await database.db('recovery_codes').whereNotNull('used_at')).toHaveLength(1)
}, 180_000)
