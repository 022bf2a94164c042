/** Two instances on one PostgreSQL and one Redis: the code of a message counts once, wherever it arrives, and so does a limit. */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import type { Page } from '../support/browser.ts'
import { SETTINGS, signIn } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, stepOf } from '../support/people.ts'
import { type Pair, startPair } from '../support/server.ts'
import { codeOf, startTextProvider, type TextProvider } from '../support/text_provider.ts'

const EMAIL = 'ann@texts.example'
const NUMBER = '+358401234567'
const AT_ONCE = 50

let pair: Pair
let mailbox: SmtpMailbox
let provider: TextProvider
let database: Database

beforeAll(async () => {
  ;[mailbox, provider] = await Promise.all([startMailbox(), startTextProvider()])
  const limits = { sign_in_per_identifier: 10_000, sign_in_per_address: 10_000 }
  const sms = { url: provider.url, countries: ['FI'] }
  pair = await startPair({ settings: { ...SETTINGS, limits, sms }, env: { SMTP_URL: mailbox.url } })
  database = await openDatabase({ databaseUrl: pair.stores.databaseUrl })
  await newPerson(pair.issuer, mailbox, EMAIL)
})
afterAll(async () => {
  await database?.close()
  await pair?.close()
  await mailbox?.stop()
  await provider?.close()
})

const times = <T>(work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: AT_ONCE }, (_, index) => work(index)))
const signsIn = (page: Page) => page.params.has('code')

it('of 50 times at once a number is sent one code, and is set up once', async () => {
  const browser = clientBrowser()
  const page = await signIn(browser, await browser.get(`${pair.issuer}/account/phone/new`), EMAIL)
  const asked = await times(() => browser.submit(page, { phone: NUMBER }, { form: '/account/phone/new' }))
  const asks = asked.find(({ status }) => status === 200)
  if (asks === undefined) throw new Error('no page asks for the code')
  const code = codeOf(await provider.to(NUMBER))
  await times(() => browser.submit(asks, { code }, { form: '/account/phone/new' }))
  expect(provider.accepted).toHaveLength(1)
  expect(
    await database.db('outbox').where({ type: 'factor.added' }).whereRaw(`data->>'method' = 'sms_code'`),
  ).toHaveLength(1)
  expect(await database.db('phones')).toHaveLength(1)
}, 120_000)

it('a code, of 50 times at once in one conversation, signs in once', async () => {
  await Promise.all(pair.servers.map((server) => server.shiftDate(600)))
  const browser = clientBrowser()
  const page = await signIn(browser, await browser.get(authorizationRequest(pair.issuer, 'own').url), EMAIL)
  expect(stepOf(page)).toBe('sms_code')
  const code = codeOf(await provider.to(NUMBER, 2))
  const ends = await times(() => browser.submit(page, { code }, { form: '/sms_code' }))
  expect(ends.filter(signsIn).length).toBeGreaterThan(0)
  expect(await database.db('outbox').where({ type: 'sms_code.verified' })).toHaveLength(1)
  // Nowhere else, and never again.
  const other = clientBrowser()
  const again = await signIn(other, await other.get(authorizationRequest(pair.issuer, 'own').url), EMAIL)
  expect(signsIn(await other.submit(again, { code }, { form: '/sms_code' }))).toBe(false)
}, 120_000)
