/** Two of the support end the waiting: real services and SQL on both databases, and the command line on the product. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { newId } from '../../../src/platform/ids.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { type Conversation, startConversation } from '../../support/conversation.ts'
import { SUPPORTERS } from '../../support/safety_rooms.ts'
import { freshDatabase } from '../../support/services.ts'

const HOUR = 3_600_000
const ANN = { name: 'ann', key: 'annann' }
const BO = { name: 'bo', key: 'bobo' }

describe.each(['embedded', 'postgres'] as const)('the support on %s', (kind) => {
  let database: Database
  let house: Conversation
  let email: string
  let id: string

  beforeAll(async () => {
    database = await freshDatabase(kind)
    house = await startConversation(database)
  })
  afterAll(async () => {
    await house?.close()
    await database?.close()
  })
  beforeEach(async () => {
    email = `${newId().toLowerCase().replaceAll(/[-_]/g, 'x')}@example.com`
    id = await house.member(email, 'correct horse battery')
    await house.safety.change(id, true)
    await house.consume()
    house.world.time += 1000
  })

  const service = () => house.safety.lostFactors.service
  const approve = (by: typeof ANN, reason?: string) => service().approve(id, by, reason)
  const complete = () => service().complete(id, { locale: 'en' })
  async function request() {
    const account = await house.accounts.view(id)
    if (account === undefined) throw new Error('no account')
    expect(await service().request(account, '192.0.2.1', { locale: 'en' })).toEqual({ ok: true })
    await house.consume()
  }
  const stated = async (type: string) =>
    (await database.db('outbox').where({ type, account_id: id }).orderBy('id').select('data')).map(({ data }) => data)

  it('ends the waiting when two have approved, which is stated and told', async () => {
    await request()
    expect(await approve(ANN, 'ticket 4711')).toBe('one_more')
    expect(await complete()).toBeUndefined()
    expect(await approve(BO)).toBe('released')
    expect(await stated('factor_removal.approved')).toEqual([
      { by: 'ann', released: false, reason: 'ticket 4711' },
      { by: 'bo', released: true },
    ])
    const told = (await house.mails()).filter(({ to }) => to === email).map(({ values }) => values.event)
    expect(told).toEqual(['removal_requested', 'removal_near'])
    expect((await complete())?.factors).toEqual([])
  })

  it('is two people: one is not enough, however often', async () => {
    await request()
    expect(await approve(ANN)).toBe('one_more')
    expect(await approve(ANN)).toBe('approved_already')
    const together = await Promise.all([approve(ANN), approve(ANN), approve(ANN)])
    expect(together).toEqual(['approved_already', 'approved_already', 'approved_already'])
    expect(await complete()).toBeUndefined()
  })

  it('releases once when both approve in the same moment', async () => {
    await request()
    expect((await Promise.all([approve(ANN), approve(BO)])).toSorted()).toEqual(['one_more', 'released'])
    expect(await approve(ANN)).toBe('due_already')
  })

  it('forgets an approval after a day', async () => {
    await request()
    expect(await approve(ANN)).toBe('one_more')
    house.world.time += 24 * HOUR
    expect(await approve(BO)).toBe('one_more')
    expect(await approve(ANN)).toBe('released')
  })

  it.each([
    ['another’s key', { name: 'ann', key: BO.key }],
    ['no key', { name: 'ann', key: '' }],
    ['the hash in place of the key', { name: 'ann', key: SUPPORTERS[0]?.keyHash ?? '' }],
    ['a name that is nobody’s', { name: 'eve', key: ANN.key }],
  ])('refuses %s, and says so in the ledger', async (_, by) => {
    await request()
    expect(await approve(by)).toBe('refused')
    expect(await stated('factor_removal.refused')).toEqual([{ by: by.name }])
    expect(await approve(BO)).toBe('one_more')
  })

  it('can begin nothing in the owner’s place, and an owner who stops it has stopped both', async () => {
    expect(await approve(ANN)).toBe('none')
    await request()
    expect(await approve(ANN)).toBe('one_more')
    await database.transaction((tx) => service().cancel(id, 'refused', tx))
    expect(await approve(BO)).toBe('none')
    await request()
    expect(await approve(BO)).toBe('one_more')
  })
})
