/**
 * The rules for whoever cannot use their second factors any more and has no recovery code: they ask for the removal with the
 * first factor, everybody is told, and after the waiting period the next sign-in completes it. Whoever still has a factor, or
 * reads one of the mails, calls it off. Asking signs nobody in, and nothing is removed before its time, unless two of the
 * support, each with their own key, let the owner wait no longer.
 */
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import { networkOf } from '../../platform/client_network.ts'
import { equal, sha256 } from '../../platform/ids.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { NoticePage, Tell } from '../notices/types.ts'
import type { AfterCommit } from '../sessions/types.ts'
import type { RemovalRepository } from './repository.ts'
import type { Approved, Removal, RemoveFactors, Supporter } from './types.ts'

export interface LostFactorDeps {
  readonly repository: RemovalRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void>; wake(): void }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly kv: Pick<KeyValue, 'hit'>
  readonly accounts: {
    view(accountId: string, tx: Tx): Promise<AccountView | undefined>
    publish(accountId: string): Promise<void>
  }
  readonly sessions: {
    endAll(
      accountId: string,
      reason: 'factors_removed',
      options: { exceptUid?: string | undefined },
      tx: Tx,
    ): Promise<AfterCommit>
  }
  /** One function for each kind of factor. */
  readonly removeFactors: readonly RemoveFactors[]
  readonly notices: { tell: Tell }
  readonly waitingHours: number
  /** Who may end the waiting, two together. Empty: nobody. */
  readonly support: readonly Supporter[]
  /** The language of mails that follow from no page. */
  readonly locale: string
}

export type LostFactorService = ReturnType<typeof createLostFactorService>

export type Asked = { readonly ok: true } | { readonly ok: false; readonly retryAfter: number }

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Whoever does not come back for so long after the end of the waiting asks again: an old request is nobody's way in. */
const COMPLETABLE_DAYS = 7
const REQUESTS_PER_DAY = { account: 3, network: 20 }
const BATCH = 100
/** So many of the support together end a waiting. */
const APPROVALS = 2
/** Two who look at the same case do so on one day. */
const APPROVAL_MS = DAY_MS

/** A request that was due before then has lapsed. */
function lapsedBefore(now: Date): Date {
  return new Date(now.getTime() - COMPLETABLE_DAYS * DAY_MS)
}

export function createLostFactorService(deps: LostFactorDeps) {
  const { repository, transaction, outbox, clock, waitingHours } = deps
  return {
    waitingHours,

    async find(accountId: string): Promise<(Removal & { readonly isDue: boolean }) | undefined> {
      const now = clock.now()
      const removal = await repository.findOpen(accountId, lapsedBefore(now))
      return removal === undefined ? undefined : { ...removal, isDue: removal.dueAt <= now }
    },

    /** Begins the waiting, and tells everybody at once. Asked again it changes nothing: the time does not begin anew. */
    async request(account: AccountView, ip: string, page: NoticePage): Promise<Asked> {
      const { accountId } = account
      const hit = await deps.kv.hit([
        limitOf(`account:${accountId}`, REQUESTS_PER_DAY.account),
        limitOf(`network:${networkOf(ip)}`, REQUESTS_PER_DAY.network),
      ])
      if (!hit.allowed) return { ok: false, retryAfter: hit.retryAfter }
      await transaction(async (tx) => {
        const requestedAt = clock.now()
        const dueAt = new Date(requestedAt.getTime() + waitingHours * HOUR_MS)
        const removal = { accountId, requestedAt, dueAt }
        if (!(await repository.insert(deps.newId(), removal, lapsedBefore(requestedAt), tx))) return
        const data = { dueAt: dueAt.toISOString() }
        await outbox.record([{ type: 'factor_removal.requested', accountId, data }], tx)
        await deps.notices.tell('removal_requested', account, page, tx, { due: dueAt })
      })
      return { ok: true }
    },

    complete: (accountId: string, page: NoticePage): Promise<AccountView | undefined> => {
      const now = clock.now()
      return complete(deps, accountId, { dueBy: now, lapsedBefore: lapsedBefore(now) }, page)
    },

    /**
     * One of the support approves that the waiting ends; the second one within a day ends it and tells the owner. Nobody can
     * begin a removal in the owner's place, and the owner's first factor, the mails and the ways to stop it stay.
     */
    async approve(
      accountId: string,
      { name, key }: { readonly name: string; readonly key: string },
      reason?: string,
    ): Promise<Approved> {
      const result = await transaction((tx) =>
        knows(deps.support, name, key) ? approve(deps, accountId, name, reason, tx) : refuse(deps, accountId, name, tx),
      )
      outbox.wake()
      return result
    },

    /** Calls a removal off, within the transaction of whatever shows that its owner is there; without one, nothing happens. */
    cancel: (accountId: string, reason: string, tx: Tx): Promise<void> => cancel(deps, accountId, reason, tx),

    /** A factor was shown by a sign-in: it is not lost. */
    shown: (accountId: string): Promise<void> => transaction((tx) => cancel(deps, accountId, 'factor_shown', tx)),

    /** Reminds everybody a day before, one request in a transaction, and ends what nobody came back for. */
    async tend(now: Date): Promise<void> {
      const later = { now, dueBefore: new Date(now.getTime() + DAY_MS), madeBefore: new Date(now.getTime() - HOUR_MS) }
      for (let count = 0; count < BATCH; count++) if (!(await remind(deps, later))) break
      await transaction(async (tx) => {
        const ids = await repository.lapse(lapsedBefore(now), now, BATCH, tx)
        const data = { reason: 'lapsed' }
        const facts = ids.map((accountId): Fact => {
          return { type: 'factor_removal.cancelled', accountId, actor: 'system', data }
        })
        await outbox.record(facts, tx)
      })
    },
  }
}

function limitOf(key: string, limit: number) {
  return { key: `{lost_factor}:${key}`, limit, windowSeconds: DAY_MS / 1000 }
}

/**
 * Removes every second factor if it is time, and ends everything that was open, in one transaction. Returns the account with
 * the epoch that the sign-in under way must carry; undefined when it is not time, or was called off.
 */
async function complete(
  deps: LostFactorDeps,
  accountId: string,
  times: { readonly dueBy: Date; readonly lapsedBefore: Date },
  page: NoticePage,
): Promise<AccountView | undefined> {
  const { repository, transaction, outbox, accounts, sessions, notices } = deps
  const done = await transaction(async (tx) => {
    const before = await accounts.view(accountId, tx)
    if (before?.active !== true || !(await repository.complete(accountId, times, tx))) return undefined
    for (const remove of deps.removeFactors) await remove(accountId, tx)
    const after = await sessions.endAll(accountId, 'factors_removed', {}, tx)
    const data = { methods: [...before.factors] }
    await outbox.record([{ type: 'factor_removal.completed', accountId, data }], tx)
    await notices.tell('removal_done', before, page, tx)
    // Read last: the epoch that the sign-in must carry.
    const account = await accounts.view(accountId, tx)
    // Rolled back: an account must not be told that it has no factors while it is asked for one.
    if (account === undefined || account.factors.length > 0) throw new Error('a factor was not removed')
    return { account, after }
  })
  if (done === undefined) return undefined
  await accounts.publish(accountId)
  outbox.wake()
  await done.after()
  return done.account
}

async function cancel(
  { repository, outbox, clock, accounts, notices, locale }: LostFactorDeps,
  accountId: string,
  reason: string,
  tx: Tx,
): Promise<void> {
  if (!(await repository.cancel(accountId, clock.now(), tx))) return
  await outbox.record([{ type: 'factor_removal.cancelled', accountId, data: { reason } }], tx)
  const account = await accounts.view(accountId, tx)
  if (account !== undefined) await notices.tell('removal_cancelled', account, { locale }, tx)
}

/** False when nobody is to be reminded. */
function remind(
  { repository, transaction, accounts, notices, locale }: LostFactorDeps,
  times: Parameters<RemovalRepository['takeReminder']>[0],
): Promise<boolean> {
  return transaction(async (tx) => {
    const removal = await repository.takeReminder(times, tx)
    if (removal === undefined) return false
    const account = await accounts.view(removal.accountId, tx)
    if (account !== undefined) await notices.tell('removal_near', account, { locale }, tx, { due: removal.dueAt })
    return true
  })
}

/** Everybody's key is looked at, whoever was named: how long it takes tells nothing. */
function knows(support: readonly Supporter[], name: string, key: string): boolean {
  const hash = sha256(key)
  const known = support.filter((person) => equal(person.keyHash, hash))
  return known.some((person) => person.name === name)
}

async function refuse({ outbox }: LostFactorDeps, accountId: string, by: string, tx: Tx): Promise<Approved> {
  await outbox.record([{ type: 'factor_removal.refused', accountId, actor: 'operator', data: { by } }], tx)
  return 'refused'
}

async function approve(
  { repository, outbox, clock, accounts, notices, locale }: LostFactorDeps,
  accountId: string,
  name: string,
  reason: string | undefined,
  tx: Tx,
): Promise<Approved> {
  const now = clock.now()
  const removal = await repository.findForUpdate(accountId, lapsedBefore(now), tx)
  if (removal === undefined) return 'none'
  if (removal.dueAt <= now) return 'due_already'
  const fresh = removal.approvals.filter(({ at }) => now.getTime() - at.getTime() < APPROVAL_MS)
  if (fresh.some((approval) => approval.name === name)) return 'approved_already'
  const released = fresh.length + 1 >= APPROVALS
  await repository.setApprovals(accountId, [...fresh, { name, at: now }], tx)
  const data = { by: name, released, ...(reason === undefined ? {} : { reason }) }
  await outbox.record([{ type: 'factor_removal.approved', accountId, actor: 'operator', data }], tx)
  if (!released) return 'one_more'
  await repository.release(accountId, now, tx)
  const account = await accounts.view(accountId, tx)
  if (account !== undefined) await notices.tell('removal_near', account, { locale }, tx, { due: now })
  return 'released'
}
