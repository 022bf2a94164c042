/**
 * A breaker before somebody else's server: after failures in a row nobody waits for it any more, then one request asks
 * whether it is back.
 */
import type { Clock } from './clock.ts'

export interface Breaker {
  /** Does the work, or throws `refusal()` at once while the other side is known to be down. */
  run<T>(work: () => Promise<T>): Promise<T>
  /** Throws `refusal()` while nobody may ask, for those who would send a person there without a request of their own. */
  check(): void
}

interface Options {
  readonly clock: Clock
  /** Whether an error says that the other side is down; what it answered otherwise, it answered. */
  readonly counts: (error: unknown) => boolean
  readonly refusal: () => Error
  readonly failures?: number
  readonly pauseMs?: number
}

const FAILURES = 5
const PAUSE_MS = 10_000

export function createBreaker({ clock, counts, refusal, failures = FAILURES, pauseMs = PAUSE_MS }: Options): Breaker {
  let inARow = 0
  /** When the last failure was, while there are enough of them. */
  let brokenAt: number | undefined
  let probing = false

  const check = (): void => {
    if (brokenAt === undefined) return
    if (probing || clock.now().getTime() - brokenAt < pauseMs) throw refusal()
  }
  return {
    check,
    async run(work) {
      check()
      const probe = brokenAt !== undefined
      if (probe) probing = true
      try {
        const result = await work()
        inARow = 0
        brokenAt = undefined
        return result
      } catch (error) {
        if (counts(error)) {
          inARow += 1
          if (inARow >= failures) brokenAt = clock.now().getTime()
        } else {
          inARow = 0
          brokenAt = undefined
        }
        throw error
      } finally {
        if (probe) probing = false
      }
    },
  }
}
