import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { FactClass } from '../../src/events.ts'
import { type AuditDays, createAuditRetention } from '../../src/platform/audit_retention.ts'
import { newId } from '../../src/platform/ids.ts'
import { createLedger } from '../../src/platform/ledger.ts'
import { createLedgerAudit } from '../../src/platform/ledger_audit.ts'
import { createOutbox } from '../../src/platform/outbox.ts'
import { resealOutbox } from '../../src/platform/outbox_reseal.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { runInRequest } from '../../src/platform/request_scope.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { testPersonal } from '../support/personal_columns.ts'
import { freshDatabase } from '../support/services.ts'

const KEY = Buffer.alloc(32, 1)
const secretBox = createSecretBox([KEY])
const NOW = Date.parse('2027-11-22T10:00:00Z')
const DAY = 86_400_000
const DAYS: AuditDays = {
  ...{ security: 1000, authentication: 100, account: 300, consent: 1000, administration: 1000, delivery: 100 },
}
const REQUEST = { requestId: 'canary-request', ip: '192.0.2.77', userAgent: 'canary-agent' }

describe.each(['embedded', 'postgres'] as const)('audit retention on %s', (kind) => {
  let database: Database
  let time = NOW
  const clock = { now: () => new Date(time) }
  const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
  const subscriptions = [{ consumer: 'mails', types: ['mail.requested'] }]

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    time = NOW
    await database.db.raw('truncate outbox, ledger, ledger_anchors, deliveries')
  })

  const ledger = () => createLedger({ personal: testPersonal, database, secretBox, clock, subscriptions })
  const verify = async () => {
    await ledger().seal()
    return createLedgerAudit({ personal: testPersonal, database, secretBox }).verify()
  }
  const problems = async () =>
    (await verify()).problems.map(({ kind: problem, seq }) => `${problem} ${seq ?? 'unsealed'}`)
  const erase = (days: AuditDays = DAYS) =>
    createAuditRetention({ personal: testPersonal, database, outbox, newId, days })(clock.now())
  const row = (seq: number) => database.db('outbox').where({ seq }).first()
  const change = (seq: number, values: object) => database.db('outbox').where({ seq }).update(values)
  const erasures = async (): Promise<{ class: FactClass; count: number; batch: string }[]> =>
    (await database.db('outbox').where({ type: 'audit.erased' }).orderBy('id')).map(({ data }) => data)

  /** States facts at an age, seals them, and comes back to the present. */
  async function state(ageDays: number, types: readonly `${string}.${string}`[]): Promise<void> {
    time = NOW - ageDays * DAY
    const fact = (type: `${string}.${string}`) => {
      const who = { accountId: 'canary-account', clientId: 'canary-client', actor: 'canary-actor' }
      return { type, ...who, data: { what: 'canary-data' }, sealed: { secret: 'canary-sealed' } }
    }
    await runInRequest(REQUEST, () => database.transaction((tx) => outbox.record(types.map(fact), tx)))
    await ledger().seal()
    time = NOW
  }

  /** What the job does to a row, done with SQL alone. */
  const eraseByHand = (seq: number, batch: string | null) =>
    change(seq, {
      ...{ account_id: null, client_id: null, actor: null, request_id: null, sealed_ip: null, ip_hash: null },
      ...{ sealed_user_agent: null, salt: null, sealed: null, data: '{}', mac: '', erased_in: batch },
    })

  it('erases what is older than its class is kept, states it, and the chain still holds', async () => {
    await state(200, ['password.verified', 'account.updated', 'session.started', 'password.rejected'])
    await state(50, ['password.verified'])
    expect(await erase()).toBe(2)
    expect((await database.db('outbox').whereNotNull('erased_in').orderBy('seq')).map(({ type }) => type)).toEqual([
      'password.verified',
      'session.started',
    ])
    expect(await erasures()).toEqual([
      {
        ...{ batch: expect.any(String), class: 'authentication', days: 100, count: 2 },
        before: new Date(NOW - 100 * DAY).toISOString(),
      },
    ])
    expect(await verify()).toMatchObject({ ok: true, checked: 6, problems: [] })
  })

  it('leaves nothing of the content, nor what would confirm a guess of it', async () => {
    await state(200, ['password.verified'])
    const { content_hash: hash } = await database.db('ledger').first()
    const { salt, mac, ip_hash: ipHash } = await row(1)
    expect(salt).toMatch(/^[\w-]{22}$/)
    await erase()
    const left = JSON.stringify([await row(1), await database.db('ledger').where({ seq: 1 }).first()])
    for (const gone of ['canary', REQUEST.ip, salt, mac, ipHash]) expect(left).not.toContain(gone)
    expect(left).toContain(hash)
  })

  it('equal contents have different hashes: nobody finds an erased one by another that is kept', async () => {
    await state(200, ['password.verified', 'password.verified'])
    const hashes = await database.db('ledger').pluck('content_hash')
    expect(new Set(hashes).size).toBe(2)
  })

  it('erases nothing twice, states nothing when nothing is due, and never its own statements', async () => {
    await state(200, ['password.verified'])
    expect(await erase()).toBe(1)
    await ledger().seal()
    time = NOW + 5000 * DAY
    expect(await erase()).toBe(0)
    expect(await erasures()).toHaveLength(1)
    expect(await verify()).toMatchObject({ ok: true })
  })

  it('leaves what is not sealed, what somebody waits for, and what has no class', async () => {
    await state(200, ['mail.requested', 'strange.done'])
    time = NOW - 200 * DAY
    await database.transaction((tx) => outbox.record([{ type: 'password.verified' }], tx))
    time = NOW
    expect(await erase()).toBe(0)
    await database.db('deliveries').update({ state: 'delivered', delivered_at: clock.now() })
    expect(await erase()).toBe(1)
    expect(await problems()).toEqual([])
  })

  it('leaves what somebody has changed: its erasure would hide that', async () => {
    await state(200, ['password.verified', 'password.verified', 'password.verified'])
    await change(2, { account_id: 'somebody-else' })
    expect(await erase()).toBe(2)
    expect(await problems()).toEqual(['fact_changed 2'])
  })

  it('works in bounded batches, each with its statement', async () => {
    await state(
      200,
      Array.from({ length: 1200 }, () => 'session.ended' as const),
    )
    expect(await erase()).toBe(1200)
    expect((await erasures()).map(({ count }) => count)).toEqual([500, 500, 200])
    expect(await verify()).toMatchObject({ ok: true, checked: 1203 })
  })

  it('two instances that erase at once state each fact once', async () => {
    await state(
      200,
      Array.from({ length: 700 }, () => 'session.ended' as const),
    )
    const [one = 0, two = 0] = await Promise.all([erase(), erase()])
    expect(one + two).toBe(700)
    expect(await verify()).toMatchObject({ ok: true })
  })

  it('a shorter retention than before erases at once and is stated with its days', async () => {
    await state(50, ['password.verified'])
    expect(await erase({ ...DAYS, authentication: 30 })).toBe(1)
    expect(await erasures()).toMatchObject([{ days: 30 }])
    expect(await verify()).toMatchObject({ ok: true })
  })

  it('a new secret key passes over what is erased', async () => {
    await state(200, ['password.verified', 'account.updated'])
    await erase()
    await ledger().seal()
    const both = createSecretBox([Buffer.alloc(32, 2), KEY])
    // The account's fact, the statement, and two anchors.
    expect(await resealOutbox({ personal: testPersonal, database, secretBox: both })).toEqual({ renewed: 4, forged: 0 })
    const young = createSecretBox([Buffer.alloc(32, 2)])
    expect(await createLedgerAudit({ personal: testPersonal, database, secretBox: young }).verify()).toMatchObject({
      ok: true,
    })
  })

  describe('the audit tells lawful erasure from tampering', () => {
    let batch: string
    // 1 and 2 are erased lawfully; 3 is of another class, 4 of the same but young, 5 is waited for; 6 is the statement.
    beforeEach(async () => {
      await state(200, ['password.verified', 'session.started', 'account.updated'])
      await state(50, ['password.verified'])
      await erase()
      await ledger().seal()
      batch = (await erasures())[0]?.batch ?? ''
      expect(await problems()).toEqual([])
    })

    const tampering: [string, () => Promise<unknown>, string[]][] = [
      ['content erased without a mark', () => eraseByHand(4, null), ['fact_changed 4']],
      ['content erased under a batch that nobody stated', () => eraseByHand(4, 'none'), ['fact_erased 4']],
      [
        'a younger fact slipped into a lawful batch',
        () => eraseByHand(4, batch),
        ['fact_erased 4', 'erasure_changed 5'],
      ],
      [
        'a fact of another class slipped into a lawful batch',
        () => eraseByHand(3, batch),
        ['fact_erased 3', 'erasure_changed 5'],
      ],
      ['content written into an erased row', () => change(1, { account_id: 'planted' }), ['fact_changed 1']],
      ['data written into an erased row', () => change(1, { data: '{"planted":1}' }), ['fact_changed 1']],
      ['a changed type of an erased row', () => change(1, { type: 'session.ended' }), ['entry_changed 1']],
      ['a changed time of an erased row', () => change(1, { occurred_at: new Date(0) }), ['entry_changed 1']],
      [
        'an erased row under another batch',
        () => change(1, { erased_in: 'none' }),
        ['fact_erased 1', 'erasure_changed 5'],
      ],
      [
        'a deleted erased row',
        () => database.db('outbox').where({ seq: 1 }).delete(),
        ['fact_missing 1', 'erasure_changed 5'],
      ],
      [
        'a deleted statement',
        () => database.db('outbox').where({ seq: 5 }).delete(),
        ['fact_erased 1', 'fact_erased 2', 'fact_missing 5'],
      ],
      [
        'a changed statement',
        async () => change(5, { data: { ...(await row(5)).data, count: 3 } }),
        ['fact_erased 1', 'fact_erased 2', 'fact_changed 5'],
      ],
      [
        'a changed hash of an erased content',
        () => database.db('ledger').where({ seq: 1 }).update({ content_hash: 'x' }),
        ['entry_changed 1'],
      ],
      [
        'a changed hash of a content',
        () => database.db('ledger').where({ seq: 4 }).update({ content_hash: 'x' }),
        ['entry_changed 4'],
      ],
    ]
    it.each(tampering)('finds %s', async (_name, tamper, found) => {
      await tamper()
      expect(await problems()).toEqual(found)
    })

    it('finds a due fact slipped into a lawful batch by its number', async () => {
      time = NOW + 60 * DAY
      await eraseByHand(4, batch)
      // Old enough by now, but not older than the time that the statement names.
      expect(await problems()).toEqual(['fact_erased 4', 'erasure_changed 5'])
    })

    it('finds a forged statement, and what it was to cover', async () => {
      const genuine = await row(5)
      const data = { ...genuine.data, batch: 'forged', before: clock.now().toISOString(), count: 1 }
      await database.db('outbox').insert({ ...genuine, id: 'forged', seq: null, data: JSON.stringify(data) })
      await eraseByHand(4, 'forged')
      expect(await problems()).toEqual(['fact_erased 4', 'fact_changed 6'])
    })
  })
})
