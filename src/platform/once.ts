/** What may be used once and was made elsewhere: an assertion (RFC 7523 §3), a DPoP proof (RFC 9449 §11.1). */
import type { Clock } from './clock.ts'
import type { KeyValue } from './key_value.ts'
import { HISTORY } from './redis_history.ts'

/**
 * `unknown`: it was made before the store last lost something, or so shortly after that clocks cannot tell; its use may be
 * what was lost.
 */
export type Use = 'first' | 'again' | 'unknown'

export interface Once {
  /** Notes a use; of many at once exactly one is first. `name` says what it is, and is a hash. */
  use(name: string, madeAt: Date, ttlSeconds: number): Promise<Use>
  /**
   * Notes since when uses are known. `everything`: nothing was ever used before, as at the first start of an installation.
   * Otherwise only where that is not known yet: the store was emptied or has another history.
   */
  begin(everything?: boolean): Promise<void>
}

/** In a store that loses nothing. */
export function createKeptOnce(kv: Pick<KeyValue, 'add'>): Once {
  return {
    use: async (name, _madeAt, ttlSeconds) => ((await kv.add(`once:${name}`, '1', ttlSeconds)) ? 'first' : 'again'),
    begin: async () => {},
  }
}

/** Clocks of those who make assertions may be wrong by so much: it is what the engine tolerates. */
const CLOCKS_MS = 15_000
/** Uses are spread over so many slots of a cluster, each with a record of since when they are known. */
const PLACES = 4

/**
 * KEYS: the record of since when (\`<history>.<ms>\`). ARGV: now, and 1 when nothing was ever used before.
 * Returns since when.
 */
const SINCE = `${HISTORY}
local function since(key, now, everything)
  local present = history()
  local known, at = string.match(redis.call('GET', key) or '', '^(%x+)%.(%d+)$')
  if known == present and not everything then return tonumber(at) end
  at = everything and '0' or now
  redis.call('SET', key, present .. '.' .. at)
  return tonumber(at)
end
`
const BEGIN = `${SINCE}
return since(KEYS[1], ARGV[1], ARGV[2] == '1')
`
/** KEYS: that record, the use. ARGV: now, made at, lifetime in ms, tolerance in ms. */
const USE = `${SINCE}
local from = since(KEYS[1], ARGV[1], false)
if from > 0 and tonumber(ARGV[2]) <= from + tonumber(ARGV[4]) then return -1 end
return redis.call('SET', KEYS[2], '1', 'PX', ARGV[3], 'NX') and 1 or 0
`

interface Scripts {
  genkanBegin(since: string, now: number, everything: 0 | 1): Promise<number>
  genkanUse(since: string, use: string, now: number, madeAt: number, ttlMs: number, tolerance: number): Promise<number>
}

interface Scripted {
  defineCommand(name: string, definition: { numberOfKeys: number; lua: string }): void
}

/** In Redis. Rejects with the driver's error when it is away. */
export function createRedisOnce(redis: Scripted, clock: Clock): Once {
  redis.defineCommand('genkanBegin', { numberOfKeys: 1, lua: BEGIN })
  redis.defineCommand('genkanUse', { numberOfKeys: 2, lua: USE })
  const scripts = redis as unknown as Scripts
  const now = () => clock.now().getTime()
  const begin = async (everything = false) => {
    const places = Array.from({ length: PLACES }, (_, index) => placeOf(index))
    await Promise.all(places.map((place) => scripts.genkanBegin(place, now(), everything ? 1 : 0)))
  }
  return {
    begin,
    async use(name, madeAt, ttlSeconds) {
      const place = placeOf(name.charCodeAt(0) % PLACES)
      const ttl = Math.max(1, Math.ceil(ttlSeconds * 1000))
      const found = await scripts.genkanUse(place, `${place}:${name}`, now(), madeAt.getTime(), ttl, CLOCKS_MS)
      if (found >= 0) return found === 1 ? 'first' : 'again'
      // The time in which others are refused begins everywhere with this.
      await begin()
      return 'unknown'
    },
  }
}

function placeOf(index: number): string {
  return `{once${index}}`
}
