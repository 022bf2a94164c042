/** What everything alive is compared with: whether an account may act, and its epoch, in the key/value store beside SQL. */
import { hasSecondFactor } from '../../interaction/levels.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import { type AccountRepository, accountStates } from './repository.ts'
import { type AccountState, later, toState } from './types.ts'

/** Higher than any epoch: nothing of a deleted account is valid. */
const GONE: AccountState = { active: false, epoch: Number.MAX_SAFE_INTEGER }

type StateStore = Pick<KeyValue, 'get' | 'add' | 'read' | 'swap'>

/** The states of accounts, kept in the key/value store. */
export function createStates({ repository, kv }: { repository: Pick<AccountRepository, 'find'>; kv: StateStore }) {
  const kept = accountStates(kv)
  return {
    /**
     * Whether the account may act, and its epoch: one key/value read, filled from SQL. Undefined when there is none.
     * A pending account is never active and never kept, so that its activation needs no new epoch.
     */
    async state(id: string): Promise<AccountState | undefined> {
      const stored = await kept.find(id)
      if (stored !== undefined) return stored
      const account = await repository.find(id)
      if (account === undefined) return undefined
      const state = toState(account)
      // Only if still absent: a change that was written meanwhile is later than what we have read.
      if (account.state !== 'pending') await kept.add(id, state)
      return state
    },

    /**
     * The state of an account that was just read together with its password: kept if no state is there yet, else the one
     * that is there, which a change may have written since; an earlier one is replaced. Undefined when the view does not carry
     * enough to say.
     */
    async note(view: AccountView): Promise<AccountState | undefined> {
      const { accountId, active, emailVerified, epoch, passwordAt } = view
      // A view calls pending accounts active too; whoever has proven the address is none.
      if (!active || !emailVerified || passwordAt === undefined) return undefined
      const state = { active, epoch, passwordAt, enrolled: hasSecondFactor(view) }
      if (await kept.add(accountId, state)) return state
      const known = await kept.find(accountId)
      if (known === undefined || !later(state, known)) return known ?? state
      // Whoever changed it died between the commit and telling: the new password would prove nothing until a consumer repeats it.
      await kept.write(accountId, state)
      return (await kept.find(accountId)) ?? state
    },

    /** Writes the committed state through. Call it after the commit of whatever changed state or epoch. Idempotent. */
    async publish(id: string): Promise<void> {
      const account = await repository.find(id)
      if (account?.state === 'pending') return
      await kept.write(id, account === undefined ? GONE : toState(account))
    },
  }
}
