/** The outbox as operators read it: without secrets, and with addresses and devices only when they are asked for. */
import type { Json } from '../events.ts'
import { FACT_IP, FACT_USER_AGENT } from './outbox.ts'
import type { OpenPersonal, PersonalData } from './personal_columns.ts'
import type { Database } from './postgres.ts'

export interface FactFilter {
  readonly type?: string | undefined
  readonly accountId?: string | undefined
  readonly clientId?: string | undefined
  readonly limit: number
  /** With the address and the user agent of each. */
  readonly origins?: boolean | undefined
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
  /** Where it was stated from and with what; undefined where they were not asked for, not known, or forgotten. */
  readonly ip?: string | undefined
  readonly userAgent?: string | undefined
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
  sealed_ip?: string | null
  sealed_user_agent?: string | null
}

/** Facts that match the filter, newest first. */
export async function listFacts(
  { db }: Pick<Database, 'db'>,
  personal: Pick<PersonalData, 'read'>,
  filter: FactFilter,
): Promise<ListedFact[]> {
  const wanted = Object.entries({ type: filter.type, account_id: filter.accountId, client_id: filter.clientId })
  const rows: Row[] = await db('outbox')
    .select('id', 'seq', 'type', 'account_id', 'client_id', 'actor', 'request_id', 'occurred_at', 'data', 'erased_in')
    .select(filter.origins === true ? ['sealed_ip', 'sealed_user_agent'] : [])
    .where(Object.fromEntries(wanted.filter(([, value]) => value !== undefined)))
    .orderBy([
      { column: 'occurred_at', order: 'desc' },
      { column: 'id', order: 'desc' },
    ])
    .limit(filter.limit)
  return personal.read((open) => rows.map((row) => toListed(row, open)))
}

function toListed(row: Row, open: OpenPersonal): ListedFact {
  const opened = (column: typeof FACT_IP | typeof FACT_USER_AGENT) => {
    const sealed = row[column.column] ?? undefined
    return sealed === undefined ? undefined : String(open(sealed, column, row.id))
  }
  return {
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
    ip: opened(FACT_IP),
    userAgent: opened(FACT_USER_AGENT),
  }
}

/** How many facts of a type were stated since then. */
export async function countFacts({ db }: Pick<Database, 'db'>, type: string, since: Date): Promise<number> {
  const { rows } = await db.raw<{ rows: { facts: number }[] }>(
    'select count(*)::int as facts from outbox where type = ? and occurred_at >= ?',
    [type, since],
  )
  return rows[0]?.facts ?? 0
}
