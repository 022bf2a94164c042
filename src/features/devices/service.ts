/**
 * The rules of browsers: which one an account knows, which one it trusts, and when no trust counts any more. A trusted browser
 * stands in for the second factor, so that everything rests on three things: the token is random and stored as a hash, trust
 * follows a second factor that was just shown, and whatever secures the account ends it in the same transaction.
 */
import type { Fact } from '../../events.ts'
import type { AccountView, Proof, RequestFacts } from '../../interaction/step.ts'
import { sha256 } from '../../platform/ids.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Tell } from '../notices/types.ts'
import { deviceOf } from '../sessions/types.ts'
import type { DeviceRepository } from './repository.ts'
import { type Device, nameOf, type Sighting, TRUST_DAYS } from './types.ts'

export interface DeviceDeps {
  readonly repository: DeviceRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly accounts: { view(accountId: string, tx: Tx): Promise<AccountView | undefined> }
  readonly notices: { tell: Tell }
  /** The language of mails to accounts that have chosen none. */
  readonly locale: string
}

export type DeviceService = ReturnType<typeof createDeviceService>

const DAY_MS = 86_400_000

export function createDeviceService(deps: DeviceDeps) {
  const { repository, transaction, outbox, clock, newId } = deps
  return {
    /** The proof that a browser is for which the account has said that its second factor need not be asked. */
    async recognise({ accountId, epoch }: AccountView, { deviceToken }: RequestFacts): Promise<Proof | undefined> {
      const now = clock.now()
      if (deviceToken === undefined) return undefined
      if (!(await repository.isTrusted(accountId, sha256(deviceToken), now))) return undefined
      return { method: 'device', second: true, accountId, at: now.getTime(), epoch }
    },

    /** Whether the owner of the address was signed in in this browser: such a one is let in while strangers are held (A38). */
    isKnown: (email: string, token: string): Promise<boolean> => repository.isKnown(email, sha256(token)),

    /** Remembers the browser for thirty days. False when the account was secured after the second factor was shown. */
    trust: (accountId: string, provenAt: number, request: RequestFacts): Promise<boolean> =>
      transaction(async (tx) => {
        const { deviceToken } = request
        if (deviceToken === undefined) return false
        const at = clock.now()
        const sighting = { accountId, tokenHash: sha256(deviceToken), at, ...wordsOf(request.userAgent) }
        const until = new Date(at.getTime() + TRUST_DAYS * DAY_MS)
        const done = await repository.trust(newId(), sighting, { until, provenAt: new Date(provenAt) }, tx)
        if (done) await outbox.record([{ type: 'device.trusted', accountId, data: { until: until.toISOString() } }], tx)
        return done
      }),

    /** Follows a sign-in: notes the browser, and tells the person of one that the account was not used in before. */
    async seen(accountId: string, tokenHash: string, userAgent: string | undefined, at: Date): Promise<void> {
      const sighting: Sighting = { accountId, tokenHash, at, ...wordsOf(userAgent) }
      if (await repository.see(newId(), sighting)) return
      await transaction(async (tx) => {
        const added = await repository.insert(newId(), sighting, tx)
        // Whoever has just registered knows where.
        if (!added?.hasOthers) return
        const account = await deps.accounts.view(accountId, tx)
        if (account === undefined) return
        await outbox.record([{ type: 'device.added', accountId }], tx)
        await deps.notices.tell('new_device', account, deps, tx, { at, device: nameOf(sighting) })
      })
    },

    /** Within the transaction of whatever secures the account. */
    async distrust(accountId: string, tx: Tx): Promise<void> {
      await repository.distrustAll(accountId, clock.now(), tx)
    },

    list: (accountId: string): Promise<Device[]> => repository.list(accountId),

    /** False when the account has no such browser. */
    forget: (accountId: string, id: string): Promise<boolean> =>
      transaction(async (tx) => {
        const done = await repository.forget(accountId, id, tx)
        if (done) await outbox.record([{ type: 'device.revoked', accountId, data: { id } }], tx)
        return done
      }),

    forgetAll: (accountId: string): Promise<void> =>
      transaction(async (tx) => {
        const count = await repository.forgetAll(accountId, tx)
        // Also a trust that is being given at this moment.
        await repository.distrustAll(accountId, clock.now(), tx)
        await outbox.record([{ type: 'device.revoked', accountId, data: { count } }], tx)
      }),
  }
}

function wordsOf(userAgent: string | undefined): { readonly browser: string; readonly system: string } {
  const { browser, system } = deviceOf(userAgent)
  return { browser: browser.slice(0, 60), system: system.slice(0, 60) }
}
