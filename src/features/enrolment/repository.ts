/** The columns of `accounts` that say what an account has set up, and how it stands with what it should. */
import type { Knex } from 'knex'
import type { Tx } from '../../platform/postgres.ts'
import type { Enrolment } from './types.ts'

export type EnrolmentRepository = ReturnType<typeof enrolmentRepository>

interface EnrolmentRow {
  readonly factors: readonly string[]
  readonly second_factor_required: boolean
}

export function enrolmentRepository(db: Knex) {
  return {
    /** Locks the row until the transaction ends, so that two changes at once see each other. */
    async findForUpdate(accountId: string, tx: Tx): Promise<Enrolment | undefined> {
      const row: EnrolmentRow | undefined = await tx('accounts')
        .where({ id: accountId })
        .forUpdate()
        .first('factors', 'second_factor_required')
      return row === undefined ? undefined : { factors: row.factors, isRequired: row.second_factor_required }
    },

    async updateFactors(accountId: string, factors: readonly string[], tx: Tx): Promise<void> {
      await tx('accounts')
        .where({ id: accountId })
        .update({ factors: JSON.stringify(factors) })
    },

    async updateRequired(accountId: string, isRequired: boolean, tx: Tx): Promise<void> {
      await tx('accounts').where({ id: accountId }).update({ second_factor_required: isRequired })
    },

    /** Counts one more, only while fewer than `most` are counted; says whether it did. */
    async countSkip(accountId: string, most: number, tx: Tx): Promise<boolean> {
      const changed = await tx('accounts')
        .where({ id: accountId })
        .where('enrolment_skips', '<', most)
        .update({ enrolment_skips: tx.raw('enrolment_skips + 1') })
      return changed === 1
    },

    async updateNudgeAfter(accountId: string, at: Date): Promise<void> {
      await db('accounts').where({ id: accountId }).update({ nudge_after: at })
    },
  }
}
