/** Two instances on one PostgreSQL and one Redis: an assertion and a registration count once, wherever they arrive. */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { choose, SETTINGS } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { type SoftAuthenticator, softAuthenticator } from '../support/passkey.ts'
import { challengeOn } from '../support/passkey_people.ts'
import { authorizationRequest, clientBrowser, newPerson } from '../support/people.ts'
import { type Pair, startPair } from '../support/server.ts'

const AT_ONCE = 50
let pair: Pair
let mailbox: SmtpMailbox
let database: Database
let key: SoftAuthenticator

beforeAll(async () => {
  mailbox = await startMailbox()
  // The storms must meet the race and not the limit of failures.
  const limits = { sign_in_per_address: 10_000 }
  pair = await startPair({ settings: { ...SETTINGS, limits }, env: { SMTP_URL: mailbox.url } })
  database = await openDatabase({ databaseUrl: pair.stores.databaseUrl })
  key = softAuthenticator({ origin: pair.issuer, rpId: new URL(pair.issuer).hostname })
})
afterAll(async () => {
  await database?.close()
  await pair?.close()
  await mailbox?.stop()
})

const times = <T>(work: () => Promise<T>) => Promise.all(Array.from({ length: AT_ONCE }, work))

it('of 50 registrations of one credential at once one is made', async () => {
  const { browser } = await newPerson(pair.issuer, mailbox, 'ann@passkeys.example')
  const page = await browser.get(`${pair.issuer}/account/passkeys/new`)
  const credential = key.create(await challengeOn(browser, page))
  await times(() => browser.submit(page, { credential }, { form: '/account/passkeys/new' }))
  expect(await database.db('passkeys')).toHaveLength(1)
  expect(await database.db('outbox').where({ type: 'factor.added' })).toHaveLength(1)
}, 120_000)

it('of 50 submits of one assertion at once one session comes', async () => {
  const browser = clientBrowser()
  const page = await choose(browser, await browser.get(authorizationRequest(pair.issuer, 'own').url), 'passkey')
  const credential = key.get(await challengeOn(browser, page))
  const before = await database.db('sessions')
  await times(() => browser.submit(page, { credential }, { form: '/passkey' }))
  expect((await database.db('sessions')).length).toBe(before.length + 1)
  expect(await database.db('outbox').where({ type: 'passkey.verified' })).toHaveLength(1)
}, 120_000)

it('of 50 submits of one assertion by as many conversations none is a sign-in but its own', async () => {
  const ready = await times(async () => {
    const browser = clientBrowser()
    return {
      browser,
      page: await choose(browser, await browser.get(authorizationRequest(pair.issuer, 'own').url), 'passkey'),
    }
  })
  const [first] = ready
  if (first === undefined) throw new Error('nobody is ready')
  const credential = key.get(await challengeOn(first.browser, first.page))
  const ends = await Promise.all(
    ready.map(({ browser, page }) => browser.submit(page, { credential }, { form: '/passkey' })),
  )
  expect(ends.slice(1).filter((end) => end.params.has('code'))).toEqual([])
}, 120_000)
