/**
 * Rows kept in the process: short-lived, bounded, dropped when the invalidation channel says so. A row that has not
 * changed keeps its object, because engines cache derived things (imported keys, hashes) by object.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Invalidation } from './invalidation.ts'

const LIFE_MS = 30_000
/** Without a channel a change must act within a second; what is read at the last moment still has to be used in it. */
const UNHEARD_LIFE_MS = 900
const AWAY_LIFE_MS = 300_000
/** For so long a row that is there to serve waits for its newer self; a store that hangs is not asked anew by each request. */
const PATIENCE_MS = 250
const ASK_AGAIN_MS = 1000
const ROWS = 10_000
const ABSENT_KEYS = 1000

export interface RowCache<Row> {
  /** The row, from the cache while fresh. Concurrent misses of one key share one read. */
  get(key: string): Promise<Row | undefined>
  /** Drops one entry, or all. */
  forget(key?: string): void
  size(): number
}

export interface RowCacheDeps<Row> {
  readonly load: (key: string) => Promise<Row | undefined>
  /** Equal rows share one text; used to keep the object of an unchanged row. */
  readonly fingerprint: (row: Row) => string
  readonly invalidation: Pick<Invalidation, 'subscribe' | 'healthy' | 'ask'>
  readonly topic: string
  /** Rows kept at the most. Absent keys have a bound of their own: asking for unknown ones cannot push known ones out. */
  readonly atMost?: number
  /** Milliseconds of a clock that never goes back. */
  readonly monotonic?: () => number
  /**
   * Whether a failed read says that the store is away. Then what is kept serves on for some minutes, for as long as the channel says
   * that it has not changed: nothing that somebody took back.
   */
  readonly away?: (error: unknown) => boolean
}

interface Entry<Row> {
  readonly row: Row
  readonly fingerprint: string
  readAt: number
}

/** Creates an empty cache. A failed read is not kept: the error goes to the caller. */
export function createRowCache<Row>(deps: RowCacheDeps<Row>): RowCache<Row> {
  const monotonic = deps.monotonic ?? (() => performance.now())
  const atMost = deps.atMost ?? ROWS
  const present = new Map<string, Entry<Row>>()
  const absent = new Map<string, number>()
  const reads = new Map<string, Promise<Row | undefined>>()

  const fresh = (readAt: number) => monotonic() - readAt < (deps.invalidation.healthy() ? LIFE_MS : UNHEARD_LIFE_MS)

  /** Whether only the silence of the channel speaks against what is kept: a busy process would else read every row anew. */
  const doubted = (key: string) => {
    const readAt = present.get(key)?.readAt ?? absent.get(key)
    return readAt !== undefined && !fresh(readAt) && monotonic() - readAt < LIFE_MS
  }

  const keep = (key: string, row: Row | undefined, readAt: number): Row | undefined => {
    const known = present.get(key)
    present.delete(key)
    absent.delete(key)
    if (row === undefined) {
      put(absent, key, readAt, ABSENT_KEYS)
      return undefined
    }
    const fingerprint = deps.fingerprint(row)
    const entry = known?.fingerprint === fingerprint ? known : { row, fingerprint, readAt }
    entry.readAt = readAt
    put(present, key, entry, atMost)
    return entry.row
  }

  const read = async (key: string): Promise<Row | undefined> => {
    const readAt = monotonic()
    const promise = deps.load(key)
    reads.set(key, promise)
    try {
      const row = await promise
      // An invalidation that came during the read has removed this promise: the row may be old already, so it is not kept.
      return reads.get(key) === promise ? keep(key, row, readAt) : row
    } finally {
      if (reads.get(key) === promise) reads.delete(key)
    }
  }

  const readOrKept = createKept(deps, { present, monotonic, fetch: (key) => reads.get(key) ?? read(key) })

  const forget = (key?: string) => {
    if (key === undefined) {
      reads.clear()
      absent.clear()
      for (const entry of present.values()) entry.readAt = Number.NEGATIVE_INFINITY
      return
    }
    reads.delete(key)
    absent.delete(key)
    const entry = present.get(key)
    if (entry !== undefined) entry.readAt = Number.NEGATIVE_INFINITY
  }

  deps.invalidation.subscribe(deps.topic, forget)

  return {
    get: async (key) => {
      if (doubted(key)) await deps.invalidation.ask()
      const entry = present.get(key)
      if (entry !== undefined && fresh(entry.readAt)) {
        // Who was used last matters when some must go, and to note it costs more than the look.
        if (present.size > atMost / 2) put(present, key, entry, atMost)
        return entry.row
      }
      const missedAt = absent.get(key)
      if (missedAt !== undefined && fresh(missedAt)) return undefined
      return readOrKept(key)
    },
    forget,
    size: () => present.size + absent.size,
  }
}

interface Kept<Row> {
  readonly present: ReadonlyMap<string, Entry<Row>>
  readonly monotonic: () => number
  /** Reads the row, or joins who does. */
  readonly fetch: (key: string) => Promise<Row | undefined>
}

/** Reads what is no longer fresh, and serves what was there before while the store is away. */
function createKept<Row>(deps: RowCacheDeps<Row>, { present, monotonic, fetch }: Kept<Row>) {
  let askAgainAt = Number.NEGATIVE_INFINITY
  const serves = (entry: Entry<Row> | undefined): entry is Entry<Row> =>
    entry !== undefined && deps.invalidation.healthy() && monotonic() - entry.readAt < AWAY_LIFE_MS

  return async (key: string): Promise<Row | undefined> => {
    const { away } = deps
    const before = present.get(key)
    if (away === undefined || !serves(before)) return fetch(key)
    if (monotonic() < askAgainAt) return before.row
    const reading = fetch(key).then(
      (row) => ({ row }),
      (error: unknown) => {
        if (!away(error)) throw error
      },
    )
    const timer = new AbortController()
    const late = sleep(PATIENCE_MS, undefined, { signal: timer.signal }).catch(() => {})
    const answer = await Promise.race([reading, late])
    timer.abort()
    if (answer !== undefined) return answer.row
    askAgainAt = monotonic() + ASK_AGAIN_MS
    reading.catch(() => {})
    // Looked up anew: it may have been taken back in the meantime.
    const entry = present.get(key)
    return serves(entry) ? entry.row : fetch(key)
  }
}

function put<Value>(map: Map<string, Value>, key: string, value: Value, atMost: number): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > atMost) {
    const oldest = map.keys().next().value
    if (oldest !== undefined) map.delete(oldest)
  }
}
