/**
 * Ends that Redis did not take: it answers, but writes nothing (too few replicas, a replica, a disk that fails). SQL has them, and
 * so they hold, for as long as everybody asks SQL about what Redis says. The keys are kept in SQL until they are deleted, or
 * Redis would later say that what was ended is there.
 */
import { Cluster } from 'ioredis'
import type { Clock } from './clock.ts'
import type { Invalidation } from './invalidation.ts'
import type { Database } from './postgres.ts'
import {
  type Healer,
  healRefusals,
  isRefusal,
  type RedisClient,
  refusedAWrite,
  refusesWrites,
  tookAWrite,
} from './redis.ts'

export interface UntakenEnds {
  /** Keeps keys whose records have ended. From now on every instance doubts what Redis says. */
  keep(keys: readonly string[]): Promise<void>
  /** Deletes what is kept, if Redis takes writes again; to be called every few seconds. Rejects when a store is away. */
  apply(): Promise<void>
}

interface UntakenEndsDeps {
  readonly database: Pick<Database, 'db'>
  readonly redis: RedisClient
  readonly invalidation: Pick<Invalidation, 'publish' | 'subscribe'>
  readonly clock: Clock
}

const TOPIC = 'redis_refuses'
const AT_MOST = 500
const TRY_AGAIN_MS = 500
const NOT_SOONER_MS = 20
/** Nobody's: deleting it is a write all the same. */
const NO_KEY = 'genkan:none'

export function createUntakenEnds({ database, redis, invalidation, clock }: UntakenEndsDeps): UntakenEnds {
  invalidation.subscribe(TOPIC, (key) => {
    if (key !== undefined) refusedAWrite(redis)
  })

  async function kept(): Promise<string[]> {
    const { rows } = await database.db.raw<{ rows: { key: string }[] }>(
      'select key from untaken_ends order by ended_at limit ?',
      [AT_MOST],
    )
    return rows.map(({ key }) => key)
  }

  async function apply(): Promise<void> {
    const keys = await kept()
    if (keys.length === 0 && (!refusesWrites(redis) || redis instanceof Cluster)) return
    try {
      await Promise.all([...keys, ...(redis instanceof Cluster ? [] : [NO_KEY])].map((key) => redis.del(key)))
    } catch (error) {
      if (!isRefusal(error)) throw error
      return
    }
    await database.db.raw('delete from untaken_ends where key = any(?::text[])', [keys])
    if (keys.length < AT_MOST) tookAWrite(redis)
  }

  healRefusals(
    redis,
    createHealer(apply, () => refusesWrites(redis)),
  )

  return {
    async keep(keys) {
      await database.db.raw(
        'insert into untaken_ends (key, ended_at) select key, ? from unnest(?::text[]) as each (key) on conflict do nothing',
        [clock.now(), [...keys]],
      )
      refusedAWrite(redis)
      await invalidation.publish(TOPIC, 'now')
    },
    apply,
  }
}

/** Tries again and again while it is refused; when somebody waits for it, sooner. */
function createHealer(apply: () => Promise<void>, isRefused: () => boolean): Healer {
  let trying: Promise<void> | undefined
  let triedAt = Number.NEGATIVE_INFINITY
  let isPlanned = false

  async function attempt(): Promise<void> {
    triedAt = performance.now()
    // Whoever is called each few seconds tells of a store that is away.
    await apply().catch(() => {})
    trying = undefined
    refused()
  }
  function tryNow(): Promise<void> {
    if (trying === undefined && performance.now() - triedAt < NOT_SOONER_MS) return Promise.resolve()
    trying ??= attempt()
    return trying
  }
  function refused(): void {
    if (isPlanned || !isRefused()) return
    isPlanned = true
    setTimeout(() => {
      isPlanned = false
      void tryNow()
    }, TRY_AGAIN_MS).unref()
  }
  return { refused, tryNow }
}
