/** The rules of enrolment: what is noted of an account's factors, and how long setting one up may be put off. */
import type { Fact } from '../../events.ts'
import { hasSecondFactor } from '../../interaction/levels.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Tell } from '../notices/types.ts'
import type { AfterCommit, EndReason } from '../sessions/types.ts'
import type { EnrolmentRepository } from './repository.ts'
import type { ChangeFactor, Enrolment, SetFactor } from './types.ts'

export interface EnrolmentDeps {
  readonly repository: EnrolmentRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly notices: { readonly tell: Tell }
  /** Whether policy demands a second factor of the account, whichever client it signs in to. */
  readonly isRequired: (account: AccountView) => boolean
  readonly sessions: {
    endAll(
      accountId: string,
      reason: EndReason,
      options: { exceptUid?: string | undefined },
      tx: Tx,
    ): Promise<AfterCommit>
  }
  /** Deletes what only ever stands in for a second factor. */
  readonly dropStandIns: (accountId: string, tx: Tx) => Promise<void>
}

export type EnrolmentService = ReturnType<typeof createEnrolmentService>

/** Names no session: in the conversation that signs in there is none to keep yet, and its own proofs must stay valid. */
const NO_SESSION = 'none'

export function createEnrolmentService(deps: EnrolmentDeps) {
  const { repository, transaction, outbox } = deps
  const setFactor: SetFactor = async (accountId, method, isSet, tx) => {
    const found = await repository.findForUpdate(accountId, tx)
    if (found === undefined) return undefined
    const others = found.factors.filter((name) => name !== method)
    const left = isSet ? [...others, method] : others
    // What stands in for a second factor is none: alone it would only be used up by whoever asks for the highest level.
    const factors = hasSecondFactor({ factors: left }) ? left : []
    if (left.length > factors.length) await deps.dropStandIns(accountId, tx)
    if (factors.join() !== found.factors.join()) await repository.updateFactors(accountId, factors, tx)
    return factors
  }

  const changeFactor: ChangeFactor = async ({ account, method, change, notice, page, remains, sessionUid }, tx) => {
    const { accountId } = account
    const found = await repository.findForUpdate(accountId, tx)
    const stays = change !== 'removed' || (await remains?.()) === true
    const refused = stays ? undefined : mayNotGo(deps, account, method, found)
    if (refused !== undefined) return refused
    await setFactor(accountId, method, stays, tx)
    await outbox.record([{ type: FACTS[change], accountId, data: { method } }], tx)
    await deps.notices.tell(notice, account, page, tx)
    return deps.sessions.endAll(accountId, 'factor_changed', { exceptUid: sessionUid ?? NO_SESSION }, tx)
  }

  return {
    setFactor,
    changeFactor,

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

const FACTS = { added: 'factor.added', updated: 'factor.updated', removed: 'factor.removed' } as const

/** `found` was read under the lock, so that of two removals at once the second knows of the first. */
function mayNotGo(
  { isRequired }: EnrolmentDeps,
  account: AccountView,
  method: string,
  found: Enrolment | undefined,
): 'last_factor' | 'absent' | undefined {
  if (found === undefined || !found.factors.includes(method)) return 'absent'
  const left = found.factors.filter((name) => name !== method)
  const mustHave = isRequired({ ...account, secondFactorRequired: found.isRequired })
  return mustHave && !hasSecondFactor({ factors: left }) ? 'last_factor' : undefined
}
