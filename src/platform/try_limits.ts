/**
 * How often one may guess at one authenticator of one account (A36, R15c). Counted for the account, whatever conversation, tab,
 * address or instance a try comes from, and apart for each method: who has used up one may still use another (A38). A
 * stranger counts nothing here, since a second factor is only asked for after the first was shown.
 */
import type { KeyValue, Limit } from './key_value.ts'

const TRIES = 5
const WINDOW_SECONDS = 600
/** NIST SP 800-63B-4 §3.2.2: so many wrong tries in a row, then a delay that no guessing outlives. */
const MOST_IN_A_ROW = 100
const SLOW_SECONDS = 3600

export interface TryLimits {
  /**
   * Counts a try before it is looked at, so that of many at once only as many are looked at as the limit allows (A34). Returns
   * the seconds to wait when there were too many. `inARow` is how many wrong tries there were since the last right one, as the
   * authenticator's row remembers: it outlives the store of the counters.
   */
  enter(method: string, accountId: string, inARow: number): Promise<number | undefined>
  /** A right try forgets the wrong ones; the caller does the same in the row. */
  passed(method: string, accountId: string): Promise<void>
}

export function createTryLimits(kv: Pick<KeyValue, 'hit' | 'delete'>): TryLimits {
  const ofWindow = (method: string, accountId: string): Limit => ({
    key: `{tries}:${method}:${accountId}`,
    limit: TRIES,
    windowSeconds: WINDOW_SECONDS,
  })
  const ofHour = (method: string, accountId: string): Limit => ({
    key: `{tries}:slow:${method}:${accountId}`,
    limit: 1,
    windowSeconds: SLOW_SECONDS,
  })
  return {
    async enter(method, accountId, inARow) {
      const slow = inARow >= MOST_IN_A_ROW ? [ofHour(method, accountId)] : []
      const { allowed, retryAfter } = await kv.hit([ofWindow(method, accountId), ...slow])
      return allowed ? undefined : retryAfter
    },
    passed: (method, accountId) => kv.delete(ofWindow(method, accountId).key),
  }
}
