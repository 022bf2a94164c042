/** Rows of `realms` and of the accounts that keep their own methods. */
import type { Knex } from 'knex'
import type { DomainProof } from '../../platform/domain_proof.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { RealmManaged, RealmPolicy, RealmRecord } from './types.ts'

interface RealmRow {
  readonly domain: string
  readonly upstream: string
  readonly policy: RealmPolicy
  readonly token: string
  readonly proven_at: Date | null
  readonly checked_at: Date | null
  readonly missed_since: Date | null
  readonly misses: number
  readonly managed: RealmManaged
  readonly disabled_at: Date | null
  readonly break_glass: readonly string[]
}

export type RealmRepository = ReturnType<typeof realmRepository>

/** Serialises writers that decide from what they have read: declared realms at start, commands, checks. */
const LOCK = 4_207_160_434

const SELECT = `
  select r.*, array(
    select b.account_id from realm_break_glass b where b.domain = r.domain order by b.account_id
  ) as break_glass
  from realms r`

export function realmRepository(db: Knex) {
  const rows = async (where: string, bindings: readonly (string | Date)[], tx?: Tx): Promise<RealmRecord[]> => {
    const found: { rows: RealmRow[] } = await (tx ?? db).raw(`${SELECT} ${where} order by r.domain`, [...bindings])
    return found.rows.map(toRecord)
  }
  return {
    /** Waits for other writers until the transaction ends. */
    async lock(tx: Tx): Promise<void> {
      await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    },

    find: async (domain: string, tx?: Tx) => (await rows('where r.domain = ?', [domain], tx))[0],
    list: (tx?: Tx) => rows('', [], tx),
    listProven: () => rows('where r.proven_at is not null and r.disabled_at is null', []),
    /** Proven ones whose record nobody has looked at since. */
    listDue: (before: Date) =>
      rows('where r.proven_at is not null and r.disabled_at is null and r.checked_at <= ?', [before]),

    /** A unique violation when the domain is taken. */
    async insert(
      {
        domain,
        upstream,
        policy,
        token,
        managed,
      }: Pick<RealmRecord, 'domain' | 'upstream' | 'policy' | 'token' | 'managed'>,
      now: Date,
      tx: Tx,
    ): Promise<void> {
      await tx('realms').insert({ domain, upstream, policy, token, managed, created_at: now, updated_at: now })
    },

    async updateSettings(
      domain: string,
      { upstream, policy }: Pick<RealmRecord, 'upstream' | 'policy'>,
      now: Date,
      tx: Tx,
    ): Promise<void> {
      await tx('realms').where({ domain }).update({ upstream, policy, updated_at: now })
    },

    async updateDisabled(domain: string, disabled: boolean, now: Date, tx: Tx): Promise<void> {
      await tx('realms')
        .where({ domain })
        .update({ disabled_at: disabled ? now : null, updated_at: now })
    },

    /** What a look at the DNS has shown. */
    async updateProof(
      domain: string,
      { provenAt, checkedAt, missedSince, misses }: DomainProof,
      tx: Tx,
    ): Promise<void> {
      await tx('realms')
        .where({ domain })
        .update({
          ...{ proven_at: provenAt ?? null, checked_at: checkedAt ?? null, missed_since: missedSince ?? null, misses },
        })
    },

    async delete(domain: string, tx: Tx): Promise<void> {
      await tx('realms').where({ domain }).delete()
    },

    async insertBreakGlass(domain: string, accountId: string, tx: Tx): Promise<void> {
      await tx('realm_break_glass').insert({ domain, account_id: accountId }).onConflict().ignore()
    },

    async deleteBreakGlass(domain: string, accountId: string, tx: Tx): Promise<void> {
      await tx('realm_break_glass').where({ domain, account_id: accountId }).delete()
    },
  }
}

function toRecord(row: RealmRow): RealmRecord {
  const { domain, upstream, policy, token, misses, managed, break_glass: breakGlass } = row
  return {
    ...{ domain, upstream, policy, token, misses, managed, breakGlass },
    provenAt: row.proven_at ?? undefined,
    checkedAt: row.checked_at ?? undefined,
    missedSince: row.missed_since ?? undefined,
    disabledAt: row.disabled_at ?? undefined,
  }
}
