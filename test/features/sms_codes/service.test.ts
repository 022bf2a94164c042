import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { createFactorRooms, NEW } from '../../support/factor_rooms.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const NUMBER = '+358401234567'
const OTHER = '+358457654321'
const asker = { ip: '192.0.2.1', locale: 'fi' }
const change = { page: { locale: 'fi' }, sessionUid: 's1' }
const wrongOf = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0')

describe.each(['embedded', 'postgres'] as const)('a phone on %s', (kind) => {
  let database: Database
  let rooms: ReturnType<typeof createFactorRooms>
  let accountId: string
  let holder: { id: string; accountId: string }

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.db('phones').delete()
    rooms = createFactorRooms(database, START)
    accountId = await rooms.account()
    holder = { id: 'c1', accountId }
  })

  const types = () => rooms.facts.map(({ type }) => type)
  const later = (seconds: number) => {
    rooms.world.time += seconds * 1000
  }
  async function proposed(number = NUMBER, who = holder): Promise<string> {
    expect(await rooms.sms.propose(who, number, asker)).toEqual({ ok: true })
    return (await rooms.sentCode()).code
  }
  const confirm = async (code: string, who = holder) =>
    rooms.sms.confirm(who, await rooms.view(who.accountId), code, change)
  async function setUp(number = NUMBER, who = holder): Promise<void> {
    expect(await confirm(await proposed(number, who), who)).toEqual({ ok: true })
    later(60)
  }
  async function asked(who = holder): Promise<string> {
    await rooms.sms.show(who, asker)
    return (await rooms.sentCode()).code
  }
  const verify = (code: string, who = holder) => rooms.sms.verify(who, code, 'web')
  const row = async () => (await database.db('phones').where({ account_id: accountId }))[0]

  it('belongs to the account by the code that was sent to it; the rest of the house is told', async () => {
    const code = await proposed(' +358 40 123 4567 ')
    expect(await rooms.sms.pending(holder)).toEqual({ number: NUMBER, resendIn: 30 })
    expect(await confirm(wrongOf(code))).toEqual({ ok: false, code: 'sms_code_invalid' })
    expect(await rooms.sms.find(accountId)).toBeUndefined()
    expect(await confirm(code)).toEqual({ ok: true })
    expect(await rooms.sms.find(accountId)).toEqual({
      masked: '••••\u00a067',
      confirmedAt: new Date(START),
      usedAt: undefined,
    })
    expect(await rooms.view(accountId)).toMatchObject({ factors: ['sms_code'] })
    expect(await rooms.sms.pending(holder)).toBeUndefined()
    expect(rooms.ended).toEqual([{ accountId, reason: 'factor_changed', exceptUid: 's1' }])
    expect(rooms.facts).toMatchObject([
      { type: 'sms.requested', accountId, sealed: { to: NUMBER, locale: 'fi' } },
      { type: 'factor.added', accountId, data: { method: 'sms_code' } },
      { type: 'mail.requested', sealed: { to: 'ada@example.com', values: { event: 'phone_added' } } },
    ])
    expect(await confirm(code)).toEqual({ ok: false, code: 'sms_setup_gone' })
  })

  it('A110: is readable nowhere: not in the row, not in the store, not in what facts keep', async () => {
    const stored: string[] = []
    const { kv } = rooms
    for (const name of ['set', 'swap'] as const) {
      const before = kv[name].bind(kv) as (...words: unknown[]) => Promise<unknown>
      Object.assign(kv, {
        [name]: (...words: unknown[]) => {
          stored.push(JSON.stringify(words))
          return before(...words)
        },
      })
    }
    await setUp()
    const code = await asked()
    const kept = [...stored, JSON.stringify(await row()), ...rooms.facts.map(({ data }) => JSON.stringify(data ?? {}))]
    expect(stored.length).toBeGreaterThan(3)
    for (const secret of [NUMBER.slice(1), NUMBER.slice(4), code]) expect(kept.join('\n')).not.toContain(secret)
  })

  it('is asked for a code once a look, sent in the language of the page, and used up by being right', async () => {
    await setUp()
    const code = await asked()
    expect(await rooms.sms.show(holder, asker)).toEqual({ masked: '••••\u00a067', resendIn: 30 })
    expect(types().filter((type) => type === 'sms.requested')).toHaveLength(2)
    expect((await rooms.sentCode()).to).toBe(NUMBER)
    expect(await verify(code)).toEqual({ ok: true })
    expect(await rooms.sms.find(accountId)).toMatchObject({ usedAt: new Date(rooms.world.time) })
    expect(await verify(code)).toEqual({ ok: false, code: 'sms_code_invalid' })
  })

  it('A24: is right for one of fifty that come at once', async () => {
    await setUp()
    const code = await asked()
    const all = await Promise.all(Array.from({ length: 50 }, () => verify(code)))
    expect(all.filter(({ ok }) => ok)).toHaveLength(1)
  })

  it('is set up once of many times at once', async () => {
    const code = await proposed()
    const all = await Promise.all(Array.from({ length: 10 }, () => confirm(code)))
    expect(all.filter(({ ok }) => ok)).toHaveLength(1)
    expect(types().filter((type) => type === 'factor.added')).toHaveLength(1)
  })

  it('A23, A27: a code is of its conversation, its account, its purpose and its number', async () => {
    await setUp()
    const code = await asked()
    expect((await verify(code, { ...holder, id: 'c2' })).ok).toBe(false)
    const other = { id: 'c1', accountId: await rooms.account() }
    later(60)
    await setUp(OTHER, other)
    expect((await verify(code, other)).ok).toBe(false)
    // A code that set a number up is none that signs in, and the other way round.
    later(60)
    const setting = await proposed(OTHER)
    expect((await verify(setting)).ok).toBe(false)
    later(600)
    const fresh = await asked({ ...holder, id: 'c3' })
    expect((await confirm(fresh)).ok).toBe(false)
  })

  it('A24: a code from before another number, or the same one again, is dead', async () => {
    await setUp()
    const code = await asked()
    later(31)
    await setUp(OTHER, { ...holder, id: 's1' })
    expect((await verify(code)).ok).toBe(false)
    expect(await rooms.sms.find(accountId)).toMatchObject({ masked: '••••\u00a021' })
    expect(types()).toContain('factor.updated')
    later(600)
    await setUp(NUMBER, { ...holder, id: 's2' })
    expect((await verify(code)).ok).toBe(false)
  })

  it('a code lasts ten minutes from its sending, and none was ever right before it was sent', async () => {
    await setUp()
    await rooms.sms.show(holder, asker)
    const code = String(rooms.facts.findLast(({ type }) => type === 'sms.requested')?.sealed?.code)
    expect((await verify(code)).ok).toBe(false)
    later(900)
    await rooms.sentCode()
    later(599)
    expect((await verify(code)).ok).toBe(true)
    later(60)
    const next = await asked({ ...holder, id: 'c2' })
    later(600)
    expect((await verify(next, { ...holder, id: 'c2' })).ok).toBe(false)
  })

  it('sends anew after thirty seconds, and then the earlier code is dead and not sent any more', async () => {
    await setUp()
    const code = await asked()
    expect(await rooms.sms.resend(holder, asker)).toEqual({ ok: false, code: 'sms_resend_too_soon', retryAfter: 30 })
    later(30)
    const first = rooms.facts.findLast(({ type }) => type === 'sms.requested')?.sealed as { reference: string }
    expect(await rooms.sms.resend(holder, asker)).toEqual({ ok: true })
    expect(await rooms.sms.sending(first.reference)).toBe(false)
    const { code: fresh } = await rooms.sentCode()
    expect((await verify(code)).ok).toBe(code === fresh)
    expect((await verify(fresh)).ok).toBe(true)
  })

  it('says what holds a message back, and an earlier code still works', async () => {
    await setUp()
    const code = await asked()
    for (let i = 0; i < 8; i++) await rooms.sms.show({ ...holder, id: `d${i}` }, asker)
    const held = await rooms.sms.show({ ...holder, id: 'd9' }, asker)
    expect(held).toEqual({ masked: '••••\u00a067', failed: { code: 'too_many_requests', retryAfter: 30 } })
    expect((await verify(code)).ok).toBe(true)
  })

  it('A36: over all conversations five tries in ten minutes are looked at, three of one code', async () => {
    await setUp()
    const code = await asked()
    for (let i = 0; i < 3; i++) expect(await verify(wrongOf(code))).toMatchObject({ code: 'sms_code_invalid' })
    expect(await verify(code)).toEqual({ ok: false, code: 'code_used_up' })
    expect(await verify('')).toMatchObject({ code: 'sms_code_invalid' })
    expect(await verify(code, { ...holder, id: 'c2' })).toMatchObject({ code: 'too_many_requests' })
    expect(await row()).toMatchObject({ failures: 5 })
    expect(types().filter((type) => type === 'sms_code.rejected')).toHaveLength(5)
    later(600)
    const fresh = await asked({ ...holder, id: 'c3' })
    expect((await verify(fresh, { ...holder, id: 'c3' })).ok).toBe(true)
    expect(await row()).toMatchObject({ failures: 0 })
  })

  it('A36: after a hundred wrong tries in a row one an hour is looked at', async () => {
    await setUp()
    await database.db('phones').where({ account_id: accountId }).update({ failures: 100 })
    const code = await asked()
    expect(await verify(wrongOf(code))).toMatchObject({ code: 'sms_code_invalid' })
    expect(await verify(code)).toMatchObject({ code: 'too_many_requests' })
    later(3600)
    const fresh = await asked({ ...holder, id: 'c2' })
    expect((await verify(fresh, { ...holder, id: 'c2' })).ok).toBe(true)
  })

  it('A36: guesses at a number that is being set up are counted too', async () => {
    const code = await proposed()
    for (let i = 0; i < 3; i++) await confirm(wrongOf(code))
    expect(await confirm(code)).toEqual({ ok: false, code: 'code_used_up' })
    for (let i = 0; i < 2; i++) await confirm(wrongOf(code))
    expect(await confirm(code)).toMatchObject({ code: 'too_many_requests' })
  })

  it('typed wrong can be typed again; one that we do not serve is refused before anything is sent', async () => {
    expect(await rooms.sms.propose(holder, '0401', asker)).toEqual({ ok: false, code: 'phone_invalid' })
    expect(await rooms.sms.propose(holder, '+14155552671', asker)).toEqual({ ok: false, code: 'phone_not_supported' })
    expect(rooms.facts).toEqual([])
    await proposed()
    await rooms.sms.forget(holder)
    expect(await rooms.sms.pending(holder)).toBeUndefined()
    expect(await rooms.sms.resendPending(holder, asker)).toEqual({ ok: false, code: 'sms_setup_gone' })
    const code = await proposed(OTHER)
    expect(await confirm(code)).toEqual({ ok: true })
    expect(await rooms.sms.provenNumber(accountId)).toBe(OTHER)
  })

  it('protects five accounts and no more', async () => {
    for (let i = 0; i < 5; i++) {
      await setUp(NUMBER, { id: 'c', accountId: await rooms.account() })
      later(3600)
    }
    expect(await confirm(await proposed())).toEqual({ ok: false, code: 'phone_in_use' })
    expect(await rooms.view(accountId)).toMatchObject({ factors: [] })
    // Another account that has the number already may set it up again.
    const [{ account_id: owner }] = await database.db('phones').limit(1)
    later(3600)
    await setUp(NUMBER, { id: 'again', accountId: owner })
  })

  it('is taken away, and told; the last of an account that must have one stays', async () => {
    await setUp()
    rooms.world.required = true
    expect(await rooms.sms.remove(await rooms.view(accountId), change)).toBe('last_factor')
    rooms.world.required = false
    const code = await asked()
    expect(await rooms.sms.remove(await rooms.view(accountId), change)).toBe('removed')
    expect(await rooms.sms.remove(await rooms.view(accountId), change)).toBe('absent')
    expect(await row()).toBeUndefined()
    expect(await rooms.view(accountId)).toMatchObject({ factors: [] })
    expect((await verify(code)).ok).toBe(false)
    expect(
      rooms.facts.map(({ type, sealed }) => [type, (sealed as { values?: { event: string } })?.values?.event]),
    ).toEqual(expect.arrayContaining([['mail.requested', 'phone_removed']]))
  })

  it('that was lost goes after the waiting, with a fact; where there is none nothing is stated', async () => {
    const removeLost = () => database.transaction((tx) => rooms.sms.removeLost(accountId, tx))
    await removeLost()
    expect(rooms.facts).toEqual([])
    await setUp()
    await removeLost()
    expect(await row()).toBeUndefined()
    expect(await rooms.view(accountId)).toMatchObject({ factors: [] })
    expect(rooms.facts.at(-1)).toMatchObject({ type: 'factor.removed', data: { method: 'sms_code', reason: 'lost' } })
  })

  it('goes with its account', async () => {
    await setUp()
    await database.db('accounts').where({ id: accountId }).delete()
    expect(await row()).toBeUndefined()
  })

  it('is sealed and hashed again under the newest key, unless it was replaced meanwhile', async () => {
    await setUp()
    const before = await row()
    const both = createSecretBox([NEW, Buffer.alloc(32, 1)])
    const { createSmsCodeService } = await import('../../../src/features/sms_codes/service.ts')
    const { phoneRepository } = await import('../../../src/features/sms_codes/repository.ts')
    const service = createSmsCodeService({
      repository: phoneRepository(database.db),
      secretBox: both,
      mac: (value: string) => both.mac(value, 'phone'),
    } as never)
    expect(await database.transaction((tx) => service.reseal(rooms.reseal, tx))).toBe(1)
    const after = await row()
    expect(createSecretBox([NEW]).open(after.sealed_number, 'phone')).toBe(NUMBER)
    expect(after.number_hash).toBe(createSecretBox([NEW]).mac(NUMBER, 'phone'))
    expect(after.number_hash).not.toBe(before.number_hash)
    expect(await database.transaction((tx) => service.reseal(rooms.reseal, tx))).toBe(0)
  })
})
