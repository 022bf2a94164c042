import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createLedger } from '../../src/platform/ledger.ts'
import { createLedgerAudit } from '../../src/platform/ledger_audit.ts'
import { createOutbox } from '../../src/platform/outbox.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { runInRequest } from '../../src/platform/request_scope.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { testPersonal } from '../support/personal_columns.ts'
import { freshDatabase } from '../support/services.ts'

const secretBox = createSecretBox([Buffer.alloc(32, 1)])
let time = Date.parse('2026-11-22T10:00:00Z')
const clock = { now: () => new Date(time++) }
const subscriptions = [
  { consumer: 'mails', types: ['mail.requested'] },
  { consumer: 'logouts', types: ['mail.requested', 'session.ended'] },
]

describe.each(['embedded', 'postgres'] as const)('ledger on %s', (kind) => {
  let database: Database
  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(() => database.db.raw('truncate outbox, ledger, ledger_anchors, deliveries'))

  const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
  const ledger = () => createLedger({ personal: testPersonal, database, secretBox, clock, subscriptions })
  const audit = () => createLedgerAudit({ personal: testPersonal, database, secretBox })
  const request = { requestId: 'r', ip: '192.0.2.1', userAgent: 'test' }
  const record = (count: number, type: `${string}.${string}` = 'password.verified') =>
    runInRequest(request, () =>
      database.transaction((tx) =>
        outbox.record(
          Array.from({ length: count }, (_, i) => ({ type, accountId: `a${i % 7}`, data: { i }, sealed: { i } })),
          tx,
        ),
      ),
    )
  const sealed = async (...counts: number[]) => {
    for (const count of counts) {
      await record(count)
      await ledger().seal()
    }
  }

  it('numbers 1,000 facts without a gap and verifies', async () => {
    await record(1000)
    expect(await ledger().lag()).toBeGreaterThan(0)
    expect(await ledger().seal()).toBe(1000)
    expect(await ledger().seal()).toBe(0)
    expect(await ledger().lag()).toBe(0)
    const rows = await database.db('outbox').orderBy('seq')
    expect(rows.map((row) => Number(row.seq))).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1))
    expect(rows.map((row) => row.data.i)).toEqual(Array.from({ length: 1000 }, (_, i) => i))
    expect(await database.db('ledger_anchors')).toHaveLength(2)
    const report = await audit().verify()
    expect(report).toMatchObject({ ok: true, checked: 1000, problems: [] })
    expect(report.anchor?.seq).toBe(1000)
    await sealed(3)
    expect(await audit().verify(report.anchor)).toMatchObject({ ok: true, checked: 1003 })
  })

  it('uses a fixed number of statements for a batch, and one for nothing', async () => {
    await record(200, 'mail.requested')
    let statements = 0
    const count = () => {
      statements += 1
    }
    database.db.on('query', count)
    await ledger().seal()
    expect(statements).toBeLessThanOrEqual(12)
    statements = 0
    await ledger().seal()
    expect(statements).toBe(1)
    database.db.removeListener('query', count)
  })

  it('makes one delivery for each subscription to the type, and erases sealed parts that nobody will open', async () => {
    await record(2, 'mail.requested')
    await record(1, 'session.ended')
    await record(1, 'password.rejected')
    await ledger().seal()
    const deliveries = await database.db('deliveries').select('consumer', 'state').orderBy('consumer')
    expect(deliveries.map((row) => row.consumer)).toEqual(['logouts', 'logouts', 'logouts', 'mails', 'mails'])
    expect(deliveries.every((row) => row.state === 'pending')).toBe(true)
    const kept = await database.db('outbox').whereNotNull('sealed').select('type')
    expect(kept.map((row) => row.type).sort()).toEqual(['mail.requested', 'mail.requested', 'session.ended'])
  })

  it('tells every anchor, for a place outside of the database', async () => {
    const anchors: { seq: number; hash: string }[] = []
    await record(3)
    await createLedger({
      personal: testPersonal,
      database,
      secretBox,
      clock,
      subscriptions,
      anchored: (anchor) => anchors.push(anchor),
    }).seal()
    await new Promise((resolve) => setTimeout(resolve, 10))
    const row = await database.db('ledger_anchors').first()
    expect(anchors).toEqual([{ seq: 3, hash: row.hash }])
  })

  it('is safe when two seal at once', async () => {
    for (let round = 0; round < 5; round++) {
      await record(40, 'mail.requested')
      const counts = await Promise.all([ledger().seal(), ledger().seal(), ledger().seal()])
      expect(counts.reduce((a, b) => a + b)).toBe(40)
    }
    expect(await audit().verify()).toMatchObject({ ok: true, checked: 200 })
    expect(await database.db('deliveries')).toHaveLength(400)
  })

  it('still verifies after addresses and sealed parts are erased', async () => {
    await sealed(5, 5)
    await database.db('outbox').update({ sealed_ip: null, sealed: null })
    expect(await audit().verify()).toMatchObject({ ok: true, checked: 10 })
  })

  const id = async (seq: number): Promise<string> => (await database.db('ledger').where({ seq }).first()).outbox_id
  const changes: [string, () => Promise<unknown>, object[]][] = [
    ['a changed type', async () => change(4, { type: 'password.rejected' }), [{ kind: 'fact_changed', seq: 4 }]],
    ['changed data', async () => change(4, { data: '{"i":99}' }), [{ kind: 'fact_changed', seq: 4 }]],
    ['a changed account', async () => change(4, { account_id: 'other' }), [{ kind: 'fact_changed', seq: 4 }]],
    ['a changed address hash', async () => change(4, { ip_hash: 'x' }), [{ kind: 'fact_changed', seq: 4 }]],
    ['a changed time', async () => change(4, { occurred_at: new Date(0) }), [{ kind: 'fact_changed', seq: 4 }]],
    ['a changed MAC', async () => change(4, { mac: 'x' }), [{ kind: 'fact_changed', seq: 4 }]],
    ['a fact taken out of the order', async () => change(4, { seq: null }), [{ kind: 'fact_changed', seq: 4 }]],
    [
      'a deleted fact',
      async () => database.db('outbox').where({ seq: 4 }).delete(),
      [{ kind: 'fact_missing', seq: 4 }],
    ],
    [
      'a deleted entry',
      async () => database.db('ledger').where({ seq: 4 }).delete(),
      [
        { kind: 'entry_missing', seq: 4 },
        { kind: 'fact_inserted', seq: 4 },
      ],
    ],
    ['both deleted', async () => cut('=', 4), [{ kind: 'entry_missing', seq: 4 }]],
    [
      'a deleted beginning',
      async () => cut('<', 3),
      [
        { kind: 'entry_missing', seq: 1 },
        { kind: 'entry_missing', seq: 2 },
      ],
    ],
    [
      'a deleted end',
      async () => cut('>', 8),
      [
        { kind: 'entry_missing', seq: 9 },
        { kind: 'entry_missing', seq: 10 },
      ],
    ],
    [
      'everything deleted but the anchors',
      async () => cut('>', 0),
      Array.from({ length: 10 }, (_, i) => ({
        kind: 'entry_missing',
        seq: i + 1,
      })),
    ],
    [
      'a changed hash',
      async () => database.db('ledger').where({ seq: 4 }).update({ hash: 'x' }),
      [
        { kind: 'entry_changed', seq: 4 },
        { kind: 'entry_changed', seq: 5 },
      ],
    ],
    [
      'a changed sealing time',
      async () =>
        database
          .db('ledger')
          .where({ seq: 4 })
          .update({ sealed_at: new Date(0) }),
      [{ kind: 'entry_changed', seq: 4 }],
    ],
    [
      'a changed anchor',
      async () => database.db('ledger_anchors').where({ seq: 5 }).update({ hash: 'x' }),
      [{ kind: 'anchor_changed', seq: 5 }],
    ],
    [
      'a changed anchor MAC',
      async () => database.db('ledger_anchors').where({ seq: 10 }).update({ mac: 'x' }),
      [{ kind: 'anchor_changed', seq: 10 }],
    ],
    [
      'two facts in exchanged order',
      exchange,
      [
        { kind: 'fact_changed', seq: 3 },
        { kind: 'fact_changed', seq: 4 },
      ],
    ],
  ]
  const change = (seq: number, values: object) => database.db('outbox').where({ seq }).update(values)
  const cut = async (operator: string, seq: number) => {
    await database.db('ledger').where('seq', operator, seq).delete()
    await database.db('outbox').where('seq', operator, seq).delete()
  }
  async function exchange() {
    const [third, fourth] = [await id(3), await id(4)]
    await database.db('ledger').where({ seq: 3 }).update({ outbox_id: 'x' })
    await database.db('ledger').where({ seq: 4 }).update({ outbox_id: third })
    await database.db('ledger').where({ seq: 3 }).update({ outbox_id: fourth })
  }

  it.each(changes)('finds %s', async (_name, tamper, problems) => {
    await sealed(5, 5)
    await tamper()
    const report = await audit().verify()
    expect(report.ok).toBe(false)
    expect(report.problems).toEqual(problems.map((problem) => expect.objectContaining(problem)))
  })

  it('finds inserted facts: forged before sealing, after it, and copies with a number', async () => {
    await sealed(5)
    const copy = { ...(await database.db('outbox').where({ seq: 2 }).first()), data: '{}', sealed: null }
    await database.db('outbox').insert({ ...copy, id: 'forged-waiting', seq: null })
    expect((await audit().verify()).problems).toEqual([{ kind: 'fact_inserted', id: 'forged-waiting' }])
    await ledger().seal()
    expect((await audit().verify()).problems).toEqual([{ kind: 'fact_changed', seq: 6, id: 'forged-waiting' }])
    await database.db('outbox').insert({ ...copy, id: 'forged-numbered', seq: 7 })
    expect((await audit().verify()).problems).toContainEqual({ kind: 'fact_inserted', seq: 7, id: 'forged-numbered' })
    await database
      .db('ledger')
      .insert({ seq: 7, outbox_id: 'forged-numbered', hash: 'x', content_hash: 'x', sealed_at: new Date() })
    expect((await audit().verify()).problems).toContainEqual({ kind: 'entry_inserted', seq: 7, id: 'forged-numbered' })
  })

  it('goes on sealing after every kind of damage, and the damage stays visible', async () => {
    await sealed(5)
    await cut('>', 3)
    await change(2, { seq: null })
    await sealed(2)
    expect(await database.db('ledger').max('seq as last').first()).toMatchObject({ last: expect.anything() })
    const report = await audit().verify()
    expect(report.problems.map(({ kind, seq }) => `${kind} ${seq}`)).toEqual([
      'fact_changed 2',
      'entry_missing 4',
      'entry_missing 5',
    ])
    expect(report.checked).toBe(5)
  })

  it('finds a cut end without its anchors by an anchor kept elsewhere', async () => {
    await sealed(5, 5)
    const { anchor } = await audit().verify()
    await cut('>', 5)
    await database.db('ledger_anchors').where('seq', '>', 5).delete()
    expect(await audit().verify()).toMatchObject({ ok: true })
    expect((await audit().verify(anchor)).problems).toHaveLength(5)
    await sealed(5)
    expect((await audit().verify(anchor)).problems).toEqual([
      expect.objectContaining({ kind: 'entry_changed', seq: 10 }),
    ])
  })

  it('is proof against a database owner without our key: a chain recomputed by them does not hold', async () => {
    await sealed(5)
    const theirs = createSecretBox([Buffer.alloc(32, 9)])
    await database.db.raw('truncate ledger, ledger_anchors')
    await database.db('outbox').update({ seq: null })
    await createLedger({ personal: testPersonal, database, secretBox: theirs, clock, subscriptions }).seal()
    expect((await audit().verify()).problems).toEqual([{ kind: 'anchor_changed', seq: 5 }])
  })
})
