/** What the parts of the key/value contract share: the bench, a model (a map and a loop), and random walks over both. */
import fc from 'fast-check'
import type { Clock } from '../../src/platform/clock.ts'
import type { KeyValue, Limit } from '../../src/platform/key_value.ts'

/** The store under test, a key that no other test uses, and the time that the store sees. */
export interface Bench extends Clock {
  kv: KeyValue
  key: string
  later(seconds: number): void
}

/** Runs `count` of them at once. */
export function many<T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => work(i)))
}

/** What a store has to answer, written as plainly as possible. */
export function createModelKeyValue(clock: Clock): KeyValue {
  const records = new Map<string, { value: string; version: number; expiry: number }>()
  const now = () => clock.now().getTime()
  const live = (key: string) => {
    const record = records.get(key)
    return record !== undefined && record.expiry > now() ? record : undefined
  }
  const put = (key: string, value: string, expiry: number) => {
    records.set(key, { value, version: (live(key)?.version ?? 0) + 1, expiry })
  }
  const swap: KeyValue['swap'] = async (key, expected, value, ttlSeconds) => {
    if ((live(key)?.version ?? 0) !== expected) return false
    put(key, value, now() + ttlSeconds * 1000)
    return true
  }
  return {
    swap,
    get: async (key) => live(key)?.value,
    async read(key) {
      const record = live(key)
      return record && { value: record.value, version: record.version }
    },
    set: async (key, value, ttlSeconds) => put(key, value, now() + ttlSeconds * 1000),
    add: (key, value, ttlSeconds) => swap(key, 0, value, ttlSeconds),
    async take(key) {
      const value = live(key)?.value
      records.delete(key)
      return value
    },
    async delete(key) {
      records.delete(key)
    },
    async hit(limits, proven = true) {
      const ordered = [...limits].sort((a, b) => (a.key < b.key ? -1 : 1))
      const count = (key: string) => Number(live(key)?.value ?? 0)
      const end = ({ key, windowSeconds }: Limit) => live(key)?.expiry ?? now() + windowSeconds * 1000
      const warm = () => limits.some(({ key, warmAt = Number.POSITIVE_INFINITY }) => count(key) >= warmAt)
      const full = ordered.filter(({ key, limit }) => count(key) >= limit)
      if (full.length > 0) {
        const last = Math.max(...full.map(end))
        const retryAfter = Math.max(1, Math.ceil((last - now()) / 1000))
        return { allowed: false, retryAfter, by: full.find((limit) => end(limit) === last)?.key, warm: false }
      }
      if (!proven && warm()) return { allowed: false, retryAfter: 0, warm: true }
      for (const limit of limits.filter(({ peek }) => !peek)) {
        put(limit.key, String(count(limit.key) + 1), end(limit))
      }
      return { allowed: true, retryAfter: 0, warm: warm() }
    },
    async giveBack(keys) {
      for (const key of keys) {
        const record = live(key)
        if (record !== undefined && Number(record.value) > 0) put(key, String(Number(record.value) - 1), record.expiry)
      }
    },
    purge: async () => 0,
  }
}

const key = fc.constantFrom('a', 'b', 'c')
const seconds = fc.constantFrom(1, 5, 60)

/** Acts on three keys, of which many expire on the way. */
export const walk = fc.array(
  fc.oneof(
    fc.record({ act: fc.constantFrom('set' as const, 'add' as const), key, seconds }),
    fc.record({ act: fc.constantFrom('get' as const, 'read' as const, 'take' as const, 'delete' as const), key }),
    fc.record({ act: fc.constant('swap' as const), key, seconds, expected: fc.nat(3) }),
    fc.record({
      act: fc.constant('hit' as const),
      keys: fc.uniqueArray(key, { minLength: 1 }),
      peeked: fc.subarray(['a', 'b', 'c']),
      warmAt: fc.nat(3),
      proven: fc.boolean(),
      seconds,
      limit: fc.nat(3),
    }),
    fc.record({ act: fc.constant('wait' as const), seconds: fc.constantFrom(0.001, 1, 4.999, 60) }),
  ),
  { minLength: 20, maxLength: 40 },
)

type Act = typeof walk extends fc.Arbitrary<(infer One)[]> ? One : never

/** Performs one act on a store; the value written tells which act it was. */
export async function perform(store: KeyValue, prefix: string, at: number, act: Act): Promise<unknown> {
  switch (act.act) {
    case 'wait':
      return undefined
    case 'swap':
      return store.swap(prefix + act.key, act.expected, String(at), act.seconds)
    case 'set':
    case 'add':
      return store[act.act](prefix + act.key, String(at), act.seconds)
    case 'hit':
      return store.hit(
        act.keys.map((one) => ({
          ...{ key: `{${prefix}hits}:${one}`, limit: act.limit, windowSeconds: act.seconds },
          ...{ peek: act.peeked.includes(one), warmAt: act.warmAt },
        })),
        act.proven,
      )
    default:
      return store[act.act](prefix + act.key)
  }
}
