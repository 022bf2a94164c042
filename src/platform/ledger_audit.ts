/**
 * The audit: reads the whole ledger beside the outbox and names every row that was changed, deleted, inserted or erased with
 * SQL alone. An erasure is lawful when a genuine `audit.erased` states it and the fact was older than the time it names. It proves nothing against somebody who holds the secret key; for that, compare with an anchor kept elsewhere.
 */
import { FACT_CLASSES } from '../events.ts'
import { ERASED_COLUMNS, type Erasure } from './audit_retention.ts'
import { ANCHOR_MAC, anchorContent, entryHash } from './ledger.ts'
import { canonical, contentHash, OUTBOX_MAC, type OutboxRow, openFacts } from './outbox.ts'
import type { PersonalData } from './personal_columns.ts'
import type { Database } from './postgres.ts'

export interface Problem {
  readonly kind:
    | 'fact_changed'
    | 'fact_missing'
    | 'fact_inserted'
    /** Its content is gone, and no statement covers that. */
    | 'fact_erased'
    /** A statement of an erasure covers more or fewer facts than it says. */
    | 'erasure_changed'
    | 'entry_changed'
    | 'entry_missing'
    | 'entry_inserted'
    | 'anchor_changed'
  readonly seq?: number | undefined
  /** The fact's id, where it is known. */
  readonly id?: string | undefined
}

export interface AuditReport {
  readonly ok: boolean
  /** Sealed facts that were read. */
  readonly checked: number
  /** The first hundred problems. */
  readonly problems: readonly Problem[]
  /** The newest anchor, to be kept outside of the database. */
  readonly anchor?: { readonly seq: number; readonly hash: string } | undefined
}

interface Deps {
  readonly database: Pick<Database, 'db'>
  readonly personal: Pick<PersonalData, 'read'>
  readonly secretBox: { macMatches(value: string, purpose: string, mac: string): boolean }
}

export interface LedgerAudit {
  /** Checks everything, in pages. `known` is an anchor kept from before: the chain must still contain it. */
  verify(known?: { readonly seq: number; readonly hash: string }): Promise<AuditReport>
}

type Entry = Omit<OutboxRow, 'seq' | 'id'> & {
  readonly seq: string | number
  readonly outbox_id: string
  readonly hash: string
  readonly content_hash: string
  readonly sealed_at: Date
  readonly id: string | null
  readonly fact_seq: string | number | null
  readonly anchor_hash: string | null
  readonly anchor_mac: string | null
  readonly anchored_at: Date | null
}

const PAGE = 1000
const PROBLEMS = 100

interface Walk {
  seq: number
  hash: string
  checked: number
  readonly problems: Problem[]
  /** Genuine statements of erasures, by batch, as far as pages have named them. */
  readonly erasures: Map<string, Erasure>
}

/** Makes the audit. It only reads. */
export function createLedgerAudit(deps: Deps): LedgerAudit {
  const { personal, secretBox } = deps
  const { db } = deps.database

  const page = async (after: number): Promise<Entry[]> => {
    const { rows } = await db.raw<{ rows: Omit<Entry, 'user_agent'>[] }>(
      `select l.seq, l.outbox_id, l.hash, l.content_hash, l.sealed_at, o.seq as fact_seq, o.id, o.type, o.account_id,
              o.client_id, o.actor, o.data, o.request_id, o.sealed_ip, o.ip_hash, o.sealed_user_agent, o.occurred_at, o.salt, o.sealed,
              o.mac, o.erased_in,
              a.hash as anchor_hash, a.mac as anchor_mac, a.anchored_at
       from ledger l
       left join outbox o on o.id = l.outbox_id
       left join ledger_anchors a on a.seq = l.seq
       where l.seq > ? order by l.seq limit ?`,
      [after, PAGE],
    )
    return openFacts(personal, rows)
  }

  const check = (entry: Entry, walk: Walk): void => {
    const seq = Number(entry.seq)
    const gap = seq !== walk.seq + 1
    for (let lost = walk.seq + 1; lost < seq && walk.problems.length < PROBLEMS; lost++) {
      walk.problems.push({ kind: 'entry_missing', seq: lost })
    }
    const found =
      factProblem(entry, seq, walk.erasures) ?? (gap || hashHolds(entry, seq, walk.hash) ? undefined : 'entry_changed')
    if (found !== undefined) walk.problems.push({ kind: found, seq, id: entry.outbox_id })
    if (entry.anchor_hash !== null && !anchorHolds(entry, seq)) walk.problems.push({ kind: 'anchor_changed', seq })
    // The chain goes on from what is stored: one changed row is one problem, not one for every row behind it.
    walk.seq = seq
    walk.hash = entry.hash
    walk.checked += 1
  }

  const factProblem = (entry: Entry, seq: number, erasures: Walk['erasures']): Problem['kind'] | undefined => {
    if (entry.id === null) return 'fact_missing'
    if (entry.erased_in !== null) return erasedProblem(entry, seq, erasures.get(entry.erased_in))
    const genuine = secretBox.macMatches(canonical({ ...entry, id: entry.id }), OUTBOX_MAC, entry.mac)
    return genuine && Number(entry.fact_seq) === seq ? undefined : 'fact_changed'
  }

  const hashHolds = (entry: Entry, seq: number, previous: string): boolean => {
    if (entry.id === null) return false
    const row = { ...entry, id: entry.id }
    if (entry.erased_in === null && contentHash(row) !== entry.content_hash) return false
    const { id, type, occurred_at: occurredAt, sealed_at: sealedAt } = row
    return entryHash(previous, { seq, sealedAt, id, type, occurredAt, contentHash: entry.content_hash }) === entry.hash
  }

  const anchorHolds = (entry: Entry, seq: number): boolean =>
    entry.anchor_hash === entry.hash &&
    entry.anchored_at !== null &&
    secretBox.macMatches(
      anchorContent({ seq, hash: entry.anchor_hash ?? '', anchoredAt: entry.anchored_at }),
      ANCHOR_MAC,
      entry.anchor_mac ?? '',
    )

  return {
    async verify(known) {
      const newest = await newestAnchor(db)
      const walk: Walk = { seq: 0, hash: '', checked: 0, problems: [], erasures: new Map() }
      for (let rows = await page(0); rows.length > 0; rows = await page(walk.seq)) {
        // Asked after the page was read: an erasure and its statement are committed together.
        await learnErasures(deps, rows, walk.erasures)
        for (const entry of rows) {
          check(entry, walk)
          if (known?.seq === walk.seq && known.hash !== entry.hash) {
            walk.problems.push({ kind: 'entry_changed', seq: walk.seq, id: entry.outbox_id })
          }
        }
      }
      const end = Math.max(newest?.seq ?? 0, known?.seq ?? 0)
      for (let lost = walk.seq + 1; lost <= end && walk.problems.length < PROBLEMS; lost++) {
        walk.problems.push({ kind: 'entry_missing', seq: lost })
      }
      walk.problems.push(...(await strangers(db)), ...(await forgedBeforeSealing(deps)))
      walk.problems.push(...(await miscounted(deps)))
      const problems = walk.problems.slice(0, PROBLEMS)
      return { ok: problems.length === 0, checked: walk.checked, problems, anchor: newest }
    },
  }
}

/** An erased fact must be empty, of the class that its statement names, and older than the time that it names. */
function erasedProblem(entry: Entry, seq: number, erasure: Erasure | undefined): Problem['kind'] | undefined {
  const isEmpty =
    ERASED_COLUMNS.every((column) => entry[column] === null) && Object.keys(entry.data).length === 0 && entry.mac === ''
  if (!isEmpty || Number(entry.fact_seq) !== seq) return 'fact_changed'
  const isDue =
    erasure !== undefined &&
    FACT_CLASSES[entry.type] === erasure.class &&
    entry.occurred_at.getTime() < Date.parse(erasure.before)
  return isDue ? undefined : 'fact_erased'
}

async function learnErasures(deps: Deps, page: readonly Entry[], known: Walk['erasures']): Promise<void> {
  const named = page.flatMap(({ erased_in: batch }) => (batch === null || known.has(batch) ? [] : [batch]))
  const batches = [...new Set(named)]
  if (batches.length === 0) return
  const { rows } = await deps.database.db.raw(
    `select * from outbox where type = 'audit.erased' and data ->> 'batch' in (${batches.map(() => '?').join(', ')})`,
    batches,
  )
  for (const row of await genuine(rows, deps)) {
    const erasure = row.data as unknown as Erasure
    known.set(erasure.batch, erasure)
  }
}

/** Statements whose number of facts is not what they say: one statement, since erasing goes on meanwhile. */
async function miscounted(deps: Deps): Promise<Problem[]> {
  const { rows } = await deps.database.db.raw(
    `select f.*, e.count from outbox f
     left join (select erased_in, count(*) from outbox where erased_in is not null group by erased_in) e
       on e.erased_in = f.data ->> 'batch'
     where f.type = 'audit.erased' and f.data ->> 'count' is distinct from e.count::text order by f.seq limit ?`,
    [PROBLEMS],
  )
  return (await genuine(rows, deps)).map(({ id, seq }) => {
    return { kind: 'erasure_changed', seq: seq === null ? undefined : Number(seq), id }
  })
}

async function genuine(stored: readonly OutboxRow[], { personal, secretBox }: Deps): Promise<readonly OutboxRow[]> {
  const rows = await openFacts(personal, stored)
  return rows.filter((row) => secretBox.macMatches(canonical(row), OUTBOX_MAC, row.mac))
}

async function newestAnchor(db: Database['db']): Promise<{ seq: number; hash: string } | undefined> {
  const { rows } = await db.raw('select seq, hash from ledger_anchors order by seq desc limit 1')
  return rows[0] === undefined ? undefined : { seq: Number(rows[0].seq), hash: rows[0].hash }
}

/** Numbered facts without an entry, and entries behind the newest anchor. One statement each: sealing goes on meanwhile. */
async function strangers(db: Database['db']): Promise<Problem[]> {
  const facts = await db.raw(
    `select o.id, o.seq from outbox o left join ledger l on l.outbox_id = o.id
     where o.seq is not null and l.seq is null order by o.seq limit ?`,
    [PROBLEMS],
  )
  const entries = await db.raw(
    `select seq, outbox_id from ledger
     where seq > (select coalesce(max(seq), 0) from ledger_anchors) order by seq limit ?`,
    [PROBLEMS],
  )
  type Row = { seq: string; id: string; outbox_id: string }
  return [
    ...facts.rows.map((row: Row) => ({ kind: 'fact_inserted' as const, seq: Number(row.seq), id: row.id })),
    ...entries.rows.map((row: Row) => ({ kind: 'entry_inserted' as const, seq: Number(row.seq), id: row.outbox_id })),
  ]
}

/** What waits to be sealed is a second old: a forged row among it is found before it has a number. */
async function forgedBeforeSealing({ database, personal, secretBox }: Deps): Promise<Problem[]> {
  const { rows } = await database.db.raw('select * from outbox where seq is null order by occurred_at limit ?', [PAGE])
  const facts: OutboxRow[] = await openFacts(personal, rows)
  const forged = facts.filter((row) => !secretBox.macMatches(canonical(row), OUTBOX_MAC, row.mac))
  return forged.map((row) => ({ kind: 'fact_inserted', id: row.id }))
}
