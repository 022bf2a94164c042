/**
 * Short-lived records and counters: one-time codes, progress of a sign-in, account state, limits. Redis holds them in
 * `key_value_redis.ts`, SQL in `key_value_sql.ts`; `test/contracts/key_value.ts` is the contract of both.
 *
 * Expiry is part of each record and compared with the clock of the process; the store's own expiry only cleans up.
 * Never call it inside an open SQL transaction: on SQL it is a root query. State the fact first, then write here.
 */
import { sha256 } from './ids.ts'

export interface KeyValue {
  /** The value, or undefined when it is absent or expired. */
  get(key: string): Promise<string | undefined>
  /** Writes without looking; a record that was there gets the next version. `ttlSeconds` of 0 or less: gone at once. */
  set(key: string, value: string, ttlSeconds: number): Promise<void>
  /** Writes only when absent or expired (version 1), and says whether it did. Of many at once exactly one does. */
  add(key: string, value: string, ttlSeconds: number): Promise<boolean>
  /** The value with the version that `swap` compares. */
  read(key: string): Promise<Versioned | undefined>
  /**
   * Compare-and-set: writes only if the stored version is `expected` (0: only if absent or expired), and says whether it
   * did. The new version is `expected` + 1. Versions begin again at 1 once a record was deleted or has expired.
   */
  swap(key: string, expected: number, value: string, ttlSeconds: number): Promise<boolean>
  /** Reads and deletes in one step: of many at once exactly one gets the value. */
  take(key: string): Promise<string | undefined>
  delete(key: string): Promise<void>
  /**
   * Counts one hit on every limit that is not a peek, atomically and in one trip; refused when any of them is used up, and
   * then none is counted. Windows are fixed and begin with their first hit. `delete(key)` forgets the hits of one limit.
   * The keys of one call are one slot of a Redis Cluster, for which they share a hash tag (`{sign_in}:…`) that names the
   * family of limits. Throws RangeError when they do not, or when two limits share a key.
   *
   * A requester that has not `proven` to be worth more than one request is refused where a limit is warm, too.
   */
  hit(limits: readonly Limit[], proven?: boolean): Promise<Hit>
  /**
   * Takes one counted hit back from each of these limits, in windows that go on: of a try that turned out to be none. The keys
   * are one slot, as those of `hit`.
   */
  giveBack(keys: readonly string[]): Promise<void>
  /** Deletes at most `atMost` records expired at `now`; returns how many. Redis does it by itself (0). */
  purge(now: Date, atMost: number): Promise<number>
}

export interface Versioned {
  readonly value: string
  readonly version: number
}

export interface Limit {
  readonly key: string
  /** Hits allowed in a window; 0 refuses all. */
  readonly limit: number
  /** From so many hits in the window on, the limit is warm; never, when left out. */
  readonly warmAt?: number | undefined
  /** Looked at like the others but never counted on. */
  readonly peek?: boolean | undefined
  readonly windowSeconds: number
}

export interface Hit {
  readonly allowed: boolean
  /** Whole seconds until all used-up limits have a new window (at least 1); 0 when none is used up. */
  readonly retryAfter: number
  /** The key of the limit that refuses longest; absent when allowed, and when only warmth refuses. */
  readonly by?: string | undefined
  /** Whether a limit was warm already (refused for want of a proof), or is so after this hit. */
  readonly warm: boolean
}

/** What a store finds about limits: how long the used-up ones last, which of them lasts longest, and whether one is warm. */
export interface Counted {
  /** Milliseconds; undefined when none is used up. */
  readonly waitMs: number | undefined
  /** Its place in the list. */
  readonly longest: number
  readonly counted: boolean
  readonly warm: boolean
}

/** Where a limit is never used up or never warm. */
export const NEVER = 2_147_483_647

const PLAIN_KEY = /^[\x21-\x7e]{1,256}$/

/**
 * The key as it is stored: itself when short and printable, else a hash. What a requester typed may be part of a key,
 * and must neither be refused by one store only (SQL text holds no NUL) nor grow the index without bound. A hash keeps the
 * tag: its key stays in the slot of its family.
 */
export function storedKey(key: string): string {
  if (PLAIN_KEY.test(key)) return key
  const tag = hashTagOf(key)
  return tag !== key && PLAIN_KEY.test(tag) ? `{${tag}}sha256:${sha256(key)}` : `sha256:${sha256(key)}`
}

/** The part of a key that a Redis Cluster derives its slot from: between the first `{` and the next `}`, else all of it. */
export function hashTagOf(key: string): string {
  return /^[^{]*\{([^}]+)\}/s.exec(key)?.[1] ?? key
}

/** When a record written now expires. Throws RangeError for a lifetime that is no finite number. */
export function expiryOf(now: Date, ttlSeconds: number): Date {
  if (!Number.isFinite(ttlSeconds)) throw new RangeError('ttlSeconds: a finite number')
  return new Date(now.getTime() + Math.ceil(ttlSeconds * 1000))
}

/** A limit with the key it is stored under. */
export interface StoredLimit extends Limit {
  readonly stored: string
}

/** The limits with stored keys, in their order (equal lock order on all instances: no deadlock). */
export function storedLimits(limits: readonly Limit[]): StoredLimit[] {
  const list = limits.map((limit) => ({ ...limit, stored: storedKey(limit.key) }))
  if (new Set(list.map(({ stored }) => stored)).size < list.length) throw new RangeError('hit: two limits share a key')
  if (new Set(list.map(({ stored }) => hashTagOf(stored))).size > 1)
    throw new RangeError('hit: the limits share no hash tag')
  return list.sort((a, b) => (a.stored < b.stored ? -1 : 1))
}

/** The answer for what a store has found about the limits, in the order in which it was given them. */
export function hitResult(limits: readonly Limit[], { waitMs, longest, counted, warm }: Counted): Hit {
  if (waitMs !== undefined) {
    return { allowed: false, retryAfter: Math.max(1, Math.ceil(waitMs / 1000)), by: limits[longest]?.key, warm: false }
  }
  return { allowed: counted, retryAfter: 0, warm }
}

/** Without limits nothing refuses. */
export const UNLIMITED: Hit = { allowed: true, retryAfter: 0, warm: false }
