import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../src/events.ts'
import { canonical, createOutbox, FACT_IP, type OutboxRow, openFact, openFacts } from '../../src/platform/outbox.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { runInRequest } from '../../src/platform/request_scope.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { testPersonal } from '../support/personal_columns.ts'
import { freshDatabase } from '../support/services.ts'

const secretBox = createSecretBox([Buffer.alloc(32, 1)])
const clock = { now: () => new Date('2026-11-22T10:00:00.123Z') }
const request = { requestId: 'r1', ip: '192.0.2.7', userAgent: 'Firefox' }

describe.each(['embedded', 'postgres'] as const)('outbox on %s', (kind) => {
  let database: Database
  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())

  const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
  /** Rows with what is sealed of them opened. */
  const stored = async () => {
    type Row = Omit<OutboxRow, 'user_agent'>
    const rows = await openFacts(testPersonal, (await database.db('outbox').orderBy('id')) as Row[])
    const ip = (row: Row) => testPersonal.read((open) => row.sealed_ip && open(row.sealed_ip, FACT_IP, row.id))
    return Promise.all(rows.map(async (row) => ({ ...row, ip: await ip(row) })))
  }
  const recorded = async (facts: readonly Fact[]): Promise<(OutboxRow & { ip: unknown })[]> => {
    await database.db('outbox').delete()
    await runInRequest(request, () => database.transaction((tx) => outbox.record(facts, tx)))
    return stored()
  }

  it('writes all facts of a change in one statement, with the request and a MAC that holds after reading', async () => {
    const statements: string[] = []
    const listen = (query: { sql: string }) => statements.push(query.sql)
    database.db.on('query', listen)
    const rows = await recorded([
      { type: 'password.verified', accountId: 'a1', clientId: 'c1', data: { z: 1, a: { y: [1, 2.5, null], b: 'ä' } } },
      { type: 'session.started', accountId: 'a1', actor: 'operator' },
    ])
    database.db.removeListener('query', listen)
    expect(statements.filter((sql) => sql.startsWith('insert into "outbox"'))).toHaveLength(1)
    expect(rows).toHaveLength(2)
    expect(rows.map((row) => row.type)).toEqual(['password.verified', 'session.started'])
    expect(rows.map((row) => row.actor)).toEqual(['a1', 'operator'])
    expect(rows[0]).toMatchObject({
      client_id: 'c1',
      request_id: 'r1',
      ip: '192.0.2.7',
      user_agent: 'Firefox',
      seq: null,
    })
    expect(rows[0]?.ip_hash).not.toContain('192.0.2')
    for (const row of rows) expect(secretBox.macMatches(canonical(row), 'outbox-mac', row.mac)).toBe(true)
  })

  it('is a part of the change’s statement where it is put there, with the same rows', async () => {
    await database.db('outbox').delete()
    const facts: Fact[] = [
      { type: 'password.verified', accountId: 'a1', clientId: 'c1', data: { z: 1 }, sealed: { code: '1' } },
      { type: 'session.started', accountId: 'a1' },
    ]
    const { sql, bindings } = runInRequest(request, () => outbox.insert(facts))
    await database.db.raw(`with facts as (${sql}) select 1`, [...bindings])
    const rows = await stored()
    expect(rows.map((row) => row.type)).toEqual(['password.verified', 'session.started'])
    for (const row of rows) expect(secretBox.macMatches(canonical(row), 'outbox-mac', row.mac)).toBe(true)
    expect(openFact(secretBox, { id: rows[0]?.id ?? '', sealed: rows[0]?.sealed ?? '' })).toEqual({ code: '1' })
    expect(rows[1]).toMatchObject({ sealed: null, request_id: 'r1', ip: '192.0.2.7', user_agent: 'Firefox' })
  })

  it('keeps a MAC that ignores the address, so that it can be erased, and nothing else', async () => {
    const [row] = await recorded([{ type: 'a.b', data: { n: 1 } }])
    if (row === undefined) throw new Error('no row')
    expect(canonical({ ...row, sealed_ip: null } as OutboxRow)).toBe(canonical(row))
    for (const change of [
      { type: 'a.c' },
      { account_id: 'x' },
      { data: { n: 2 } },
      { ip_hash: 'x' },
      { user_agent: '' },
    ]) {
      expect(canonical({ ...row, ...change } as OutboxRow)).not.toBe(canonical(row))
    }
    expect(canonical({ ...row, occurred_at: new Date(row.occurred_at.getTime() + 1) })).not.toBe(canonical(row))
  })

  it('holds neither address nor user agent in clear, and opens no cell that was moved or changed', async () => {
    const rows = await recorded([{ type: 'a.b' }, { type: 'a.c' }])
    const text = JSON.stringify(await database.db('outbox'))
    for (const plain of ['192.0.2.7', 'Firefox']) expect(text).not.toContain(plain)
    const [first, second] = rows
    if (first === undefined || second === undefined) throw new Error('no rows')
    for (const cell of [second.sealed_user_agent, `${first.sealed_user_agent}x`, first.sealed_ip, 'plain']) {
      const [moved] = await openFacts(testPersonal, [{ ...first, sealed_user_agent: cell }])
      expect(moved && secretBox.macMatches(canonical(moved), 'outbox-mac', moved.mac)).toBe(false)
    }
  })

  it('leaves nothing behind when the change rolls back, and fails the change when it cannot write', async () => {
    await database.db('outbox').delete()
    const work = database.transaction(async (tx) => {
      await outbox.record([{ type: 'a.b' }], tx)
      throw new Error('changed my mind')
    })
    await expect(work).rejects.toThrow('changed my mind')
    expect(await database.db('outbox')).toHaveLength(0)
    const broken = database.transaction(async (tx) => {
      await tx.raw('alter table outbox rename to elsewhere')
      await outbox.record([{ type: 'a.b' }], tx)
    })
    await expect(broken).rejects.toThrow(/outbox/)
  })

  it('stores hostile text: NUL, lone surrogates, odd numbers, endless user agents', async () => {
    const hostile = {
      text: 'a\0b\uD800',
      number: 1e21,
      tiny: 1e-9,
      negative: -0,
      __proto__x: '"',
      deep: { '\0k': ['\uDFFF'] },
    }
    await database.db('outbox').delete()
    const scope = { requestId: '\0', ip: '::1', userAgent: `\0\uD800${'x'.repeat(5000)}` }
    await runInRequest(scope, () => database.transaction((tx) => outbox.record([{ type: 'a.b', data: hostile }], tx)))
    const [row] = await stored()
    if (row === undefined) throw new Error('no row')
    expect(secretBox.macMatches(canonical(row), 'outbox-mac', row.mac)).toBe(true)
    expect(row.user_agent).toHaveLength(256)
  })

  it('seals what consumers need once, bound to its fact', async () => {
    const rows = await recorded([
      { type: 'mail.requested', sealed: { to: 'ann@example.test', code: '123456' } },
      { type: 'mail.requested', sealed: { to: 'bob@example.test', code: '654321' } },
    ])
    const [first, second] = rows.map((row) => ({ id: row.id, sealed: row.sealed ?? '' }))
    if (first === undefined || second === undefined) throw new Error('no rows')
    expect(JSON.stringify(rows)).not.toMatch(/ann@|123456/)
    expect(openFact(secretBox, first)).toEqual({ to: 'ann@example.test', code: '123456' })
    expect(() => openFact(secretBox, { id: first.id, sealed: second.sealed })).toThrow('another fact')
  })

  it('wakes after the commit only, only for sealed facts, and outside of the transaction', async () => {
    const events: string[] = []
    const waking = createOutbox({ personal: testPersonal, secretBox, clock })
    const query = new Promise<void>((resolve, reject) => {
      waking.onWake(() => {
        events.push('woken')
        // A root query throws inside of a transaction's context.
        database.ping().then(() => resolve(), reject)
      })
    })
    await database.transaction((tx) => waking.record([{ type: 'a.b' }], tx))
    await database
      .transaction(async (tx) => {
        await waking.record([{ type: 'a.b', sealed: { x: 1 } }], tx)
        throw new Error('no')
      })
      .catch(() => {})
    expect(events).toEqual([])
    await database.transaction(async (tx) => {
      await waking.record([{ type: 'a.b', sealed: { x: 1 } }], tx)
      await tx.raw('select 1')
      events.push('working')
    })
    await query
    expect(events).toEqual(['working', 'woken'])
  })

  it('does nothing for no facts', async () => {
    await expect(recorded([])).resolves.toEqual([])
  })
})

describe('outbox ids', () => {
  it('sort by the order of recording, also within a millisecond', async () => {
    const ids: string[] = []
    const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
    for (let i = 0; i < 300; i++) {
      const { bindings } = outbox.insert([{ type: 'a.b' }, { type: 'a.c' }])
      ids.push(...[bindings[0], bindings[bindings.length / 2]].map(String))
    }
    expect([...ids].sort()).toEqual(ids)
    expect(new Set(ids).size).toBe(600)
  })
})
