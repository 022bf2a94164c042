/** The rules of enrolment: what is noted of an account's factors, and how long setting one up may be put off. */
import type { Fact } from '../../events.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { EnrolmentRepository } from './repository.ts'
import type { SetFactor } from './types.ts'

export interface EnrolmentDeps {
  readonly repository: EnrolmentRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
}

export type EnrolmentService = ReturnType<typeof createEnrolmentService>

export function createEnrolmentService({ repository, transaction, outbox }: EnrolmentDeps) {
  const setFactor: SetFactor = async (accountId, method, isSet, tx) => {
    const found = await repository.findForUpdate(accountId, tx)
    if (found === undefined) return undefined
    const others = found.factors.filter((name) => name !== method)
    const factors = isSet ? [...others, method] : others
    if (found.factors.includes(method) !== isSet) await repository.updateFactors(accountId, factors, tx)
    return factors
  }
  return {
    setFactor,

    /** Puts off a required second factor once more while the grace lasts: of many at once, each is counted. */
    putOff: (accountId: string, grace: number): Promise<boolean> =>
      transaction(async (tx) => {
        const counted = await repository.countSkip(accountId, grace, tx)
        if (counted) await outbox.record([{ type: 'account.enrolment_put_off', accountId }], tx)
        return counted
      }),

    /** The person does not want to be asked before `at` to set up what is optional. */
    nudgeAfter: repository.updateNudgeAfter,

    /** An operator demands a second factor of an account, or does so no more. False when that changes nothing. */
    require: (accountId: string, isRequired: boolean, reason?: string): Promise<boolean> =>
      transaction(async (tx) => {
        const found = await repository.findForUpdate(accountId, tx)
        if (found === undefined || found.isRequired === isRequired) return false
        await repository.updateRequired(accountId, isRequired, tx)
        const changes = { second_factor_required: { old: found.isRequired, new: isRequired } }
        await outbox.record([{ type: 'account.updated', accountId, actor: 'operator', data: { changes, reason } }], tx)
        return true
      }),
  }
}
