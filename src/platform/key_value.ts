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
   */
  hit(limits: readonly Limit[]): Promise<Hit>
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
  /** Looked at like the others but never counted on. */
  readonly peek?: boolean | undefined
  readonly windowSeconds: number
}

export interface Hit {
  readonly allowed: boolean
  /** Whole seconds until all refusing limits have a new window (at least 1); 0 when allowed. */
  readonly retryAfter: number
}

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

/** The limits with stored keys, in key order (equal lock order on all instances: no deadlock). */
export function storedLimits(limits: readonly Limit[]): Limit[] {
  const stored = limits.map((limit) => ({ ...limit, key: storedKey(limit.key) }))
  if (new Set(stored.map(({ key }) => key)).size < stored.length) throw new RangeError('hit: two limits share a key')
  if (new Set(stored.map(({ key }) => hashTagOf(key))).size > 1)
    throw new RangeError('hit: the limits share no hash tag')
  return stored.sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** The answer for the longest wait among the limits that refuse, in milliseconds; undefined when none does. */
export function hitResult(waitMs: number | undefined): Hit {
  if (waitMs === undefined) return { allowed: true, retryAfter: 0 }
  return { allowed: false, retryAfter: Math.max(1, Math.ceil(waitMs / 1000)) }
}
