import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { type Authenticator, authenticator } from '../../support/authenticator.ts'
import { createFactorRooms, NEW } from '../../support/factor_rooms.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:10.000Z')
const page = { locale: 'en' }
const change = { page, sessionUid: 's1' }

describe.each(['embedded', 'postgres'] as const)('an authenticator app on %s', (kind) => {
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
    holder = { id: 'c1', accountId }
  })

  const now = () => new Date(rooms.world.time)
  const pending = async (who = holder) => {
    const { uri, seed } = await rooms.totp.pending(who, { issuer: 'Genkan', label: 'ada@example.com' })
    return { uri, app: authenticator(seed) }
  }
  async function setUp(): Promise<Authenticator> {
    const { app } = await pending()
    const account = await rooms.view(accountId)
    expect(await rooms.totp.confirm(holder, account, app.code(now()), change)).toEqual({ ok: true })
    rooms.world.time += 30_000
    return app
  }
  const verify = (code: string) => rooms.totp.verify(accountId, code, 'web')
  const types = () => rooms.facts.map(({ type }) => type)

  it('shows a seed that apps read, the same until it is confirmed, and never readable in the store', async () => {
    const { uri, app } = await pending()
    const { protocol, host, pathname, searchParams } = new URL(uri)
    expect([protocol, host, decodeURIComponent(pathname)]).toEqual(['otpauth:', 'totp', '/Genkan:ada@example.com'])
    expect(Object.fromEntries(searchParams)).toEqual({
      issuer: 'Genkan',
      secret: app.seed.replaceAll(' ', ''),
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    })
    expect(app.seed).toMatch(/^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$/)
    expect((await pending()).app.seed).toBe(app.seed)
    expect((await pending({ ...holder, id: 'c2' })).app.seed).not.toBe(app.seed)
    expect((await pending({ ...holder, accountId: 'other' })).app.seed).not.toBe(app.seed)
    expect(await rooms.kv.get(`totp_setup:${accountId}:c1`)).toMatch(/^v1\./)
  })

  it('belongs to the account by a code of it, which does not sign in again; the rest of the house is told', async () => {
    const { app } = await pending()
    const account = await rooms.view(accountId)
    expect(await rooms.totp.confirm(holder, account, '000000', change)).toEqual({ ok: false, code: 'totp_invalid' })
    const code = app.code(now())
    expect(await rooms.totp.confirm(holder, account, code, change)).toEqual({ ok: true })
    expect(await rooms.totp.find(accountId)).toEqual({ confirmedAt: now(), usedAt: undefined })
    expect(await rooms.view(accountId)).toMatchObject({ factors: ['totp'] })
    expect(rooms.ended).toEqual([{ accountId, reason: 'factor_changed', exceptUid: 's1' }])
    expect(rooms.facts).toMatchObject([
      { type: 'factor.added', accountId, data: { method: 'totp' } },
      { type: 'mail.requested', sealed: { to: 'ada@example.com', values: { event: 'totp_added' } } },
    ])
    expect(await verify(code)).toEqual({ ok: false, code: 'totp_used' })
    expect(await rooms.totp.confirm(holder, account, code, change)).toEqual({ ok: false, code: 'totp_setup_gone' })
    const [{ sealed_seed: sealed }] = await database.db('totp_seeds').where({ account_id: accountId })
    expect(sealed).toMatch(/^v1\./)
  })

  it('is confirmed once of many times at once', async () => {
    const { app } = await pending()
    const account = await rooms.view(accountId)
    const code = app.code(now())
    const ends = await Promise.all(Array.from({ length: 5 }, () => rooms.totp.confirm(holder, account, code, change)))
    expect(ends.filter(({ ok }) => ok)).toHaveLength(1)
    expect(types()).toEqual(['factor.added', 'mail.requested'])
  })

  it('A39: takes each code once, one step early or late, and none from before the last', async () => {
    const app = await setUp()
    expect(await verify(app.code(now(), 2))).toMatchObject({ code: 'totp_invalid' })
    expect(await verify(app.code(now(), 1))).toEqual({ ok: true })
    expect(await verify(app.code(now(), 1))).toEqual({ ok: false, code: 'totp_used' })
    expect(await verify(app.code(now()))).toEqual({ ok: false, code: 'totp_used' })
    rooms.world.time += 600_000
    expect(await verify(app.code(now(), -2))).toMatchObject({ code: 'totp_invalid' })
    expect(await verify(app.code(now(), -1))).toEqual({ ok: true })
    expect((await rooms.totp.find(accountId))?.usedAt).toEqual(now())
  })

  it('A39: 20 times at once it is right once', async () => {
    const app = await setUp()
    const code = app.code(now())
    const ends = await Promise.all(Array.from({ length: 20 }, () => verify(code)))
    expect(ends.filter(({ ok }) => ok)).toHaveLength(1)
  })

  it('A36: counts wrong ones, blank ones too, in the row and as facts; a right one ends the row', async () => {
    const app = await setUp()
    for (const code of ['', '12345', '000000', 'abcdef']) expect(await verify(code)).toMatchObject({ ok: false })
    const failures = async () => (await database.db('totp_seeds').where({ account_id: accountId }).first()).failures
    expect(await failures()).toBe(4)
    expect(types().filter((type) => type === 'totp.rejected')).toHaveLength(4)
    expect(await verify(app.code(now()))).toEqual({ ok: true })
    expect(await failures()).toBe(0)
    for (let i = 0; i < 5; i++) await verify('000000')
    expect(await verify(app.code(now(), 1))).toEqual({ ok: false, code: 'too_many_requests', retryAfter: 600 })
    expect(await failures()).toBe(5)
  })

  it('is replaced only by its confirmation, and then dead', async () => {
    const before = await setUp()
    const { app } = await pending({ ...holder, id: 's9' })
    expect(await verify(before.code(now()))).toEqual({ ok: true })
    const account = await rooms.view(accountId)
    const confirmed = await rooms.totp.confirm({ ...holder, id: 's9' }, account, app.code(now()), change)
    expect(confirmed).toEqual({ ok: true })
    rooms.world.time += 30_000
    expect(await verify(before.code(now()))).toMatchObject({ code: 'totp_invalid' })
    expect(await verify(app.code(now()))).toEqual({ ok: true })
    expect(types()).toContain('factor.updated')
  })

  it('goes with the recovery codes that stood in for it', async () => {
    await setUp()
    const account = await rooms.view(accountId)
    expect(await rooms.codes.regenerate(holder, account, page)).toBe(true)
    expect((await rooms.view(accountId)).factors).toEqual(['totp', 'recovery_code'])
    expect(await rooms.totp.remove(await rooms.view(accountId), change)).toBe('removed')
    expect(await rooms.totp.remove(account, change)).toBe('absent')
    expect((await rooms.view(accountId)).factors).toEqual([])
    expect(await rooms.codes.find(accountId)).toBeUndefined()
    expect(types().filter((type) => type === 'factor.removed')).toHaveLength(1)
  })

  it('R15f: stays while the account must have a second factor and has no other', async () => {
    await setUp()
    rooms.world.required = true
    const stated = rooms.facts.length
    expect(await rooms.totp.remove(await rooms.view(accountId), change)).toBe('last_factor')
    expect(rooms.facts).toHaveLength(stated)
    expect(await rooms.totp.find(accountId)).toBeDefined()
    await database.transaction((tx) => rooms.enrolment.setFactor(accountId, 'passkey', true, tx))
    expect(await rooms.totp.remove(await rooms.view(accountId), change)).toBe('removed')
    expect((await rooms.view(accountId)).factors).toEqual(['passkey'])
  })

  it('is sealed anew under the newest secret key', async () => {
    const app = await setUp()
    expect(await database.transaction((tx) => rooms.totp.reseal(rooms.reseal, tx))).toBeGreaterThan(0)
    expect(await database.transaction((tx) => rooms.totp.reseal(rooms.reseal, tx))).toBe(0)
    const [{ sealed_seed: sealed }] = await database.db('totp_seeds').where({ account_id: accountId })
    expect(createSecretBox([NEW]).open(sealed, 'totp')).toBe(app.seed.replaceAll(' ', ''))
  })
})
