/**
 * Reads of one turn of the event loop, whoever asks, in one command: most of what a read costs is the command around it. In a
 * cluster each is a command of its own, since their keys are of different slots.
 */
import { Cluster } from 'ioredis'
import type { RedisClient } from './redis.ts'
import { HISTORY } from './redis_history.ts'
import { atEndOfTurn } from './redis_turns.ts'

/** The values, and the history of Redis in which they were read. */
const READ = `${HISTORY}
local answer = redis.call('MGET', unpack(KEYS))
answer[#KEYS + 1] = history()
return answer`

export interface Read {
  /** Null when there is none. */
  readonly value: string | null
  /** The present one, as the scripts write it into records. */
  readonly history: string
}

export type Reader = (key: string) => Promise<Read>

interface Scripts {
  genkanRead(keyCount: number, ...keys: string[]): Promise<(string | null)[]>
}

interface Asked {
  readonly key: string
  readonly resolve: (read: Read) => void
  readonly reject: (error: unknown) => void
}

/** Other clients of Redis wait while one command is carried out. */
const KEYS_AT_MOST = 100

const readers = new WeakMap<RedisClient, Reader>()

/** The one reader of a connection, which adds its script to it. Reads reject with the driver's error. */
export function readerOf(redis: RedisClient): Reader {
  const known = readers.get(redis)
  if (known !== undefined) return known
  redis.defineCommand('genkanRead', { lua: READ, readOnly: true })
  const scripts = redis as unknown as Scripts
  const reader =
    redis instanceof Cluster ? readAlone(scripts) : readTogether(scripts, (work) => atEndOfTurn(redis, work))
  readers.set(redis, reader)
  return reader
}

function readAlone(scripts: Scripts): Reader {
  return async (key) => {
    const [value = null, history] = await scripts.genkanRead(1, key)
    return { value, history: String(history) }
  }
}

/** A node of a cluster that was named as if it were alone, or a proxy to one. */
const OF_A_CLUSTER = /^CROSSSLOT/

function readTogether(scripts: Scripts, atEnd: (work: () => void) => void): Reader {
  const alone = readAlone(scripts)
  let isAlone = false
  let asked: Asked[] = []

  async function answer(these: readonly Asked[]): Promise<void> {
    try {
      const values = await scripts.genkanRead(these.length, ...these.map(({ key }) => key))
      const history = String(values[these.length])
      for (const [index, { resolve }] of these.entries()) resolve({ value: values[index] ?? null, history })
    } catch (error) {
      isAlone ||= OF_A_CLUSTER.test(String((error as Error).message))
      for (const { key, resolve, reject } of these) {
        if (isAlone) alone(key).then(resolve, reject)
        else reject(error)
      }
    }
  }

  const send = () => {
    const all = asked
    asked = []
    for (let from = 0; from < all.length; from += KEYS_AT_MOST) void answer(all.slice(from, from + KEYS_AT_MOST))
  }
  return (key) => {
    if (isAlone) return alone(key)
    return new Promise((resolve, reject) => {
      if (asked.length === 0) atEnd(send)
      asked.push({ key, resolve, reject })
    })
  }
}
