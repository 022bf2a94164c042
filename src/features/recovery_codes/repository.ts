/** Rows of `recovery_code_sets` and `recovery_codes`. A code has an id of its own set: of an old set none is ever used. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'

export type RecoveryCodeRepository = ReturnType<typeof recoveryCodeRepository>

export interface CodeSet {
  readonly madeAt: Date
  /** Wrong codes since the last right one. */
  readonly failures: number
  /** The codes that are left. */
  readonly codes: readonly SealedCode[]
}

export interface SealedCode {
  readonly id: string
  readonly sealedHash: string
}

interface SetRow {
  readonly made_at: Date
  readonly failures: number
  readonly codes: readonly SealedCode[] | null
}

const FIND = `
  select s.made_at, s.failures,
    (select jsonb_agg(jsonb_build_object('id', c.id, 'sealedHash', c.sealed_hash))
     from recovery_codes c where c.account_id = s.account_id and c.used_at is null) as codes
  from recovery_code_sets s where s.account_id = ?`

export function recoveryCodeRepository(db: Knex) {
  return {
    async find(accountId: string): Promise<CodeSet | undefined> {
      const { rows } = await db.raw<{ rows: SetRow[] }>(FIND, [accountId])
      const [row] = rows
      return row === undefined ? undefined : { madeAt: row.made_at, failures: row.failures, codes: row.codes ?? [] }
    },

    /** Puts a new set in the place of the one before. */
    async replace(accountId: string, codes: readonly SealedCode[], now: Date, tx: Tx): Promise<void> {
      await tx('recovery_codes').where({ account_id: accountId }).delete()
      await tx('recovery_code_sets')
        .insert({ account_id: accountId, made_at: now, failures: 0 })
        .onConflict('account_id')
        .merge()
      await tx('recovery_codes').insert(
        codes.map(({ id, sealedHash }) => ({ id, account_id: accountId, sealed_hash: sealedHash })),
      )
    },

    /** Uses a code up. Of many at once exactly one does. Returns how many are left of its set; undefined when it was used. */
    async use(accountId: string, id: string, now: Date, tx: Tx): Promise<number | undefined> {
      const used = await tx('recovery_codes')
        .where({ id, account_id: accountId })
        .whereNull('used_at')
        .update({ used_at: now })
        .returning('id')
      if (used.length === 0) return undefined
      await tx('recovery_code_sets').where({ account_id: accountId }).update({ failures: 0 })
      const [row] = await tx('recovery_codes').where({ account_id: accountId }).whereNull('used_at').count('id as left')
      return Number(row?.left ?? 0)
    },

    async countFailure(accountId: string, tx: Tx): Promise<void> {
      await tx('recovery_code_sets')
        .where({ account_id: accountId })
        .update({ failures: tx.raw('failures + 1') })
    },

    async delete(accountId: string, tx: Tx): Promise<void> {
      await tx('recovery_code_sets').where({ account_id: accountId }).delete()
    },

    /** Every code that is left, of every account. */
    async list(tx: Tx): Promise<SealedCode[]> {
      const rows = await tx('recovery_codes').whereNull('used_at').orderBy('id').select('id', 'sealed_hash')
      return rows.map(({ id, sealed_hash }: { id: string; sealed_hash: string }) => ({ id, sealedHash: sealed_hash }))
    },

    async updateSealed(id: string, before: string, after: string, tx: Tx): Promise<boolean> {
      const changed = await tx('recovery_codes').where({ id, sealed_hash: before }).update({ sealed_hash: after })
      return changed === 1
    },
  }
}
