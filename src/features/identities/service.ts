/**
 * The rules of identities: one belongs to one account, its owner is told of every change, and it is never what an account could
 * not do without. Whoever links has shown both sides a moment ago; who may is said by the rooms that ask.
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import { type Tx, uniqueViolation } from '../../platform/postgres.ts'
import type { Tell } from '../notices/types.ts'
import type { AfterCommit } from '../sessions/types.ts'
import type { IdentityRepository } from './repository.ts'
import type { Identities, Identity, NewIdentity } from './types.ts'

export interface IdentityDeps {
  readonly repository: IdentityRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly accounts: {
    view(accountId: string, tx?: Tx): Promise<AccountView | undefined>
    /** Deletes an account that has proven nothing. */
    dropPending(accountId: string, tx: Tx): Promise<void>
  }
  readonly passwords: { isSet(accountId: string): Promise<boolean> }
  readonly sessions: {
    endAll(
      accountId: string,
      reason: 'factor_changed',
      options: { exceptUid?: string | undefined },
      tx: Tx,
    ): Promise<AfterCommit>
  }
  readonly tell: Tell
  /** How pages call a provider. */
  readonly title: (upstream: string) => Promise<string>
  /** Whether these methods, of which an account has no others, sign in at all. */
  readonly signsIn: (methods: readonly string[]) => boolean
}

const METHOD = 'upstream'
const MOST = 20
/** As long as the link of a notice works that says it was not the owner. */
const DISOWNED_DAYS = 7
const DAY_MS = 86_400_000

export function createIdentityService(deps: IdentityDeps): Identities {
  const { repository, outbox, clock } = deps
  return {
    list: repository.list,

    find: (key) => repository.find(key),
    insert: (identity, accountId, tx) => insert(deps, identity, accountId, tx),
    link: linking(deps),
    unlink: unlinking(deps),
    use: (identity, now, tx) => repository.use(identity, now, clock.now(), tx),

    async disown(accountId, tx) {
      const since = clock.now().getTime() - DISOWNED_DAYS * DAY_MS
      for (const identity of await repository.list(accountId, tx)) {
        if (identity.linkedAt.getTime() < since) continue
        await repository.delete(accountId, identity.id, tx)
        await outbox.record([removed(identity, 'disowned')], tx)
      }
    },
  }
}

async function insert(
  { repository, outbox, clock, newId }: IdentityDeps,
  identity: NewIdentity,
  accountId: string,
  tx: Tx,
): Promise<void> {
  const { upstream } = identity
  await repository.insert({ ...identity, id: newId(), accountId, linkedAt: clock.now(), usedAt: undefined }, tx)
  await outbox.record([{ type: 'identity.linked', accountId, data: { upstream } }], tx)
}

function linking(deps: IdentityDeps): Identities['link'] {
  const { repository, transaction, accounts } = deps
  return async (identity, account, page) => {
    const { accountId } = account
    // Before the transaction: it may read a row.
    const title = await deps.title(identity.upstream)
    try {
      return await transaction(async (tx) => {
        const found = await repository.find(identity, tx)
        if (found?.accountId === accountId) return 'linked'
        if (found !== undefined && !(await gaveUp(deps, found, tx))) return 'taken'
        if (found !== undefined) await accounts.dropPending(found.accountId, tx)
        if ((await repository.list(accountId, tx)).length >= MOST) return 'too_many'
        await insert(deps, identity, accountId, tx)
        await deps.tell('identity_linked', account, page, tx, { upstream: title })
        return 'linked'
      })
    } catch (error) {
      // Two links in the same moment, and this one was later.
      if (uniqueViolation(error)) return 'taken'
      throw error
    }
  }
}

/** An account that was begun with it and has never proven its address gives way to one that has. */
async function gaveUp({ accounts }: IdentityDeps, { accountId }: Identity, tx: Tx): Promise<boolean> {
  const holder = await accounts.view(accountId, tx)
  return holder === undefined || !holder.emailVerified
}

function unlinking(deps: IdentityDeps): Identities['unlink'] {
  const { repository, transaction, outbox, passwords, signsIn } = deps
  return async (account, id, change) => {
    const { accountId, factors } = account
    const left = [...factors, 'email_code', ...((await passwords.isSet(accountId)) ? ['pwd'] : [])]
    const listed = await repository.list(accountId)
    const titles = new Map(
      await Promise.all(listed.map(async ({ upstream }) => [upstream, await deps.title(upstream)] as const)),
    )
    try {
      const after = await transaction(async (tx) => {
        const own = await repository.list(accountId, tx)
        const identity = own.find((each) => each.id === id)
        if (identity === undefined) throw new AppError('not_found')
        const ways = own.length > 1 ? [...left, METHOD] : left
        if (!signsIn(ways)) throw new AppError('already_exists')
        await repository.delete(accountId, id, tx)
        await outbox.record([removed(identity, 'by_account')], tx)
        const upstream = titles.get(identity.upstream) ?? identity.upstream
        await deps.tell('identity_removed', account, change.page, tx, { upstream })
        return deps.sessions.endAll(accountId, 'factor_changed', { exceptUid: change.sessionUid }, tx)
      })
      await after()
      return 'unlinked'
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      if (error.code === 'not_found') return 'absent'
      if (error.code === 'already_exists') return 'identity_last_way_in'
      throw error
    }
  }
}

function removed({ accountId, upstream }: Identity, reason: string): Fact {
  return { type: 'identity.unlinked', accountId, data: { upstream, reason } }
}
