/**
 * Limits while the store is away: each process counts by itself, so each allows a quarter of what all of them share, and
 * there is no moment without a limit. Everything else of the store keeps failing, which is a 503 to whoever needs it.
 */
import type { Clock } from './clock.ts'
import { hitResult, type KeyValue, type Limit, UNLIMITED } from './key_value.ts'

const SHARE = 4
/** Counters at once. Beyond it everybody is refused until windows end: memory must not follow who asks. */
const MOST = 20_000

/** The store, with limits of its own for when `unavailable` says of an error of `hit` that the store is away. */
export function withLocalLimits(kv: KeyValue, clock: Clock, unavailable: (error: unknown) => boolean): KeyValue {
  const counters = new Map<string, { count: number; until: number }>()
  const live = (key: string, now: number) => {
    const counter = counters.get(key)
    return counter !== undefined && counter.until > now ? counter : undefined
  }

  /** Nobody is asked for a proof: whether one was used before is known to the store only. */
  function hitHere(limits: readonly Limit[]) {
    const now = clock.now().getTime()
    const full = limits.flatMap((limit, place) => {
      const counter = live(limit.key, now)
      const isFull = (counter?.count ?? 0) >= allowedHere(limit)
      return isFull ? [{ place, waitMs: (counter?.until ?? now + limit.windowSeconds * 1000) - now }] : []
    })
    const [longest] = full.sort((a, b) => b.waitMs - a.waitMs)
    if (longest !== undefined)
      return hitResult(limits, { waitMs: longest.waitMs, longest: longest.place, counted: false, warm: false })
    const counted = limits.filter(({ peek }) => !peek)
    if (!hasRoom(counted.length, now))
      return hitResult(limits, { waitMs: 1000, longest: 0, counted: false, warm: false })
    for (const { key, windowSeconds } of counted) {
      const counter = live(key, now) ?? { count: 0, until: now + windowSeconds * 1000 }
      counters.set(key, { ...counter, count: counter.count + 1 })
    }
    return UNLIMITED
  }

  function hasRoom(more: number, now: number): boolean {
    if (counters.size + more <= MOST) return true
    for (const [key, { until }] of counters) if (until <= now) counters.delete(key)
    return counters.size + more <= MOST
  }

  return {
    ...kv,
    async hit(limits, proven) {
      try {
        return await kv.hit(limits, proven)
      } catch (error) {
        if (!unavailable(error)) throw error
        return hitHere(limits)
      }
    },
    async giveBack(keys) {
      try {
        await kv.giveBack(keys)
      } catch (error) {
        if (!unavailable(error)) throw error
        for (const key of keys) {
          const counter = counters.get(key)
          if (counter !== undefined && counter.count > 0) counters.set(key, { ...counter, count: counter.count - 1 })
        }
      }
    },
    async delete(key) {
      counters.delete(key)
      await kv.delete(key)
    },
  }
}

/** A limit that only ever gets warm is a limit here: there is no proof to ask for. */
function allowedHere({ limit, warmAt }: Limit): number {
  return limit === 0 ? 0 : Math.max(1, Math.ceil(Math.min(limit, warmAt ?? limit) / SHARE))
}
