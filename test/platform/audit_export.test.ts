import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { CommandServices } from '../../src/commands/command.ts'
import { execute } from '../../src/commands/execute.ts'
import { type ExportFilter, exportFacts } from '../../src/platform/audit_export.ts'
import { createAuditRetention } from '../../src/platform/audit_retention.ts'
import { newId } from '../../src/platform/ids.ts'
import { createLedger } from '../../src/platform/ledger.ts'
import { createLedgerAudit } from '../../src/platform/ledger_audit.ts'
import { createOutbox } from '../../src/platform/outbox.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { runInRequest } from '../../src/platform/request_scope.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { testPersonal } from '../support/personal_columns.ts'
import { freshDatabase } from '../support/services.ts'

const secretBox = createSecretBox([Buffer.alloc(32, 1)])
const START = Date.parse('2027-11-22T10:00:00Z')

type Line = { readonly [name: string]: unknown } & { readonly seq: number; readonly data: unknown }

/** What README tells a third party to do, with nothing of ours: the lines that do not hold. */
function failing(lines: readonly Line[]): number[] {
  const sha256 = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('base64url')
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted)
    if (value === null || typeof value !== 'object') return value
    return Object.fromEntries(
      Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, item]) => [key, sorted(item)]),
    )
  }
  const milliseconds = (text: unknown) => Date.parse(String(text))
  return lines
    .filter((line, i) => {
      const { seq, id, type, previous } = line
      const occurredAt = milliseconds(line.occurred_at)
      const named = ['account_id', 'client_id', 'actor'].map((name) => line[name])
      const content = [id, type, ...named, sorted(line.data), line.request_id, line.ip_hash, line.user_agent]
      const contentHolds = line.erased_in !== null || sha256([...content, occurredAt, line.salt]) === line.content_hash
      const entry = [previous, seq, milliseconds(line.sealed_at), id, type, occurredAt, line.content_hash]
      const before = lines[i - 1]
      const chained = before?.seq !== seq - 1 || before.hash === previous
      return !contentHolds || sha256(entry) !== line.hash || !chained
    })
    .map(({ seq }) => seq)
}

describe.each(['embedded', 'postgres'] as const)('the exported ledger on %s', (kind) => {
  let database: Database
  let time = START
  const clock = { now: () => new Date(time) }
  const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
  const odd = 'x\u001b[31m"}\n\u202e\u{E0001}\u0085ä玄🚪'

  beforeAll(async () => {
    database = await freshDatabase(kind)
    const facts = Array.from({ length: 1100 }, (_, i) => ({
      type: i % 2 === 0 ? ('password.verified' as const) : ('client.updated' as const),
      accountId: `a${i % 3}`,
      clientId: `c${i % 5}`,
      data: { z: i, a: { y: [1, { d: null, c: odd }], x: 0.5 } },
    }))
    const request = { requestId: 'r', ip: '192.0.2.1', userAgent: odd }
    for (const fact of facts) {
      time += 1000
      await runInRequest(request, () => database.transaction((tx) => outbox.record([fact], tx)))
    }
  }, 120_000)
  afterAll(() => database.close())

  const services = () =>
    ({
      pendingMigrations: async () => [],
      facts: {
        export: async (filter: ExportFilter) => {
          await createLedger({ personal: testPersonal, database, secretBox, clock, subscriptions: [] }).seal()
          return exportFacts(database, testPersonal, filter)
        },
      },
    }) as unknown as CommandServices
  const run = async (options: { readonly [name: string]: string } = {}) => {
    const printed: string[] = []
    const request = { command: 'audit export', args: [], options }
    const result = await execute(services(), request, (text) => printed.push(text))
    return { ...result, text: printed.join('') }
  }
  const exported = async (options: { readonly [name: string]: string } = {}): Promise<Line[]> =>
    (await run(options)).text
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line)

  it('is the whole chain in its order, which a third party can follow to the anchor', async () => {
    const lines = await exported()
    expect(lines.map(({ seq }) => seq)).toEqual(Array.from({ length: 1100 }, (_, i) => i + 1))
    expect(failing(lines)).toEqual([])
    expect(lines[0]?.previous).toBe('')
    const { anchor } = await createLedgerAudit({ personal: testPersonal, database, secretBox }).verify()
    expect(lines.at(-1)).toMatchObject({ seq: anchor?.seq, hash: anchor?.hash })
    expect(lines[7]).toMatchObject({ type: 'client.updated', account_id: 'a1', client_id: 'c2', user_agent: odd })
  })

  it('convicts whoever changes a line', async () => {
    const lines = await exported()
    const changed = lines.map((line) => (line.seq === 40 ? { ...line, account_id: 'other' } : line))
    expect(failing(changed)).toEqual([40])
    const cut = lines.map((line) => (line.seq === 41 ? { ...line, hash: String(lines[41]?.hash) } : line))
    expect(failing(cut)).toEqual([41, 42])
  })

  it('filters by type, account, client and time, and each line still holds', async () => {
    const since = new Date(START + 101_000).toISOString()
    const until = new Date(START + 201_000).toISOString()
    const lines = await exported({ type: 'client.updated', account: 'a1', client: 'c2', since, until })
    expect(lines.length).toBeGreaterThan(0)
    for (const line of lines) {
      expect(line).toMatchObject({ type: 'client.updated', account_id: 'a1', client_id: 'c2' })
      expect(String(line.occurred_at) >= since && String(line.occurred_at) < until).toBe(true)
    }
    const wanted = (i: number) => i % 2 === 1 && i % 3 === 1 && i % 5 === 2 && i >= 100 && i < 200
    expect(lines.map(({ seq }) => seq - 1)).toEqual(Array.from({ length: 1100 }, (_, i) => i).filter(wanted))
    expect(failing(lines)).toEqual([])
  })

  it.each(['yesterday', '2027-13-01', '2027-01-31T12:00', '1'])('refuses %s as a time', async (since) => {
    expect(await run({ since })).toMatchObject({ exit: 1, error: expect.stringContaining('--since'), text: '' })
  })

  it('prints nothing that a terminal obeys (A106)', async () => {
    expect((await run()).text).not.toMatch(/[^\P{C}\n]/u)
  })

  it('shows what was erased as such, and the chain goes through it', async () => {
    time = START + 400 * 86_400_000
    const days = { security: 900, account: 900, consent: 900, administration: 900, delivery: 90, authentication: 365 }
    expect(await createAuditRetention({ personal: testPersonal, database, outbox, newId, days })(clock.now())).toBe(550)
    const lines = await exported()
    expect(lines).toHaveLength(1102)
    expect(lines[0]).toMatchObject({ type: 'password.verified', erased_in: expect.any(String), account_id: null })
    expect(lines[0]).toMatchObject({ data: {}, salt: null, user_agent: null, request_id: null, ip_hash: null })
    expect(lines.slice(-2).map(({ type }) => type)).toEqual(['audit.erased', 'audit.erased'])
    expect(failing(lines)).toEqual([])
  })
})
