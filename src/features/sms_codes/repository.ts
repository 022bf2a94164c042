/** Rows of `phones`: the one phone to which an account gets codes. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'

export type PhoneRepository = ReturnType<typeof phoneRepository>

export interface PhoneRecord {
  readonly accountId: string
  readonly sealedNumber: string
  /** Keyed hash. */
  readonly numberHash: string
  /** Wrong codes since the last right one. */
  readonly failures: number
  readonly confirmedAt: Date
  readonly usedAt: Date | undefined
}

interface PhoneRow {
  readonly account_id: string
  readonly sealed_number: string
  readonly number_hash: string
  readonly failures: number
  readonly confirmed_at: Date
  readonly used_at: Date | null
}

export function phoneRepository(db: Knex) {
  return {
    async find(accountId: string, tx?: Tx): Promise<PhoneRecord | undefined> {
      const row = await (tx ?? db)<PhoneRow>('phones').where({ account_id: accountId }).first()
      return row === undefined ? undefined : toRecord(row)
    },

    /** How many other accounts have the number. */
    async countOthers(numberHash: string, accountId: string, tx: Tx): Promise<number> {
      const { rows } = await tx.raw(
        'select count(*)::int as count from phones where number_hash = ? and account_id <> ?',
        [numberHash, accountId],
      )
      return Number(rows[0]?.count)
    },

    /** Puts a confirmed number in the place of the one before. */
    async store(
      phone: Pick<PhoneRecord, 'accountId' | 'sealedNumber' | 'numberHash' | 'confirmedAt'>,
      tx: Tx,
    ): Promise<void> {
      const { accountId, sealedNumber, numberHash, confirmedAt } = phone
      const row = {
        sealed_number: sealedNumber,
        number_hash: numberHash,
        failures: 0,
        confirmed_at: confirmedAt,
        used_at: null,
      }
      await tx('phones')
        .insert({ account_id: accountId, ...row })
        .onConflict('account_id')
        .merge()
    },

    /** Notes a right code; false when the number was replaced or removed meanwhile, and then the code proves nothing. */
    async use({ accountId, sealedNumber }: PhoneRecord, now: Date): Promise<boolean> {
      const changed = await db('phones')
        .where({ account_id: accountId, sealed_number: sealedNumber })
        .update({ failures: 0, used_at: now })
      return changed === 1
    },

    async countFailure(accountId: string, tx: Tx): Promise<void> {
      await tx('phones')
        .where({ account_id: accountId })
        .update({ failures: tx.raw('failures + 1') })
    },

    async delete(accountId: string, tx: Tx): Promise<void> {
      await tx('phones').where({ account_id: accountId }).delete()
    },

    async list(tx: Tx): Promise<PhoneRecord[]> {
      return (await tx<PhoneRow>('phones').orderBy('account_id')).map(toRecord)
    },

    /** False when the number was replaced meanwhile. */
    async updateSealed(
      { accountId, sealedNumber }: PhoneRecord,
      after: { readonly sealedNumber: string; readonly numberHash: string },
      tx: Tx,
    ): Promise<boolean> {
      const changed = await tx('phones')
        .where({ account_id: accountId, sealed_number: sealedNumber })
        .update({ sealed_number: after.sealedNumber, number_hash: after.numberHash })
      return changed === 1
    },
  }
}

function toRecord(row: PhoneRow): PhoneRecord {
  return {
    accountId: row.account_id,
    sealedNumber: row.sealed_number,
    numberHash: row.number_hash,
    failures: row.failures,
    confirmedAt: row.confirmed_at,
    usedAt: row.used_at ?? undefined,
  }
}
