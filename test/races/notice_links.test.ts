/** One-time links of notices on two instances: of fifty POSTs at once one acts. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import type { Page } from '../support/browser.ts'
import { SETTINGS } from '../support/journeys.ts'
import { linkFrom, type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { clientBrowser, newPerson } from '../support/people.ts'
import { openedRows } from '../support/personal_columns.ts'
import { type Pair, startPair } from '../support/server.ts'
import type { Target } from '../support/target.ts'

let pair: Pair
let mailbox: SmtpMailbox
let database: Database

beforeAll(async () => {
  mailbox = await startMailbox()
  pair = await startPair({ settings: SETTINGS, env: { SMTP_URL: mailbox.url } })
  database = await openDatabase({ databaseUrl: pair.stores.databaseUrl })
})
afterAll(async () => {
  await database?.close()
  await pair?.close()
  await mailbox?.stop()
})

const emailHash = (email: string) => {
  const sql: Target['sql'] = async (statement) => (await database.db.raw(statement)).rows
  return openedRows(sql, pair.servers[0].env.GENKAN_SECRET_KEYS).emailHash(email)
}

const factsOf = async (type: string, email: string) => {
  const { rows } = await database.db.raw(
    'select count(*)::int as count from outbox o join accounts a on a.id = o.account_id where o.type = ? and a.email_hash = ?',
    [type, await emailHash(email)],
  )
  return rows[0].count as number
}

describe('the link of a notice', () => {
  it('acts once of 50 parallel POSTs, and the others are told that it was used', async () => {
    const email = 'race@example.com'
    await (await newPerson(pair.issuer, mailbox, email)).elsewhere()
    const link = new URL(linkFrom(await mailbox.to(email, { count: 2, arrivals: true }), '/notices/disown'))
    const token = link.searchParams.get('token') ?? ''
    const browser = clientBrowser()
    const page: Page = await browser.get(link.href)
    const csrf = page.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
    const posts = Array.from({ length: 50 }, () => browser.post(`${pair.issuer}/notices/disown`, { csrf, token }))
    const ends = (await Promise.all(posts)).map(({ url, status }) => `${status} ${new URL(url).pathname}`)
    expect(ends.filter((end) => end === '200 /notices/disown/done')).toHaveLength(1)
    expect(ends.filter((end) => end === '410 /notices/disown')).toHaveLength(49)
    expect(await factsOf('account.disowned', email)).toBe(1)
  })

  it('without the form of the page it does nothing (A55)', async () => {
    const email = 'forged@example.com'
    const person = await newPerson(pair.issuer, mailbox, email)
    await person.elsewhere()
    const link = new URL(linkFrom(await mailbox.to(email, { count: 2, arrivals: true }), '/notices/disown'))
    const token = link.searchParams.get('token') ?? ''
    expect((await clientBrowser().post(`${pair.issuer}/notices/disown`, { token })).status).toBe(403)
    expect(await person.signedIn()).toBe(true)
    expect(await factsOf('account.disowned', email)).toBe(0)
  })
})
