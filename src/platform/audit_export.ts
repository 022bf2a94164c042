/**
 * The sealed ledger as a third party reads it: each fact with all that its hashes cover, so that the chain can be followed
 * without the database and without our key. README says how.
 */
import { type OutboxContent, type OutboxRow, openFacts } from './outbox.ts'
import type { PersonalData } from './personal_columns.ts'
import type { Database } from './postgres.ts'

export interface ExportFilter {
  readonly type?: string | undefined
  readonly accountId?: string | undefined
  readonly clientId?: string | undefined
  /** Stated at this time or later. */
  readonly since?: Date | undefined
  /** Stated before this time. */
  readonly until?: Date | undefined
}

/** One line of the export: the names of the table's columns. */
export interface ExportedFact extends Omit<OutboxContent, 'occurred_at'> {
  readonly seq: number
  readonly occurred_at: string
  readonly sealed_at: string
  /** The batch of the erasure when the content was erased: what it covers is empty then. */
  readonly erased_in: string | null
  readonly content_hash: string
  /** The hash of the entry before; the empty text before the first. */
  readonly previous: string
  readonly hash: string
}

interface Row extends OutboxRow {
  readonly sealed_at: Date
  readonly content_hash: string
  readonly previous: string | null
  readonly hash: string
}

type Stored = Omit<Row, 'user_agent'>

const PAGE = 500

/** Sealed facts that match, in the order of the chain, read in pages. */
export async function* exportFacts(
  { db }: Pick<Database, 'db'>,
  personal: Pick<PersonalData, 'read'>,
  filter: ExportFilter,
): AsyncGenerator<ExportedFact> {
  const conditions: readonly (readonly [sql: string, value: string | Date | undefined])[] = [
    ['o.type = ?', filter.type],
    ['o.account_id = ?', filter.accountId],
    ['o.client_id = ?', filter.clientId],
    ['o.occurred_at >= ?', filter.since],
    ['o.occurred_at < ?', filter.until],
  ]
  const wanted = conditions.flatMap(([sql, value]) => (value === undefined ? [] : [{ sql, value }]))
  const sql = `
    select o.*, l.seq, l.sealed_at, l.content_hash, l.hash, p.hash as previous
    from ledger l join outbox o on o.id = l.outbox_id left join ledger p on p.seq = l.seq - 1
    where ${['l.seq > ?', ...wanted.map((condition) => condition.sql)].join(' and ')} order by l.seq limit ?`
  for (let after = 0; ; ) {
    const { rows } = await db.raw<{ rows: Stored[] }>(sql, [after, ...wanted.map(({ value }) => value), PAGE])
    for (const row of await openFacts(personal, rows)) yield toExported(row)
    if (rows.length < PAGE) return
    after = Number(rows.at(-1)?.seq)
  }
}

function toExported(row: Row): ExportedFact {
  return {
    seq: Number(row.seq),
    id: row.id,
    type: row.type,
    occurred_at: row.occurred_at.toISOString(),
    account_id: row.account_id,
    client_id: row.client_id,
    actor: row.actor,
    data: row.data,
    request_id: row.request_id,
    ip_hash: row.ip_hash,
    user_agent: row.user_agent,
    salt: row.salt,
    sealed_at: row.sealed_at.toISOString(),
    erased_in: row.erased_in,
    content_hash: row.content_hash,
    previous: row.previous ?? '',
    hash: row.hash,
  }
}
