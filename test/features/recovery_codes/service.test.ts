import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Database } from '../../../src/platform/postgres.ts'
import { createFactorRooms } from '../../support/factor_rooms.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:10.000Z')
const page = { locale: 'en' }

describe.each(['embedded', 'postgres'] as const)('recovery codes on %s', (kind) => {
  let database: Database
  let rooms: ReturnType<typeof createFactorRooms>
  let accountId: string
  let holder: { id: string; accountId: string }

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    rooms = createFactorRooms(database, START)
    accountId = await rooms.account()
    holder = { id: 's1', accountId }
  })

  const withApp = () => database.transaction((tx) => rooms.enrolment.setFactor(accountId, 'totp', true, tx))
  const redeem = async (code: string) =>
    rooms.codes.redeem(await rooms.view(accountId), code, { ...page, clientId: 'web' })
  async function made(): Promise<readonly string[]> {
    await withApp()
    expect(await rooms.codes.regenerate(holder, await rooms.view(accountId), page)).toBe(true)
    return (await rooms.codes.shown(holder)) ?? []
  }
  /** The window of tries must not hide what a test is about. */
  const rest = () => rooms.kv.delete(`{tries}:recovery_code:${accountId}`)

  it('are ten of fifty bits, shown to who made them for ten minutes, and never readable in a store', async () => {
    const codes = await made()
    expect(new Set(codes).size).toBe(10)
    for (const code of codes) expect(code).toMatch(/^[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}$/)
    expect(await rooms.codes.shown({ ...holder, id: 's2' })).toBeUndefined()
    expect(await rooms.codes.shown({ ...holder, accountId: 'other' })).toBeUndefined()
    expect(await rooms.kv.get(`recovery_codes:${accountId}:s1`)).toMatch(/^v1\./)
    const rows = await database.db('recovery_codes').where({ account_id: accountId })
    for (const { sealed_hash: sealed } of rows) expect(sealed).toMatch(/^v1\./)
    rooms.world.time += 600_000
    expect(await rooms.codes.shown(holder)).toBeUndefined()
    expect(rooms.facts).toMatchObject([
      { type: 'factor.added', data: { method: 'recovery_code', count: 10 } },
      { type: 'mail.requested', sealed: { values: { event: 'recovery_codes_created' } } },
    ])
  })

  it('are forgotten once they are saved', async () => {
    await made()
    await rooms.codes.forget(holder)
    expect(await rooms.codes.shown(holder)).toBeUndefined()
  })

  it('are for accounts with something that they stand in for', async () => {
    expect(await rooms.codes.regenerate(holder, await rooms.view(accountId), page)).toBe(false)
    expect(await rooms.codes.shown(holder)).toBeUndefined()
    expect(await database.db('recovery_codes').where({ account_id: accountId })).toEqual([])
    expect(rooms.facts).toEqual([])
  })

  it('A40: work once each, in any case and spelling, and their use is told', async () => {
    const [first = '', second = ''] = await made()
    expect(await redeem(` ${first.toLowerCase().replace('-', '\u2013 ')} `)).toEqual({ ok: true, left: 9 })
    expect(rooms.facts.slice(2)).toMatchObject([
      { type: 'factor.updated', clientId: 'web', data: { method: 'recovery_code', left: 9 } },
      { type: 'mail.requested', sealed: { values: { event: 'recovery_code_used', left: 9 } } },
    ])
    expect(await redeem(first)).toEqual({ ok: false, code: 'recovery_code_invalid' })
    expect(rooms.facts.at(-1)).toMatchObject({ type: 'recovery_code.rejected', accountId })
    const lookAlikes = second.replaceAll('0', 'o').replaceAll('1', 'l')
    expect(await redeem(lookAlikes)).toEqual({ ok: true, left: 8 })
    expect(await rooms.codes.find(accountId)).toEqual({ left: 8, madeAt: new Date(START) })
  })

  it('A40: 20 times at once one is right once', async () => {
    const [first = ''] = await made()
    const ends = await Promise.all(Array.from({ length: 20 }, () => redeem(first)))
    expect(ends.filter(({ ok }) => ok)).toHaveLength(1)
  })

  it('A40: of an old set none works after new ones were made', async () => {
    const before = await made()
    const after = await made()
    expect(await redeem(before[3] ?? '')).toMatchObject({ ok: false })
    expect(await redeem(after[3] ?? '')).toMatchObject({ ok: true, left: 9 })
    expect(rooms.facts.map(({ type }) => type)).toContain('factor.updated')
  })

  it('of another account do not work', async () => {
    const [first = ''] = await made()
    const owner = accountId
    accountId = await rooms.account()
    holder = { id: 's2', accountId }
    await made()
    expect(await redeem(first)).toMatchObject({ ok: false })
    accountId = owner
    expect(await redeem(first)).toMatchObject({ ok: true })
  })

  it('A36: are counted when wrong, apart from the app', async () => {
    const [first = ''] = await made()
    for (let i = 0; i < 5; i++) expect(await redeem(i === 0 ? '' : 'AAAAA-AAAAA')).toMatchObject({ ok: false })
    expect(await redeem(first)).toEqual({ ok: false, code: 'too_many_requests', retryAfter: 600 })
    const failures = async () =>
      (await database.db('recovery_code_sets').where({ account_id: accountId }).first()).failures
    expect(await failures()).toBe(5)
    await rest()
    expect(await redeem(first)).toMatchObject({ ok: true })
    expect(await failures()).toBe(0)
  })

  it('are no factor any more once the last is used', async () => {
    const codes = await made()
    for (const [index, code] of codes.entries()) expect(await redeem(code)).toEqual({ ok: true, left: 9 - index })
    expect((await rooms.view(accountId)).factors).toEqual(['totp'])
  })

  it("of a conversation are the account's only once they were saved, and once", async () => {
    await withApp()
    const draft = await rooms.codes.draft(holder)
    expect(await rooms.codes.draft(holder)).toEqual(draft)
    expect(await redeem(draft[0] ?? '')).toMatchObject({ ok: false })
    const account = await rooms.view(accountId)
    const saved = await Promise.all(Array.from({ length: 5 }, () => rooms.codes.save(holder, account, page)))
    expect(saved.filter(Boolean)).toHaveLength(1)
    expect((await rooms.view(accountId)).factors).toEqual(['totp', 'recovery_code'])
    expect(await redeem(draft[0] ?? '')).toEqual({ ok: true, left: 9 })
  })

  it('are sealed anew under the newest secret key', async () => {
    await made()
    expect(await database.transaction((tx) => rooms.codes.reseal(rooms.reseal, tx))).toBeGreaterThanOrEqual(10)
    expect(await database.transaction((tx) => rooms.codes.reseal(rooms.reseal, tx))).toBe(0)
  })
})
