/**
 * Codes by text message, as a second factor. A number becomes the account's only by a code that was sent to it; until then
 * it waits, sealed, with the one conversation or session that it was typed in. Tries are counted for the code (three) and
 * for the account, whatever conversation they come from (A36); what a message costs is counted by text_messages.
 *
 * A text message is the weakest second factor there is (numbers are moved, messages read on the way): its proof says `sms`
 * in `amr`, so that a client can refuse it.
 */
import { AppError } from '../../errors.ts'
import type { Fact } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import type { KeyValue } from '../../platform/key_value.ts'
import {
  type Checked,
  createOneTimeCodes,
  type Dispatch,
  type OneTimeCodes,
  type OneTimeCodesDeps,
} from '../../platform/one_time_codes.ts'
import { maskedNumber } from '../../platform/phone_numbers.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { TryLimits } from '../../platform/try_limits.ts'
import type { ChangeFactor, FactorChange, SetFactor } from '../enrolment/types.ts'
import type { Resealer } from '../keys/types.ts'
import type { Cause, CodeMessage, ReadPhone } from '../text_messages/types.ts'
import type { PhoneRecord, PhoneRepository } from './repository.ts'
import type { Asker, Done, Holder, PhoneFactor } from './types.ts'

export interface SmsCodeDeps extends OneTimeCodesDeps {
  readonly kv: OneTimeCodesDeps['kv'] & Pick<KeyValue, 'get' | 'set' | 'take' | 'delete'>
  readonly repository: PhoneRepository
  readonly secretBox: {
    seal(plaintext: string, purpose: string): string
    open(sealed: string, purpose: string): string
  }
  readonly texts: {
    read(typed: string): Promise<ReadPhone>
    admit(number: string, cause: Cause): Promise<void>
    request(message: CodeMessage): Promise<void>
    used(number: string): Promise<void>
  }
  readonly tries: TryLimits
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly changeFactor: ChangeFactor
  readonly setFactor: SetFactor
}

export type SmsCodeService = ReturnType<typeof createSmsCodeService>

export const METHOD = 'sms_code'
const SEAL = 'phone'
const PENDING_SEAL = 'sms_setup'
const PENDING_SECONDS = 3600
/** A family or a club may share a phone; a farm of accounts may not. */
const ACCOUNTS_OF_ONE_NUMBER = 5

/** Where a change is made, and what its page speaks. */
type Change = Pick<FactorChange, 'page' | 'sessionUid'>

interface Parts extends SmsCodeDeps {
  readonly codes: OneTimeCodes
}

export function createSmsCodeService(deps: SmsCodeDeps) {
  const codes = createOneTimeCodes(deps)
  const parts = { ...deps, codes }
  return {
    ...signIn(parts),
    ...proposals(parts),
    ...removal(deps),
    reseal: resealer(deps),
    /** To be awaited before each attempt to send a code; false when it is not wanted any more. */
    sending: codes.sending,
  }
}

interface SignIn {
  find(accountId: string): Promise<PhoneFactor | undefined>
  provenNumber(accountId: string): Promise<string | undefined>
  show(holder: Holder, asker: Asker): Promise<{ masked: string; resendIn?: number; failed?: Failed }>
  resend(holder: Holder, asker: Asker): Promise<Done>
  verify(holder: Holder, typed: string, clientId: string): Promise<Done>
}

function signIn(parts: Parts): SignIn {
  const { repository, secretBox, codes, texts, tries, transaction, outbox, clock } = parts
  const number = ({ sealedNumber }: PhoneRecord) => secretBox.open(sealedNumber, SEAL)
  /** Of the account's row and the conversation's own id only: nothing that a form says names a phone (A23, A25). */
  const targetOf = ({ id, accountId }: Holder, phone: PhoneRecord) => ({
    ...{ purpose: METHOD, cid: id, to: phone.numberHash },
    bound: `${accountId}\n${phone.confirmedAt.getTime()}`,
  })
  /** Counted, and stated, in the row that outlives the store of the counters. */
  const reject = (accountId: string, clientId: string) =>
    transaction(async (tx) => {
      await repository.countFailure(accountId, tx)
      await outbox.record([{ type: 'sms_code.rejected', accountId, clientId }], tx)
    })
  return {
    /** The account's phone; undefined when it has none. */
    async find(accountId) {
      const found = await repository.find(accountId)
      if (found === undefined) return undefined
      return { masked: maskedNumber(number(found)), confirmedAt: found.confirmedAt, usedAt: found.usedAt }
    },

    /** The number that the account has proven. */
    async provenNumber(accountId) {
      const found = await repository.find(accountId)
      return found && number(found)
    },

    /** Sends a code to the account's phone, unless one is under way: the page's first look. */
    async show(holder, asker) {
      const phone = await repository.find(holder.accountId)
      if (phone === undefined) return { masked: '' }
      const target = targetOf(holder, phone)
      const masked = maskedNumber(number(phone))
      const dispatch = dispatchOf(parts, holder.accountId, number(phone), asker)
      const failed = await refusal(() => codes.ensure(target, dispatch))
      return failed === undefined ? { masked, resendIn: await codes.resendIn(target) } : { masked, failed }
    },

    async resend(holder, asker) {
      const phone = await repository.find(holder.accountId)
      if (phone === undefined) return WRONG
      const dispatch = dispatchOf(parts, holder.accountId, number(phone), asker)
      return sendAgain(() => codes.resend(targetOf(holder, phone), dispatch))
    },

    /** Whether this is the code that was sent; it is used up by being right. */
    async verify(holder, typed, clientId) {
      const { accountId } = holder
      const phone = await repository.find(accountId)
      const retryAfter = await tries.enter(METHOD, accountId, phone?.failures ?? 0)
      if (retryAfter !== undefined) return { ok: false, code: 'too_many_requests', retryAfter }
      const checked = phone === undefined ? 'wrong' : await codes.check(targetOf(holder, phone), typed)
      const isRight = checked === 'right' && phone !== undefined && (await repository.use(phone, clock.now()))
      if (!isRight) {
        await reject(accountId, clientId)
        return failure(checked)
      }
      await tries.passed(METHOD, accountId)
      await texts.used(number(phone))
      return { ok: true }
    },
  }
}

interface Proposals {
  pending(holder: Holder): Promise<{ number: string; resendIn: number } | undefined>
  propose(holder: Holder, typed: string, asker: Asker): Promise<Done>
  forget(holder: Holder): Promise<void>
  resendPending(holder: Holder, asker: Asker): Promise<Done>
  confirm(holder: Holder, account: AccountView, typed: string, change: Change): Promise<Done>
}

function proposals(parts: Parts): Proposals {
  const { repository, kv, secretBox, codes, texts, tries, mac, transaction, clock, changeFactor } = parts
  const key = ({ id, accountId }: Holder) => `sms_setup:${accountId}:${id}`
  const targetOf = ({ id, accountId }: Holder, number: string) => ({
    ...{ purpose: PENDING_SEAL, cid: id, to: mac(number), bound: accountId },
  })
  async function pendingNumber(holder: Holder): Promise<string | undefined> {
    const waiting = await kv.get(key(holder))
    return waiting === undefined ? undefined : secretBox.open(waiting, PENDING_SEAL)
  }
  return {
    /** The number that waits for its code, and when another code may be asked for. */
    async pending(holder) {
      const number = await pendingNumber(holder)
      return number === undefined ? undefined : { number, resendIn: await codes.resendIn(targetOf(holder, number)) }
    },

    /** Keeps a typed number, and sends it its code. */
    async propose(holder, typed, asker) {
      const phone = await texts.read(typed)
      if ('code' in phone) return { ok: false, code: phone.code }
      const dispatch = dispatchOf(parts, holder.accountId, phone.number, asker)
      const failed = await refusal(() => codes.ensure(targetOf(holder, phone.number), dispatch))
      if (failed !== undefined) return { ok: false, ...failed }
      await kv.set(key(holder), secretBox.seal(phone.number, PENDING_SEAL), PENDING_SECONDS)
      return { ok: true }
    },

    /** Forgets the number: it was typed wrong. */
    forget: (holder) => kv.delete(key(holder)),

    async resendPending(holder, asker) {
      const number = await pendingNumber(holder)
      if (number === undefined) return GONE
      const dispatch = dispatchOf(parts, holder.accountId, number, asker)
      return sendAgain(() => codes.resend(targetOf(holder, number), dispatch))
    },

    /** Makes the pending number the account's by the code that was sent to it. */
    async confirm(holder, account, typed, change) {
      const { accountId } = account
      const retryAfter = await tries.enter(PENDING_SEAL, accountId, 0)
      if (retryAfter !== undefined) return { ok: false, code: 'too_many_requests', retryAfter }
      const number = await pendingNumber(holder)
      if (number === undefined) return GONE
      // Of many at once exactly one takes the code.
      const checked = await codes.check(targetOf(holder, number), typed)
      if (checked !== 'right') return failure(checked)
      await kv.delete(key(holder))
      await texts.used(number)
      const kind = (await repository.find(accountId)) === undefined ? ADDED : UPDATED
      const row = {
        ...{ accountId, confirmedAt: clock.now() },
        ...{ sealedNumber: secretBox.seal(number, SEAL), numberHash: mac(number) },
      }
      const after = await transaction(async (tx) => {
        if ((await repository.countOthers(row.numberHash, accountId, tx)) >= ACCOUNTS_OF_ONE_NUMBER) return undefined
        const effects = await changeFactor({ account, method: METHOD, ...kind, ...change }, tx)
        await repository.store(row, tx)
        return effects
      })
      if (after === undefined) return { ok: false, code: 'phone_in_use' }
      await tries.passed(PENDING_SEAL, accountId)
      if (typeof after === 'function') await after()
      return { ok: true }
    },
  }
}

const ADDED = { change: 'added', notice: 'phone_added' } as const
const UPDATED = { change: 'updated', notice: 'phone_updated' } as const
const WRONG: Done = { ok: false, code: 'sms_code_invalid' }
const GONE: Done = { ok: false, code: 'sms_setup_gone' }

function removal({ repository, transaction, outbox, changeFactor, setFactor }: SmsCodeDeps) {
  return {
    /** Takes the phone off the account; `last_factor` where the account must have a second factor and has no other. */
    async remove(account: AccountView, change: Change): Promise<'removed' | 'absent' | 'last_factor'> {
      const kind = { change: 'removed', notice: 'phone_removed' } as const
      const done = await transaction(async (tx) => {
        const effects = await changeFactor({ account, method: METHOD, ...kind, ...change }, tx)
        if (typeof effects === 'function') await repository.delete(account.accountId, tx)
        return effects
      })
      if (typeof done === 'string') return done
      await done()
      return 'removed'
    },

    /** Takes the phone of an account whose owner has lost it and has waited long enough; telling them is the caller's. */
    async removeLost(accountId: string, tx: Tx): Promise<void> {
      if ((await repository.find(accountId, tx)) === undefined) return
      await setFactor(accountId, METHOD, false, tx)
      await repository.delete(accountId, tx)
      await outbox.record([{ type: 'factor.removed', accountId, data: { method: METHOD, reason: 'lost' } }], tx)
    },
  }
}

/** Seals every number again under the newest secret key, and hashes it under it. */
function resealer({ repository, secretBox, mac }: SmsCodeDeps): Resealer {
  return async (reseal, tx) => {
    let count = 0
    for (const phone of await repository.list(tx)) {
      const sealedNumber = reseal(phone.sealedNumber, SEAL)
      if (sealedNumber === undefined) continue
      const numberHash = mac(secretBox.open(sealedNumber, SEAL))
      if (await repository.updateSealed(phone, { sealedNumber, numberHash }, tx)) count++
    }
    return count
  }
}

function dispatchOf({ texts }: SmsCodeDeps, accountId: string, number: string, asker: Asker): Dispatch {
  const { ip, locale, brand } = asker
  return {
    admit: () => texts.admit(number, { accountId, ip }),
    state: (code, reference) => texts.request({ accountId, to: number, code, locale, brand, reference }),
  }
}

type Failed = { readonly code: 'too_many_requests' | 'sms_unavailable'; readonly retryAfter: number }

/** Why no message may be sent now: said on the page, where an earlier code may still be typed and another way taken. */
async function refusal(work: () => Promise<unknown>): Promise<Failed | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    const { code, retryAfter = 1 } = error instanceof AppError ? (error as AppError<string>) : { code: '' }
    if (code === 'too_many_requests' || code === 'sms_unavailable') return { code, retryAfter }
    throw error
  }
}

async function sendAgain(work: () => Promise<number | undefined>): Promise<Done> {
  let wait: number | undefined
  const failed = await refusal(async () => {
    wait = await work()
  })
  if (failed !== undefined) return { ok: false, ...failed }
  return wait === undefined ? { ok: true } : { ok: false, code: 'sms_resend_too_soon', retryAfter: wait }
}

function failure(checked: Checked): Extract<Done, { ok: false }> {
  if (typeof checked === 'object') return { ok: false, code: 'too_many_requests', retryAfter: checked.retryAfter }
  return { ok: false, code: checked === 'used_up' ? 'code_used_up' : 'sms_code_invalid' }
}
