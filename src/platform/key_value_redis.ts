/**
 * Key/value records in Redis, one string each: `<version>.<expiry in epoch ms>.<history>.<value>` under `kv:<key>`. Every
 * operation is one command, a script, since Redis runs a script as one step.
 *
 * A record of another history (`redis_history.ts`) is as good as gone: it may have been taken or changed in what was lost.
 * What was under way begins again, what is a copy is read from SQL again. Counters are of every history (`-`).
 */
import { type Clock, systemClock } from './clock.ts'
import {
  expiryOf,
  hitResult,
  type KeyValue,
  NEVER,
  storedKey,
  storedLimits,
  UNLIMITED,
  type Versioned,
} from './key_value.ts'
import { type RedisClient, refusesWrites, stillRefusesWrites } from './redis.ts'
import { ALSO_WHEN_FULL, HISTORY } from './redis_history.ts'
import { type Read, readerOf } from './redis_reads.ts'
import type { UntakenEnds } from './untaken_ends.ts'

/** Shared by the scripts: the live record of a key as version, value, expiry. */
const LIVE = `${HISTORY}
local function live(record, now, present)
  if not record then return nil end
  local version, expiry, known, value = string.match(record, '^(%d+)%.(%d+)%.([%x-]+)%.(.*)$')
  if not version or tonumber(expiry) <= tonumber(now) then return nil end
  if present and known ~= '-' and known ~= present then return nil end
  return tonumber(version), value, tonumber(expiry)
end
`

/** Reads and deletes. ARGV: now. */
const TAKE = `${LIVE}
local version, value = live(redis.call('GETDEL', KEYS[1]), ARGV[1], history())
return version and value or nil
`

/** ARGV: now, expiry, ttl in ms, value, mode ('set', or the version that must be there, 0 for none). */
const WRITE = `${LIVE}
local present = history()
local version = live(redis.call('GET', KEYS[1]), ARGV[1], present) or 0
if ARGV[5] ~= 'set' and tonumber(ARGV[5]) ~= version then return 0 end
local record = string.format('%d.%s.%s.', version + 1, ARGV[2], present) .. ARGV[4]
redis.call('SET', KEYS[1], record, 'PX', ARGV[3])
return 1
`

/** Redis counts by its own clock: it forgets a counter only when its window is over by everybody's. */
const SLACK_MS = 1000

/**
 * ARGV: now, 0 or 1 (proven), then limit, warm at, window in ms and 0 or 1 (peek) of each key. Returns the longest wait in ms
 * of those that are used up (-1: none), its place, whether it was counted, and whether one is warm.
 */
const HIT = `${LIVE}
local now, wait, longest, warm, counts = tonumber(ARGV[1]), -1, 0, false, {}
local function argument(i, which) return tonumber(ARGV[4 * i - 2 + which]) end
for i, record in ipairs(redis.call('MGET', unpack(KEYS))) do
  local version, value, expiry = live(record, now, nil)
  local count, until_ms = tonumber(value or 0), expiry or now + argument(i, 3)
  counts[i] = { version or 0, count, until_ms }
  if count >= argument(i, 2) then warm = true end
  if count >= argument(i, 1) and until_ms - now > wait then wait, longest = until_ms - now, i end
end
if wait >= 0 then return { wait, longest, 0, 0 } end
if warm and ARGV[2] == '0' then return { -1, 0, 0, 1 } end
for i, key in ipairs(KEYS) do
  if argument(i, 4) == 0 then
    local version, count, expiry = unpack(counts[i])
    local record = string.format('%d.%.0f.-.%d', version + 1, expiry, count + 1)
    redis.call('SET', key, record, 'PX', math.max(0, expiry - now) + ${SLACK_MS})
    if count + 1 >= argument(i, 2) then warm = true end
  end
end
return { -1, 0, 1, warm and 1 or 0 }
`

/** ARGV: now. */
const GIVE_BACK = `${LIVE}
for _, key in ipairs(KEYS) do
  local version, value, expiry = live(redis.call('GET', key), ARGV[1], nil)
  if version and tonumber(value) > 0 then
    local record = string.format('%d.%.0f.-.%d', version + 1, expiry, tonumber(value) - 1)
    redis.call('SET', key, record, 'PX', expiry - tonumber(ARGV[1]) + ${SLACK_MS})
  end
end
`

interface Scripts {
  genkanTake(key: string, now: number): Promise<string | null>
  genkanWrite: Write
  genkanRewrite: Write
  genkanGiveBack(keyCount: number, ...keysAndNow: (string | number)[]): Promise<unknown>
  genkanHit(keyCount: number, ...keysAndArguments: (string | number)[]): Promise<[number, number, number, number]>
}

type Write = (key: string, now: number, expiry: number, ttlMs: number, value: string, mode: string) => Promise<number>

/**
 * Key/value records in Redis. Rejects with the driver's error when Redis is away. A record whose next version Redis refuses to
 * write is no more what it says: its key is one of the `ends`, or an account that was disabled would be active again later.
 */
export function createRedisKeyValue(
  redis: RedisClient,
  clock: Clock = systemClock,
  ends?: Pick<UntakenEnds, 'keep'>,
): KeyValue {
  const scripts = defineScripts(redis)
  const reader = readerOf(redis)
  const now = () => clock.now().getTime()

  async function write(key: string, value: string, ttlSeconds: number, mode: string): Promise<boolean> {
    const at = now()
    const expiry = Math.max(0, expiryOf(new Date(at), ttlSeconds).getTime())
    const ttl = Math.max(1, expiry - at)
    // The next version of what is there: "disabled" must reach an account's state in a memory that is full.
    const script = Number(mode) > 0 ? 'genkanRewrite' : 'genkanWrite'
    return (await scripts[script](nameOf(key), at, expiry, ttl, value, mode)) === 1
  }

  async function find(key: string): Promise<Versioned | undefined> {
    // What cannot be written cannot be taken back either: it is as good as gone.
    if (refusesWrites(redis) && (await stillRefusesWrites(redis))) return undefined
    return live(await reader(nameOf(key)), now())
  }

  return {
    read: find,
    get: async (key) => (await find(key))?.value,
    take: async (key) => (await scripts.genkanTake(nameOf(key), now())) ?? undefined,
    set: async (key, value, ttlSeconds) => {
      await write(key, value, ttlSeconds, 'set')
    },
    add: (key, value, ttlSeconds) => write(key, value, ttlSeconds, '0'),
    async swap(key, expected, value, ttlSeconds) {
      let isWritten = false
      try {
        isWritten = await write(key, value, ttlSeconds, String(expected))
        return isWritten
      } finally {
        // Whatever was expected: while Redis refuses, what is there is as good as gone.
        if (!isWritten && refusesWrites(redis)) await ends?.keep([nameOf(key)])
      }
    },
    delete: async (key) => {
      await redis.del(nameOf(key))
    },
    async hit(limits, proven = true) {
      if (limits.length === 0) return UNLIMITED
      const list = storedLimits(limits)
      const [wait, longest, counted, warm] = await scripts.genkanHit(
        list.length,
        ...list.map(({ stored }) => `kv:${stored}`),
        ...[now(), proven ? 1 : 0],
        ...list.flatMap(({ limit, warmAt = NEVER, windowSeconds, peek }) => [
          ...[limit, warmAt, Math.ceil(windowSeconds * 1000), peek ? 1 : 0],
        ]),
      )
      const waitMs = wait < 0 ? undefined : wait
      return hitResult(list, { waitMs, longest: longest - 1, counted: counted === 1, warm: warm === 1 })
    },
    async giveBack(keys) {
      if (keys.length > 0) await scripts.genkanGiveBack(keys.length, ...keys.map(nameOf), now())
    },
    purge: async () => 0,
  }
}

function nameOf(key: string): string {
  return `kv:${storedKey(key)}`
}

/** ioredis sends EVAL once per connection and EVALSHA after that; the types cannot know commands defined at run time. */
function defineScripts(redis: RedisClient): Scripts {
  redis.defineCommand('genkanTake', { numberOfKeys: 1, lua: TAKE })
  redis.defineCommand('genkanWrite', { numberOfKeys: 1, lua: WRITE })
  redis.defineCommand('genkanRewrite', { numberOfKeys: 1, lua: ALSO_WHEN_FULL + WRITE })
  redis.defineCommand('genkanHit', { lua: HIT })
  redis.defineCommand('genkanGiveBack', { lua: GIVE_BACK })
  return redis as unknown as Scripts
}

/** As `live` of the scripts, of what was read. */
function live({ value: record, history }: Read, now: number): Versioned | undefined {
  const [, version, expiry, known, value] = /^(\d+)\.(\d+)\.([\da-f-]+)\.(.*)$/s.exec(record ?? '') ?? []
  if (value === undefined || Number(expiry) <= now || (known !== '-' && known !== history)) return undefined
  return { version: Number(version), value }
}
