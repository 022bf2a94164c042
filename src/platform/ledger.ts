/**
 * The ledger: one sealing job at a time numbers the committed facts without a gap, chains their hashes, and closes each
 * batch with an anchor under our key. Requests only insert. An entry covers the hash of its fact's content and not the
 * content, which `audit_retention.ts` erases in its time. `ledger_audit.ts` finds what somebody changed with SQL alone.
 */
import { createHash } from 'node:crypto'
import { contentHash, type OutboxContent, openFacts } from './outbox.ts'
import type { PersonalData } from './personal_columns.ts'
import type { Database, Tx } from './postgres.ts'

export interface Ledger {
  /** Seals what is committed and makes the deliveries of the subscriptions. Returns how many facts were sealed. */
  seal(): Promise<number>
  /** Seconds since the oldest fact that is not sealed yet was stated; 0 without any. For the metric. */
  lag(): Promise<number>
}

interface Deps {
  readonly database: Pick<Database, 'db' | 'kind' | 'transaction'>
  readonly personal: Pick<PersonalData, 'read'>
  readonly secretBox: { mac(value: string, purpose: string): string }
  readonly clock: { now(): Date }
  readonly subscriptions: readonly { readonly consumer: string; readonly types: readonly string[] }[]
  /** Told of every anchor: what is kept outside of the database convicts whoever cuts off the ledger's end. */
  readonly anchored?: ((anchor: { seq: number; hash: string }) => void) | undefined
}

/** Purpose under which anchors are MACed. */
export const ANCHOR_MAC = 'ledger-anchor'

const LOCK = 4_207_160_422
const BATCH = 500
const BATCHES = 20

/** What an entry covers of a fact: what must be there after its content is erased, to judge whether that was due. */
export interface EntryContent {
  readonly seq: number
  readonly sealedAt: Date
  readonly id: string
  readonly type: string
  readonly occurredAt: Date
  readonly contentHash: string
}

/** The hash of one entry. It covers no MAC, so that MACs can be renewed when a key is retired. */
export function entryHash(previous: string, entry: EntryContent): string {
  const { seq, sealedAt, id, type, occurredAt } = entry
  return createHash('sha256')
    .update(JSON.stringify([previous, seq, sealedAt.getTime(), id, type, occurredAt.getTime(), entry.contentHash]))
    .digest('base64url')
}

/** What the MAC of an anchor covers. */
export function anchorContent(anchor: { seq: number; hash: string; anchoredAt: Date }): string {
  return JSON.stringify([anchor.seq, anchor.hash, anchor.anchoredAt.getTime()])
}

/** Makes the sealing job's ledger. Several instances may seal at once: an advisory lock lets one work at a time. */
export function createLedger({ database, personal, secretBox, clock, subscriptions, anchored }: Deps): Ledger {
  const sealBatch = async (tx: Tx): Promise<number> => {
    if (database.kind === 'postgres') await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    const rows = await openFacts(personal, await unsealed(tx), tx)
    if (rows.length === 0) return 0
    const now = clock.now()
    let { seq, hash } = await head(tx)
    const entries = rows.map((row) => {
      seq += 1
      const content = contentHash(row)
      const { id, type, occurred_at: occurredAt } = row
      hash = entryHash(hash, { seq, sealedAt: now, id, type, occurredAt, contentHash: content })
      const consumers = subscriptions.filter(({ types }) => types.includes(row.type)).map(({ consumer }) => consumer)
      return { id, seq, hash, content, consumers }
    })
    await write(tx, entries, now)
    const anchor = { seq, hash, anchoredAt: now }
    const mac = secretBox.mac(anchorContent(anchor), ANCHOR_MAC)
    await tx('ledger_anchors').insert({ seq, hash, mac, anchored_at: now })
    tx.executionPromise?.then(
      () => anchored?.({ seq, hash }),
      () => {},
    )
    return rows.length
  }

  return {
    async seal() {
      let sealed = 0
      for (let batch = 0; batch < BATCHES; batch++) {
        // Most seconds have nothing to seal: one cheap look instead of a transaction.
        const waiting = await database.db.raw('select 1 from outbox where seq is null limit 1')
        if (waiting.rows.length === 0) break
        const count = await database.transaction(sealBatch)
        sealed += count
        if (count < BATCH) break
      }
      return sealed
    },
    async lag() {
      const { rows } = await database.db.raw('select min(occurred_at) as oldest from outbox where seq is null')
      const oldest = rows[0]?.oldest as Date | null | undefined
      return oldest ? Math.max(0, (clock.now().getTime() - oldest.getTime()) / 1000) : 0
    },
  }
}

/** Committed facts in the order of their time. A row that was un-numbered by hand stays out; the audit names it. */
async function unsealed(tx: Tx): Promise<(Omit<OutboxContent, 'user_agent'> & { sealed_user_agent: string | null })[]> {
  const { rows } = await tx.raw(
    `select id, type, account_id, client_id, actor, data, request_id, ip_hash, sealed_user_agent, occurred_at,
       salt
     from outbox o
     where seq is null and not exists (select 1 from ledger l where l.outbox_id = o.id)
     order by occurred_at, id collate "C" limit ?`,
    [BATCH],
  )
  return rows
}

/** Where the chain goes on. After a cut at the end it goes on behind the newest number ever seen, so that the gap stays visible. */
async function head(tx: Tx): Promise<{ seq: number; hash: string }> {
  const { rows } = await tx.raw(`
    select seq, hash from (
      (select seq, hash, 1 as rank from ledger_anchors order by seq desc limit 1)
      union all (select seq, hash, 2 from ledger order by seq desc limit 1)
      union all (select seq, '', 3 from outbox where seq is not null order by seq desc limit 1)
    ) heads order by seq desc, rank limit 1`)
  const newest = rows[0]
  return newest === undefined ? { seq: 0, hash: '' } : { seq: Number(newest.seq), hash: newest.hash }
}

/** Three statements, however many facts. What no consumer needs is unsealed by nobody, so it is erased here. */
async function write(
  tx: Tx,
  entries: readonly { id: string; seq: number; hash: string; content: string; consumers: readonly string[] }[],
  now: Date,
): Promise<void> {
  const batch = JSON.stringify(entries)
  await tx.raw(
    `insert into ledger (seq, outbox_id, hash, content_hash, sealed_at)
     select seq, id, hash, content, ?::timestamptz
     from jsonb_to_recordset(?::jsonb) as e(id text, seq bigint, hash text, content text)`,
    [now, batch],
  )
  await tx.raw(
    `update outbox o set seq = e.seq,
       sealed = case when jsonb_array_length(e.consumers) > 0 then o.sealed end
     from jsonb_to_recordset(?::jsonb) as e(id text, seq bigint, consumers jsonb) where o.id = e.id`,
    [batch],
  )
  if (entries.every(({ consumers }) => consumers.length === 0)) return
  await tx.raw(
    `insert into deliveries (outbox_id, consumer, next_at, created_at)
     select e.id, consumer, ?::timestamptz, ?::timestamptz
     from jsonb_to_recordset(?::jsonb) as e(id text, consumers jsonb),
          jsonb_array_elements_text(e.consumers) as consumer
     on conflict do nothing`,
    [now, now, batch],
  )
}
