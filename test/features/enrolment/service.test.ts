import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Database } from '../../../src/platform/postgres.ts'
import { createFactorRooms } from '../../support/factor_rooms.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')

describe.each(['embedded', 'postgres'] as const)('enrolment on %s', (kind) => {
  let database: Database
  let rooms: ReturnType<typeof createFactorRooms>
  let accountId: string

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    rooms = createFactorRooms(database, START)
    accountId = await rooms.account()
  })

  const set = (method: string, isSet: boolean) =>
    database.transaction((tx) => rooms.enrolment.setFactor(accountId, method, isSet, tx))
  const changeFactor = async (method: string, kind: 'added' | 'removed', sessionUid?: string) => {
    const account = await rooms.view(accountId)
    const change = { account, method, change: kind, notice: 'totp_added', page: { locale: 'en' }, sessionUid } as const
    return database.transaction((tx) => rooms.enrolment.changeFactor(change, tx))
  }

  it('notes what an account has; a stand-in alone is nothing', async () => {
    expect(await set('totp', true)).toEqual(['totp'])
    expect(await set('recovery_code', true)).toEqual(['totp', 'recovery_code'])
    expect(await set('passkey', true)).toEqual(['totp', 'recovery_code', 'passkey'])
    expect(await set('totp', false)).toEqual(['recovery_code', 'passkey'])
    expect(await set('passkey', false)).toEqual([])
    expect(await set('recovery_code', true)).toEqual([])
  })

  it('A54: a change ends the other sessions, also from a conversation that has none yet', async () => {
    expect(await changeFactor('totp', 'added', 's1')).toEqual(expect.any(Function))
    await changeFactor('totp', 'added')
    expect(rooms.ended.map(({ exceptUid }) => exceptUid)).toEqual(['s1', 'none'])
  })

  it('of two removals at once one leaves the last factor of an account that must have one', async () => {
    await set('totp', true)
    await set('passkey', true)
    rooms.world.required = true
    const ends = await Promise.all([changeFactor('totp', 'removed', 's1'), changeFactor('passkey', 'removed', 's1')])
    expect(ends.filter((end) => end === 'last_factor')).toHaveLength(1)
    expect((await rooms.view(accountId)).factors).toHaveLength(1)
  })

  it('is put off as often as the grace allows, however many try at once', async () => {
    const ends = await Promise.all(Array.from({ length: 10 }, () => rooms.enrolment.putOff(accountId, 2)))
    expect(ends.filter(Boolean)).toHaveLength(2)
    expect(await rooms.enrolment.putOff(accountId, 2)).toBe(false)
    expect(rooms.facts.filter(({ type }) => type === 'account.enrolment_put_off')).toHaveLength(2)
  })

  it("is demanded by an operator, who is the fact's actor, and once", async () => {
    expect(await rooms.enrolment.require(accountId, true, 'stolen phone')).toBe(true)
    expect(await rooms.enrolment.require(accountId, true)).toBe(false)
    expect(rooms.facts).toMatchObject([
      {
        type: 'account.updated',
        actor: 'operator',
        data: { changes: { second_factor_required: { old: false, new: true } }, reason: 'stolen phone' },
      },
    ])
    expect(await rooms.enrolment.require('nobody', true)).toBe(false)
  })
})
