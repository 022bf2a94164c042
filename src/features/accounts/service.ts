/** The rules of accounts: how one begins, proves its address, is switched off, ends, and what may be said about it. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import { hasSecondFactor } from '../../interaction/levels.ts'
import type { AccountView } from '../../interaction/step.ts'
import { canonicalEmail } from '../../platform/email_address.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import { onlyOne, type Tx } from '../../platform/postgres.ts'
import { type AccountRepository, accountStates, toView } from './repository.ts'
import {
  type Account,
  type AccountState,
  type Beginning,
  type Cause,
  changed,
  claimsOf,
  NEW_ACCOUNT,
  onlyProfile,
  stillSaid,
  toState,
  type Writing,
} from './types.ts'

export interface AccountDeps {
  readonly repository: AccountRepository
  readonly kv: Pick<KeyValue, 'get' | 'add' | 'read' | 'swap'>
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clock: { now(): Date }
  readonly newId: () => string
  /** Names a value of a person in facts without showing it. */
  readonly mac: (value: string) => string
  /** Ends every session and revokes every grant, and calls `advanceEpoch`. The returned function is for after the commit. */
  readonly endSessions: (
    accountId: string,
    reason: 'account_disabled' | 'account_deleted',
    options: { exceptUid?: string | undefined },
    tx: Tx,
  ) => Promise<() => Promise<void>>
  readonly provenNumber?: ((account: Account) => Promise<string | undefined>) | undefined
  /** Told when the account's state could not be written through after a commit; the facts' consumer repeats it. */
  readonly warn: (error: unknown, message: string) => void
}

export type AccountService = ReturnType<typeof createAccountService>

/** Higher than any epoch: nothing of a deleted account is valid. */
const GONE: AccountState = { active: false, epoch: Number.MAX_SAFE_INTEGER }

export function createAccountService(deps: AccountDeps) {
  const states = statesOf(deps)
  return {
    ...views(deps),
    ...states,
    ...beginnings(deps),
    ...changes(deps, states.publish),
    ...endings(deps, states.publish),
  }
}

function views({ repository, provenNumber }: AccountDeps) {
  return {
    /** The account as steps and pages may see it. A pending account is `active` here: it may go on proving itself. */
    async view(id: string, tx?: Tx): Promise<AccountView | undefined> {
      const account = await repository.find(id, tx)
      return account === undefined ? undefined : toView(account)
    },

    find: repository.find,

    /** The account that has proven the address, else the newest that claims it. */
    async findByIdentifier(identifier: string, tx?: Tx): Promise<Account | undefined> {
      const email = canonicalEmail(identifier)
      return email === undefined ? undefined : repository.findByEmail(email, tx)
    },

    /** Whether somebody else has proven the address. */
    emailTaken: repository.emailTaken,

    list: repository.list,

    /** Every standard claim of the account (OIDC Core §5.1). Undefined unless it is active. */
    async claims(id: string): Promise<{ [claim: string]: unknown } | undefined> {
      const account = await repository.find(id)
      return account?.state === 'active' ? claimsOf(account, await provenNumber?.(account)) : undefined
    },
  }
}

function statesOf({ repository, kv }: AccountDeps) {
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
     * that is there, which a change may have written since; an earlier one gives way. Undefined when the view does not carry
     * enough to say.
     */
    async note(view: AccountView): Promise<AccountState | undefined> {
      const { accountId, active, emailVerified, epoch, passwordAt } = view
      // A view calls pending accounts active too; whoever has proven the address is none.
      if (!active || !emailVerified || passwordAt === undefined) return undefined
      const state = { active, epoch, passwordAt, enrolled: hasSecondFactor(view) }
      return await kept.keep(accountId, state)
    },

    /** Writes the committed state through. Call it after the commit of whatever changed state or epoch. Idempotent. */
    async publish(id: string): Promise<void> {
      const account = await repository.find(id)
      if (account?.state === 'pending') return
      await kept.write(id, account === undefined ? GONE : toState(account))
    },
  }
}

function beginnings(deps: AccountDeps) {
  const { repository, outbox, clock, newId } = deps
  return {
    /** A new account that has proven nothing. `email` is canonical; other accounts may claim it too. */
    async createPending({ email, locale, profile = {}, provenance }: Beginning, tx: Tx): Promise<AccountView> {
      const now = clock.now()
      const account: Account = {
        id: newId(),
        email,
        ...NEW_ACCOUNT,
        locale,
        profile: onlyProfile(profile),
        provenance,
        createdAt: now,
        updatedAt: now,
      }
      await repository.insert(account, tx)
      const data = changed(deps, {}, { email, locale, state: account.state, ...account.profile })
      await outbox.record([{ type: 'account.registered', accountId: account.id, data }], tx)
      return toView(account)
    },

    /**
     * The mailbox of `email` was proven for this account: a pending one becomes active, and others that only claimed the
     * address are deleted. Undefined when the account has another address by now, or is switched off.
     * @throws {AppError} `already_exists` when another account has proven the address
     */
    async proveEmail(id: string, email: string, tx: Tx): Promise<AccountView | undefined> {
      if (await repository.emailTaken(email, id, tx)) throw new AppError('already_exists')
      const before = await repository.findForUpdate(id, tx)
      const account = await onlyOne(repository.prove(id, email, clock.now(), tx))
      if (account === undefined) return undefined
      await stateDropped(deps, await repository.deletePendingOf(email, id, tx), 'proven_by_another', tx)
      const data = changed(deps, { state: before?.state }, { state: account.state, email })
      await outbox.record([{ type: 'account.email_verified', accountId: id, data }], tx)
      return toView(account)
    },

    /** Corrects a mistyped address before it was proven. Undefined when the account is not pending any more. */
    async correctPending(id: string, email: string, tx: Tx): Promise<AccountView | undefined> {
      const before = await repository.findForUpdate(id, tx)
      const account = before && (await repository.correctPending(before, email, clock.now(), tx))
      if (account === undefined) return undefined
      const data = changed(deps, { email: before?.email }, { email })
      await outbox.record([{ type: 'account.email_corrected', accountId: id, data }], tx)
      return toView(account)
    },
  }
}

function changes(deps: AccountDeps, publish: (id: string) => Promise<void>) {
  const { repository, outbox, clock, warn } = deps
  // The effect belongs to no transaction: the root handle refuses to work inside of one.
  const outside = AsyncLocalStorage.snapshot()
  return {
    /**
     * Voids every session, grant and proof of the account at once; returns the new epoch. It is written through after the
     * commit by itself; whoever must see it at once awaits `publish` as well.
     */
    async advanceEpoch(id: string, _reason: string, tx: Tx): Promise<number | undefined> {
      const account = await repository.advanceEpoch(id, clock.now(), tx)
      const write = () => outside(() => publish(id)).catch((error: unknown) => warn(error, 'account state not written'))
      tx.executionPromise?.then(write, () => {})
      return account?.epoch
    },

    /** Gives the account another, proven address. @throws {AppError} `already_exists` */
    async changeEmail(id: string, email: string, tx: Tx): Promise<AccountView | undefined> {
      if (await repository.emailTaken(email, id, tx)) throw new AppError('already_exists')
      const before = await repository.findForUpdate(id, tx)
      const account = before && (await onlyOne(repository.changeEmail(before, email, clock.now(), tx)))
      if (account === undefined) return undefined
      await stateDropped(deps, await repository.deletePendingOf(email, id, tx), 'proven_by_another', tx)
      const data = changed(deps, { email: before?.email }, { email })
      await outbox.record([{ type: 'account.email_changed', accountId: id, data }], tx)
      return toView(account)
    },

    /**
     * Changes language or profile. A given profile replaces the one before; what is no profile claim is dropped. Nothing is
     * written or stated when nothing differs.
     */
    async update(id: string, given: Writing, tx: Tx): Promise<void> {
      const before = await repository.findForUpdate(id, tx)
      if (before === undefined) return
      const { locale } = given
      const profile = given.profile === undefined ? undefined : onlyProfile(given.profile)
      const data = changed(
        deps,
        { ...before.profile, locale: before.locale },
        { ...(profile ?? before.profile), locale: locale ?? before.locale },
      )
      if (Object.keys(data.changes).length === 0) return
      // What the owner writes over is theirs from now on.
      const provenance = given.provenance ?? (profile && stillSaid(before, profile))
      await repository.update(before, { locale, profile, provenance }, clock.now(), tx)
      await outbox.record([{ type: 'account.updated', accountId: id, data }], tx)
    },
  }
}

/** States that pending accounts are gone: `unproven` for too long, `joined` to another, or `proven_by_another`. */
async function stateDropped(deps: AccountDeps, ids: readonly string[], reason: string, tx: Tx): Promise<void> {
  const data = { ...changed(deps, { state: 'pending' }, { state: 'deleted' }), reason }
  const facts = ids.map((accountId) => ({ type: 'account.deleted', actor: 'system', accountId, data }) as const)
  if (facts.length > 0) await deps.outbox.record(facts, tx)
}

const OPERATOR: Cause = { actor: 'operator' }

function endings(deps: AccountDeps, publish: (id: string) => Promise<void>) {
  const { repository, transaction, outbox, clock, endSessions } = deps

  /** One transaction that switches the account off, then the effects of its commit. False when there is nothing to do. */
  async function end(
    id: string,
    to: 'disabled' | 'deleted',
    act: (tx: Tx) => Promise<unknown>,
    { actor, reason }: Cause,
  ): Promise<boolean> {
    const after = await transaction(async (tx) => {
      const account = await repository.findForUpdate(id, tx)
      if (account === undefined || account.state === to) return undefined
      const effects = await endSessions(id, `account_${to}`, {}, tx)
      await act(tx)
      const data = { ...changed(deps, { state: account.state }, { state: to }), reason }
      await outbox.record([{ type: `account.${to}`, accountId: id, actor, data }], tx)
      return effects
    })
    if (after === undefined) return false
    await publish(id)
    outbox.wake()
    await after()
    return true
  }

  /**
   * Deletes the account with all that belongs to it, and does `also` in the same transaction. Its id is never used again
   * (A89). False when it is not there.
   */
  function remove(id: string, also?: (tx: Tx) => Promise<void>, cause: Cause = {}): Promise<boolean> {
    const act = async (tx: Tx) => {
      await also?.(tx)
      await repository.delete(id, tx)
    }
    return end(id, 'deleted', act, cause)
  }

  return {
    /** Nothing of the account works any more, at once. False when it is not there or switched off already. */
    disable: (id: string, cause: Cause = OPERATOR): Promise<boolean> =>
      end(id, 'disabled', (tx) => repository.setState(id, 'disabled', clock.now(), tx), cause),

    /** The account may sign in again; what was ended stays ended. False when it is not disabled. */
    async enable(id: string, { actor, reason }: Cause = OPERATOR): Promise<boolean> {
      const done = await transaction(async (tx) => {
        const account = await repository.findForUpdate(id, tx)
        if (account?.state !== 'disabled') return false
        const to = account.emailVerifiedAt === undefined ? 'pending' : 'active'
        await repository.setState(id, to, clock.now(), tx)
        // Each change of state has its own epoch, so that the later one always wins in the key/value store.
        await repository.advanceEpoch(id, clock.now(), tx)
        const data = { ...changed(deps, { state: account.state }, { state: to }), reason }
        await outbox.record([{ type: 'account.enabled', accountId: id, actor, data }], tx)
        return true
      })
      if (done) await publish(id)
      return done
    },

    remove,

    /** Deletes an account that has proven nothing, and that nobody can have used. */
    async dropPending(id: string, tx: Tx): Promise<void> {
      if (await repository.deletePending(id, tx)) await stateDropped(deps, [id], 'joined', tx)
    },

    /** An operator deletes the account. */
    erase: (id: string, cause: Cause = OPERATOR): Promise<boolean> => remove(id, undefined, cause),

    /** Deletes up to `atMost` accounts that were never proven and are older than `before`. */
    purgePending: (before: Date, atMost: number): Promise<number> =>
      transaction(async (tx) => {
        const ids = await repository.deletePendingBefore(before, atMost, tx)
        await stateDropped(deps, ids, 'unproven', tx)
        return ids.length
      }),
  }
}
