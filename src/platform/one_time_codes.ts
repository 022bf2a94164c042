/**
 * One-time codes that leave the house by another way (mail, text message). A code is six digits, so everything rests on
 * counting: three tries a code, besides the limits of its room. Counters are atomic in the store and a try is counted before
 * it is looked at. A code proves one receiver, in the conversation that asked, once; its time begins when it is sent.
 */
import type { Hit, KeyValue, Limit } from './key_value.ts'

/** One receiver, asked from one conversation, for one purpose: what a code is bound to (A23, A27). */
export interface OneTimeCodeTarget {
  readonly purpose: string
  /** The conversation (or the session) that asks. */
  readonly cid: string
  /** The receiver in its one form, or a keyed hash of it. */
  readonly to: string
  /**
   * What else must stay as it was until the code is used, for instance the account and the time of its password: a code
   * from before a change is dead after it (A24).
   */
  readonly bound: string
}

/** How a code leaves. */
export interface Dispatch {
  /** Counts the message before anything is made. Throws when there were too many. */
  admit(): Promise<void>
  /** States that the code is to be sent; `sending` is asked with the reference before each attempt. */
  state(code: string, reference: string): Promise<void>
}

export type Checked = 'right' | 'wrong' | 'used_up' | { readonly retryAfter: number }

export interface OneTimeCodesDeps {
  readonly kv: Pick<KeyValue, 'get' | 'set' | 'read' | 'swap' | 'take' | 'delete' | 'hit'>
  readonly clock: { now(): Date }
  readonly newId: () => string
  readonly digits: (count: number) => string
  /** A keyed MAC: six digits under a plain hash would be read from a dump at once (A110). */
  readonly mac: (value: string) => string
  readonly macMatches: (value: string, mac: string) => boolean
}

/** What is kept of a code. `id` names its counters and its sending. */
interface CodeRecord {
  readonly id: string
  readonly to: string
  readonly bound: string
  readonly mac: string
  /** Milliseconds since the epoch. */
  readonly issuedAt: number
}

/** How long a code works, counted from its sending. */
export const CODE_MINUTES = 10
const COOL_DOWN_SECONDS = 30
const DIGITS = 6
const CODE_MS = CODE_MINUTES * 60_000
/** Waiting for a slow server included: the ten minutes begin when the message leaves. */
const RECORD_SECONDS = 3600
const TRIES_PER_CODE = 3

export type OneTimeCodes = ReturnType<typeof createOneTimeCodes>

export function createOneTimeCodes(deps: OneTimeCodesDeps) {
  const { kv, clock } = deps
  const now = () => clock.now().getTime()
  const live = (stored: CodeRecord | undefined, target: OneTimeCodeTarget) =>
    stored?.to === target.to && stored.bound === target.bound

  return {
    /** Sends a code unless one is under way to the same receiver. */
    async ensure(target: OneTimeCodeTarget, dispatch: Dispatch): Promise<void> {
      const stored = await kv.read(key(target))
      if (live(stored && parse(stored.value), target)) return
      await issue(deps, target, dispatch, stored?.version ?? 0)
    },

    /** Sends a new code; the earlier one is dead. Returns the seconds to wait when that would be too soon. */
    async resend(target: OneTimeCodeTarget, dispatch: Dispatch): Promise<number | undefined> {
      const stored = await kv.read(key(target))
      const record = stored && parse(stored.value)
      const wait = live(record, target) ? coolDown(record, now()) : 0
      if (wait > 0) return wait
      return (await issue(deps, target, dispatch, stored?.version ?? 0)) ? undefined : COOL_DOWN_SECONDS
    },

    /** Seconds until `resend` sends again; 0 when it does now. */
    async resendIn(target: Pick<OneTimeCodeTarget, 'purpose' | 'cid'>): Promise<number> {
      const stored = await kv.get(key(target))
      return stored === undefined ? 0 : coolDown(parse(stored), now())
    },

    /**
     * To be awaited before each attempt to send a code: its ten minutes begin now. False when the code was replaced or used
     * meanwhile and the message would only confuse.
     */
    async sending(reference: string): Promise<boolean> {
      const [purpose, cid, id] = JSON.parse(reference) as [string, string, string]
      const stored = await kv.get(key({ purpose, cid }))
      if (stored === undefined || parse(stored).id !== id) return false
      await kv.set(sentKey(id), String(now()), RECORD_SECONDS)
      return true
    },

    /** Whether this is the code. A right one is used up by it; a wrong one counts, also on the limits of the room. */
    check: (target: OneTimeCodeTarget, typed: string, limits: readonly Limit[] = []): Promise<Checked> =>
      check(deps, target, typed, limits),
  }
}

/** True when this request's code is the one under way; false when a parallel request was faster. */
async function issue(
  { kv, clock, newId, digits, mac }: OneTimeCodesDeps,
  target: OneTimeCodeTarget,
  { admit, state }: Dispatch,
  version: number,
): Promise<boolean> {
  await admit()
  const { purpose, cid, to, bound } = target
  const id = newId()
  const code = digits(DIGITS)
  const record: CodeRecord = { id, to, bound, mac: mac(macInput(id, to, code)), issuedAt: clock.now().getTime() }
  if (!(await kv.swap(key(target), version, JSON.stringify(record), RECORD_SECONDS))) return false
  try {
    await state(code, JSON.stringify([purpose, cid, id]))
  } catch (error) {
    // Nothing was stated, so nothing will be sent: the next page asks again.
    await kv.delete(key(target))
    throw error
  }
  return true
}

async function check(
  deps: OneTimeCodesDeps,
  target: OneTimeCodeTarget,
  typed: string,
  limits: readonly Limit[],
): Promise<Checked> {
  const { kv, clock, macMatches } = deps
  if (!/^\d{6}$/.test(typed)) return 'wrong'
  const stored = await kv.get(key(target))
  const record = stored === undefined ? undefined : parse(stored)
  const ofCode = {
    key: `{code_tries}:${record?.id ?? target.cid}`,
    limit: TRIES_PER_CODE,
    windowSeconds: RECORD_SECONDS,
  }
  if (!(await kv.hit([...limits, ofCode])).allowed) return refused(deps, limits)
  if (record === undefined || record.to !== target.to || record.bound !== target.bound) return 'wrong'
  const sentAt = Number((await kv.get(sentKey(record.id))) ?? Number.NaN)
  // Without a note of its sending the code has left this house for nobody.
  if (Number.isNaN(sentAt) || clock.now().getTime() >= sentAt + CODE_MS) return 'wrong'
  if (!macMatches(macInput(record.id, record.to, typed), record.mac)) return 'wrong'
  // Of many at once exactly one takes the record; one that takes a newer code's record has used nothing of its own.
  const taken = await kv.take(key(target))
  return taken !== undefined && parse(taken).id === record.id ? 'right' : 'wrong'
}

/**
 * Why a try was not looked at. Nothing is counted here: else whoever hammers a used-up code would use up the whole day of
 * the receiver, without a single guess and without a message (A38).
 */
async function refused({ kv }: OneTimeCodesDeps, limits: readonly Limit[]): Promise<Checked> {
  const { allowed, retryAfter }: Hit = await kv.hit(limits.map((limit) => ({ ...limit, peek: true })))
  return allowed ? 'used_up' : { retryAfter }
}

function coolDown(record: CodeRecord | undefined, now: number): number {
  const until = (record?.issuedAt ?? 0) + COOL_DOWN_SECONDS * 1000
  return Math.max(0, Math.ceil((until - now) / 1000))
}

function key({ purpose, cid }: Pick<OneTimeCodeTarget, 'purpose' | 'cid'>): string {
  return `code:${purpose}:${cid}`
}

function sentKey(id: string): string {
  return `code_sent:${id}`
}

function macInput(id: string, to: string, code: string): string {
  return `${id}\n${to}\n${code}`
}

function parse(value: string): CodeRecord {
  return JSON.parse(value) as CodeRecord
}
