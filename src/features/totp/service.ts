/**
 * Codes of an authenticator app (RFC 6238: SHA-1, six digits, 30 seconds, what every app can do). The server's clock decides,
 * one step early or late is forgiven, and no code counts twice (§5.2, A39). A seed becomes the account's only by a code of
 * it; until then it waits, sealed, with the one conversation or session that it was shown in.
 */
import { Secret, TOTP } from 'otpauth'
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { TryLimits } from '../../platform/try_limits.ts'
import type { ChangeFactor, FactorChange, SetFactor } from '../enrolment/types.ts'
import type { Resealer } from '../keys/types.ts'
import type { TotpRepository } from './repository.ts'
import type { Holder, PendingSeed, TotpFactor, TotpFailure } from './types.ts'

export interface TotpDeps {
  readonly repository: TotpRepository
  readonly kv: Pick<KeyValue, 'get' | 'add' | 'take'>
  readonly secretBox: {
    seal(plaintext: string, purpose: string): string
    open(sealed: string, purpose: string): string
  }
  readonly tries: TryLimits
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly changeFactor: ChangeFactor
  readonly setFactor: SetFactor
}

export type TotpService = ReturnType<typeof createTotpService>
export type Checked = { readonly ok: true } | ({ readonly ok: false } & TotpFailure)

export const METHOD = 'totp'
const SEAL = 'totp'
const PENDING_SEAL = 'totp_setup'
const PENDING_SECONDS = 3600
const ALGORITHM = { algorithm: 'SHA1', digits: 6, period: 30 } as const
const WINDOW = 1
/** RFC 4226 §4 R6: 160 bits. */
const SEED_BYTES = 20

/** Where a change is made, and what its page speaks. */
type Change = Pick<FactorChange, 'page' | 'sessionUid'>

export function createTotpService(deps: TotpDeps) {
  return { ...checks(deps), ...setUp(deps), ...removal(deps), reseal: resealer(deps) }
}

interface Checks {
  find(accountId: string): Promise<TotpFactor | undefined>
  verify(accountId: string, typed: string, clientId: string): Promise<Checked>
}

function checks(deps: TotpDeps): Checks {
  const { repository, secretBox, tries, transaction, outbox, clock } = deps
  /** Counted, and stated, in the row that outlives the store of the counters. */
  const reject = async (accountId: string, clientId: string, code: 'totp_invalid' | 'totp_used'): Promise<Checked> => {
    await transaction(async (tx) => {
      await repository.countFailure(accountId, tx)
      await outbox.record([{ type: 'totp.rejected', accountId, clientId }], tx)
    })
    return { ok: false, code }
  }
  return {
    /** The account's app; undefined when it has none. */
    async find(accountId) {
      const found = await repository.find(accountId)
      return found === undefined ? undefined : { confirmedAt: found.confirmedAt, usedAt: found.usedAt }
    },

    /** Whether this is a code of now that was not used yet; it is used up by being right. */
    async verify(accountId, typed, clientId) {
      const found = await repository.find(accountId)
      const retryAfter = await tries.enter(METHOD, accountId, found?.failures ?? 0)
      if (retryAfter !== undefined) return { ok: false, code: 'too_many_requests', retryAfter }
      if (found === undefined) return reject(accountId, clientId, 'totp_invalid')
      const now = clock.now()
      const step = stepOf(secretBox.open(found.sealedSeed, SEAL), typed, now)
      if (step === undefined) return reject(accountId, clientId, 'totp_invalid')
      if (!(await repository.use(found, step, now))) return reject(accountId, clientId, 'totp_used')
      await tries.passed(METHOD, accountId)
      return { ok: true }
    },
  }
}

function setUp(deps: TotpDeps) {
  const { repository, kv, secretBox, tries, transaction, clock, changeFactor } = deps
  const key = ({ id, accountId }: Holder) => `totp_setup:${accountId}:${id}`
  return {
    /** The seed to be scanned: the same as long as the conversation or session goes on with setting up. */
    async pending(holder: Holder, names: { issuer: string; label: string }): Promise<PendingSeed> {
      const fresh = secretBox.seal(new Secret({ size: SEED_BYTES }).base32, PENDING_SEAL)
      const added = await kv.add(key(holder), fresh, PENDING_SECONDS)
      const sealed = added ? fresh : ((await kv.get(key(holder))) ?? fresh)
      const seed = secretBox.open(sealed, PENDING_SEAL)
      const uri = new TOTP({ ...ALGORITHM, ...names, secret: Secret.fromBase32(seed) }).toString()
      return { uri, seed: seed.replace(/.{4}(?=.)/g, '$& ') }
    },

    /** Makes the pending seed the account's by a code of it, which is used up by that. */
    async confirm(holder: Holder, account: AccountView, typed: string, change: Change): Promise<Checked> {
      const retryAfter = await tries.enter(PENDING_SEAL, holder.accountId, 0)
      if (retryAfter !== undefined) return { ok: false, code: 'too_many_requests', retryAfter }
      const waiting = await kv.get(key(holder))
      if (waiting === undefined) return { ok: false, code: 'totp_setup_gone' }
      const now = clock.now()
      const lastStep = stepOf(secretBox.open(waiting, PENDING_SEAL), typed, now)
      if (lastStep === undefined) return { ok: false, code: 'totp_invalid' }
      // Of many at once exactly one takes it.
      const taken = await kv.take(key(holder))
      if (taken !== waiting) return { ok: false, code: 'totp_setup_gone' }
      const sealedSeed = secretBox.seal(secretBox.open(taken, PENDING_SEAL), SEAL)
      const { accountId } = account
      const isNew = (await repository.find(accountId)) === undefined
      const kind = isNew ? ({ change: 'added', notice: 'totp_added' } as const) : UPDATED
      const after = await transaction(async (tx) => {
        const effects = await changeFactor({ account, method: METHOD, ...kind, ...change }, tx)
        await repository.store({ accountId, sealedSeed, lastStep, confirmedAt: now }, tx)
        return effects
      })
      await tries.passed(PENDING_SEAL, accountId)
      if (typeof after === 'function') await after()
      return { ok: true }
    },
  }
}

const UPDATED = { change: 'updated', notice: 'totp_updated' } as const

function removal({ repository, transaction, outbox, changeFactor, setFactor }: TotpDeps) {
  return {
    /** Takes the app off the account; `last_factor` where the account must have a second factor and has no other. */
    async remove(account: AccountView, change: Change): Promise<'removed' | 'absent' | 'last_factor'> {
      const kind = { change: 'removed', notice: 'totp_removed' } as const
      const done = await transaction(async (tx) => {
        const effects = await changeFactor({ account, method: METHOD, ...kind, ...change }, tx)
        if (typeof effects === 'function') await repository.delete(account.accountId, tx)
        return effects
      })
      if (typeof done === 'string') return done
      await done()
      return 'removed'
    },

    /** After the waiting of whoever has lost it: whether one is demanded is asked at the sign-in that goes on. */
    async removeLost(accountId: string, tx: Tx): Promise<void> {
      const factors = await setFactor(accountId, METHOD, false, tx)
      if (factors === undefined) return
      if (await repository.delete(accountId, tx)) {
        await outbox.record([{ type: 'factor.removed', accountId, data: { method: METHOD, reason: 'lost' } }], tx)
      }
    },
  }
}

/** Seals every seed again under the newest secret key. */
function resealer({ repository }: Pick<TotpDeps, 'repository'>): Resealer {
  return async (reseal, tx) => {
    let count = 0
    for (const { accountId, sealedSeed } of await repository.list(tx)) {
      const sealed = reseal(sealedSeed, SEAL)
      if (sealed !== undefined && (await repository.updateSealed(accountId, sealedSeed, sealed, tx))) count++
    }
    return count
  }
}

/** The time step that the code belongs to; undefined when it is none of now. */
function stepOf(seed: string, typed: string, now: Date): number | undefined {
  if (!/^\d{6}$/.test(typed)) return undefined
  const totp = new TOTP({ ...ALGORITHM, secret: Secret.fromBase32(seed) })
  const timestamp = now.getTime()
  const delta = totp.validate({ token: typed, timestamp, window: WINDOW })
  return delta === null ? undefined : totp.counter({ timestamp }) + delta
}
