/** Who is told of what, with which link. Real SQL; the links themselves are used in journey.test.ts. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Database } from '../../../src/platform/postgres.ts'
import { type Conversation, startConversation } from '../../support/conversation.ts'
import { freshDatabase } from '../../support/services.ts'

const DAY = 86_400_000

describe('notices', () => {
  let database: Database
  let house: Conversation
  beforeAll(async () => {
    database = await freshDatabase('embedded')
    house = await startConversation(database)
  })
  afterAll(async () => {
    await house?.close()
    await database?.close()
  })

  const told = async (email: string) =>
    (await house.mails()).filter(({ to }) => to === email).map(({ values }) => values.event)

  it('many wrong tries at the second factor are told of once a day (ASVS 6.3.5)', async () => {
    const email = 'tried@example.com'
    const id = await house.member(email)
    const fail = async (times: number, type: 'totp.rejected' | 'recovery_code.rejected' | 'password.rejected') => {
      for (let time = 0; time < times; time++) {
        await database.transaction((tx) => house.outbox.record([{ type, accountId: id }], tx))
      }
      await house.consume()
    }
    await fail(20, 'password.rejected')
    await fail(4, 'totp.rejected')
    expect(await told(email)).toEqual([])
    await fail(1, 'recovery_code.rejected')
    expect(await told(email)).toEqual(['suspicious_tries'])
    await fail(20, 'totp.rejected')
    expect(await told(email)).toEqual(['suspicious_tries'])
    house.world.time += DAY
    await fail(5, 'totp.rejected')
    expect(await told(email)).toEqual(['suspicious_tries', 'suspicious_tries'])
  })

  it('for a week after a change of address both are told, each with a link of its own; a dump holds no link', async () => {
    const [old, now] = ['old@example.com', 'now@example.com']
    const id = await house.member(old)
    const { tell } = house.safety.notices.service
    const before = await house.accounts.view(id)
    if (before === undefined) throw new Error('no account')
    await database.transaction((tx) => tell('email_changed', before, { locale: 'en' }, tx))
    const account = { ...before, email: now }
    await database.transaction((tx) => tell('new_device', account, { locale: 'en' }, tx))
    expect([await told(old), await told(now)]).toEqual([['email_changed', 'new_device'], ['new_device']])
    const urls = (await house.mails())
      .filter(({ to }) => to === old || to === now)
      .map(({ values }) => (values.link as unknown as { url: string }).url)
    expect(new Set(urls).size).toBe(3)
    const rows = JSON.stringify(await database.db('notice_links'))
    for (const url of urls) expect(rows).not.toContain(new URL(url).searchParams.get('token'))
    house.world.time += 7 * DAY
    await database.transaction((tx) => tell('new_device', account, { locale: 'en' }, tx))
    expect([(await told(old)).length, (await told(now)).length]).toEqual([2, 2])
  })
})
