/**
 * Retention of the audit ledger by class: erases the content of facts that have served their time, and states each erasure
 * as a fact, so that an auditor can tell it from tampering. What stays of a fact is its number, id, type, time and the hash
 * of what it said; the salt of that hash is erased, so that it confirms no guess.
 */
import { FACT_CLASSES, type Fact, type FactClass } from '../events.ts'
import { contentHash, type OutboxRow, openFacts } from './outbox.ts'
import type { PersonalData } from './personal_columns.ts'
import type { Database, Tx } from './postgres.ts'

/** Days for which facts of a class are kept. */
export type AuditDays = { readonly [kind in FactClass]: number }

/** What `audit.erased` states. `before` is the moment that the erased facts are all older than. */
export interface Erasure {
  readonly batch: string
  readonly class: FactClass
  readonly days: number
  readonly before: string
  readonly count: number
}

interface Deps {
  readonly database: Pick<Database, 'db' | 'transaction'>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly personal: Pick<PersonalData, 'read'>
  readonly newId: () => string
  readonly days: AuditDays
}

/** The columns that an erasure empties; `data` and `mac` cannot be null and become an empty object and an empty text. */
export const ERASED_COLUMNS = [
  ...(['account_id', 'client_id', 'actor', 'request_id', 'sealed_ip', 'ip_hash'] as const),
  ...(['sealed_user_agent', 'salt', 'sealed'] as const),
]

const BATCH = 500
const BATCHES = 20
const DAY_MS = 86_400_000

/** Makes the job's work: for each class bounded batches, each one transaction. Returns how many facts were erased. */
export function createAuditRetention(deps: Deps): (now: Date) => Promise<number> {
  return async (now) => {
    let total = 0
    for (const [kind, days] of Object.entries(deps.days) as [FactClass, number][]) {
      const before = new Date(now.getTime() - days * DAY_MS)
      let after = 0
      for (let round = 0; round < BATCHES; round++) {
        const { last, read, erased } = await deps.database.transaction((tx) =>
          eraseBatch(deps, { class: kind, days, before, after }, tx),
        )
        total += erased
        after = last
        if (read < BATCH) break
      }
    }
    return total
  }
}

async function eraseBatch(
  { outbox, personal, newId }: Deps,
  wanted: { readonly class: FactClass; readonly days: number; readonly before: Date; readonly after: number },
  tx: Tx,
): Promise<{ last: number; read: number; erased: number }> {
  const rows = await openFacts(personal, await due(wanted, tx), tx)
  // What was changed by somebody stays as it is: its erasure would hide that from the audit.
  const genuine = rows.filter((row) => contentHash(row) === row.content_hash)
  if (genuine.length > 0) {
    const batch = newId()
    const emptied = ERASED_COLUMNS.map((column) => `${column} = null`).join(', ')
    await tx.raw(
      `update outbox set ${emptied}, data = '{}', mac = '', erased_in = ?
       where id in (${genuine.map(() => '?').join(', ')})`,
      [batch, ...genuine.map(({ id }) => id)],
    )
    const { class: kind, days, before } = wanted
    const data = { batch, class: kind, days, before: before.toISOString(), count: genuine.length } satisfies Erasure
    await outbox.record([{ type: 'audit.erased', actor: 'system', data }], tx)
  }
  return { last: Number(rows.at(-1)?.seq ?? wanted.after), read: rows.length, erased: genuine.length }
}

/** Sealed facts of the class that are older than `before` and that nobody waits for. */
async function due(
  wanted: { readonly class: FactClass; readonly before: Date; readonly after: number },
  tx: Tx,
): Promise<(Omit<OutboxRow, 'user_agent'> & { readonly content_hash: string })[]> {
  const types = Object.keys(FACT_CLASSES).filter((type) => FACT_CLASSES[type] === wanted.class)
  const { rows } = await tx.raw(
    `select o.*, l.content_hash from outbox o join ledger l on l.outbox_id = o.id and l.seq = o.seq
     where o.type in (${types.map(() => '?').join(', ')}) and o.occurred_at < ? and o.erased_in is null and o.seq > ?
       and not exists (select 1 from deliveries d where d.outbox_id = o.id and d.state = 'pending')
     order by o.seq limit ? for update of o skip locked`,
    [...types, wanted.before, wanted.after, BATCH],
  )
  return rows
}
