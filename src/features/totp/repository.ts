/** Rows of `totp_seeds`: one authenticator app for an account. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'

export type TotpRepository = ReturnType<typeof totpRepository>

export interface TotpRecord {
  readonly accountId: string
  readonly sealedSeed: string
  /** The last time step (RFC 6238 §4) of which a code was accepted. */
  readonly lastStep: number
  /** Wrong codes since the last right one. */
  readonly failures: number
  readonly confirmedAt: Date
  readonly usedAt: Date | undefined
}

interface TotpRow {
  readonly account_id: string
  readonly sealed_seed: string
  readonly last_step: number
  readonly failures: number
  readonly confirmed_at: Date
  readonly used_at: Date | null
}

export function totpRepository(db: Knex) {
  return {
    async find(accountId: string): Promise<TotpRecord | undefined> {
      const row = await db<TotpRow>('totp_seeds').where({ account_id: accountId }).first()
      return row === undefined ? undefined : toRecord(row)
    },

    /** Puts a confirmed seed in the place of the one before. */
    async store(
      seed: Pick<TotpRecord, 'accountId' | 'sealedSeed' | 'lastStep' | 'confirmedAt'>,
      tx: Tx,
    ): Promise<void> {
      const { accountId, sealedSeed, lastStep, confirmedAt } = seed
      const row = {
        sealed_seed: sealedSeed,
        last_step: lastStep,
        failures: 0,
        confirmed_at: confirmedAt,
        used_at: null,
      }
      await tx('totp_seeds')
        .insert({ account_id: accountId, ...row })
        .onConflict('account_id')
        .merge()
    },

    /**
     * Uses the code of a step, only when neither it nor a later one was used (RFC 6238 §5.2), and of the seed that was looked
     * at. Of many at once exactly one does.
     */
    async use({ accountId, sealedSeed }: TotpRecord, step: number, now: Date): Promise<boolean> {
      const changed = await db('totp_seeds')
        .where({ account_id: accountId, sealed_seed: sealedSeed })
        .where('last_step', '<', step)
        .update({ last_step: step, failures: 0, used_at: now })
      return changed === 1
    },

    async countFailure(accountId: string, tx: Tx): Promise<void> {
      await tx('totp_seeds')
        .where({ account_id: accountId })
        .update({ failures: tx.raw('failures + 1') })
    },

    /** Says whether there was one. */
    async delete(accountId: string, tx: Tx): Promise<boolean> {
      return (await tx('totp_seeds').where({ account_id: accountId }).delete()) > 0
    },

    async list(tx: Tx): Promise<TotpRecord[]> {
      return (await tx<TotpRow>('totp_seeds').orderBy('account_id')).map(toRecord)
    },

    /** False when the seed was replaced meanwhile. */
    async updateSealed(accountId: string, before: string, after: string, tx: Tx): Promise<boolean> {
      const changed = await tx('totp_seeds')
        .where({ account_id: accountId, sealed_seed: before })
        .update({ sealed_seed: after })
      return changed === 1
    },
  }
}

function toRecord(row: TotpRow): TotpRecord {
  return {
    accountId: row.account_id,
    sealedSeed: row.sealed_seed,
    lastStep: row.last_step,
    failures: row.failures,
    confirmedAt: row.confirmed_at,
    usedAt: row.used_at ?? undefined,
  }
}
