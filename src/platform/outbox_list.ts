/** The outbox as operators read it: without addresses, devices and sealed parts. */
import type { Json } from '../events.ts'
import type { Database } from './postgres.ts'

export interface FactFilter {
  readonly type?: string | undefined
  readonly accountId?: string | undefined
  readonly clientId?: string | undefined
  readonly limit: number
}

export interface ListedFact {
  readonly id: string
  /** Its number in the ledger; undefined for a moment after it was stated. */
  readonly seq?: number | undefined
  readonly type: string
  readonly accountId?: string | undefined
  readonly clientId?: string | undefined
  readonly actor?: string | undefined
  readonly requestId?: string | undefined
  readonly occurredAt: Date
  readonly data: Json
  /** Its content is gone: the retention of its class is over. */
  readonly erased: boolean
}

interface Row {
  id: string
  seq: string | number | null
  type: string
  account_id: string | null
  client_id: string | null
  actor: string | null
  request_id: string | null
  occurred_at: Date
  data: Json
  erased_in: string | null
}

/** Facts that match the filter, newest first. */
export async function listFacts({ db }: Pick<Database, 'db'>, filter: FactFilter): Promise<ListedFact[]> {
  const wanted = Object.entries({ type: filter.type, account_id: filter.accountId, client_id: filter.clientId })
  const rows: Row[] = await db('outbox')
    .select('id', 'seq', 'type', 'account_id', 'client_id', 'actor', 'request_id', 'occurred_at', 'data', 'erased_in')
    .where(Object.fromEntries(wanted.filter(([, value]) => value !== undefined)))
    .orderBy([
      { column: 'occurred_at', order: 'desc' },
      { column: 'id', order: 'desc' },
    ])
    .limit(filter.limit)
  return rows.map((row) => ({
    id: row.id,
    seq: row.seq === null ? undefined : Number(row.seq),
    type: row.type,
    accountId: row.account_id ?? undefined,
    clientId: row.client_id ?? undefined,
    actor: row.actor ?? undefined,
    requestId: row.request_id ?? undefined,
    occurredAt: new Date(row.occurred_at),
    data: row.data,
    erased: row.erased_in !== null,
  }))
}

/** How many facts of a type were stated since then. */
export async function countFacts({ db }: Pick<Database, 'db'>, type: string, since: Date): Promise<number> {
  const { rows } = await db.raw<{ rows: { facts: number }[] }>(
    'select count(*)::int as facts from outbox where type = ? and occurred_at >= ?',
    [type, since],
  )
  return rows[0]?.facts ?? 0
}
