/**
 * OIDC state in Redis: one key a record, one command an operation, no script touches two slots. A record is
 * `<consumed>.<history>|<json>`: consumed `0` while unused, else the seconds of its use; the history under which it was written
 * (`platform/redis_history.ts`).
 */
import { type RedisClient, refusesWrites } from '../../platform/redis.ts'
import { ALSO_WHEN_FULL, HISTORY } from '../../platform/redis_history.ts'
import { hashId, type OidcStore, type Payload, withoutId } from './store.ts'

/** ARGV: the JSON, the lifetime in seconds or '', and 'NX' or ''. */
const SAVE = `${HISTORY}
local arguments = { KEYS[1], '0.' .. history() .. '|' .. ARGV[1] }
if ARGV[2] ~= '' then arguments[3], arguments[4] = 'EX', ARGV[2] end
if ARGV[3] ~= '' then arguments[#arguments + 1] = ARGV[3] end
return redis.call('SET', unpack(arguments)) and 1 or 0`

/** The JSON, the seconds of its use, and 1 when it is of the present history. */
const FIND = `${HISTORY}
local record = redis.call('GET', KEYS[1])
if not record then return nil end
local bar = string.find(record, '|', 1, true)
local consumed, known = string.match(string.sub(record, 1, bar - 1), '^(%d+)%.?(%x*)$')
return { string.sub(record, bar + 1), tonumber(consumed), known == history() and 1 or 0 }`

/** Writes a DeviceCode anew; one of another history stays what it is, and dead. It was not consumed: it had no answer. */
const REWRITE = `${HISTORY}
local mark = '0.' .. history() .. '|'
local record = redis.call('GET', KEYS[1])
if record and string.sub(record, 1, #mark) == mark then redis.call('SET', KEYS[1], mark .. ARGV[1], 'KEEPTTL') end
return 0`

/**
 * Compare-and-set of the mark in front; KEEPTTL, since a plain SET would make the record immortal. ARGV: now, and 1 when a
 * record of another history may have been consumed already, and is none.
 */
const CONSUME = `${ALSO_WHEN_FULL}${HISTORY}
local record = redis.call('GET', KEYS[1])
if not record then return -1 end
local bar = string.find(record, '|', 1, true)
local consumed, known = string.match(string.sub(record, 1, bar - 1), '^(%d+)%.?(%x*)$')
local present = history()
if ARGV[2] == '1' and known ~= present then return -1 end
if consumed ~= '0' then return tonumber(consumed) end
redis.call('SET', KEYS[1], ARGV[1] .. '.' .. present .. string.sub(record, bar), 'KEEPTTL')
return 0`

/** Takes a record into the present history, whatever it is by now. */
const ADOPT = `${ALSO_WHEN_FULL}${HISTORY}
local record = redis.call('GET', KEYS[1])
if not record then return 0 end
local bar = string.find(record, '|', 1, true)
local consumed = string.match(record, '^%d+')
redis.call('SET', KEYS[1], consumed .. '.' .. history() .. string.sub(record, bar), 'KEEPTTL')
return 1`

/** Used once: of another history, nobody knows whether they were. */
const USED_ONCE: ReadonlySet<string> = new Set([
  ...['AuthorizationCode', 'DeviceCode', 'BackchannelAuthenticationRequest', 'PushedAuthorizationRequest'],
  // Its result is taken once, which signs a browser in.
  'Interaction',
])

interface Scripts {
  oidcSave(key: string, json: string, ttl: string, condition: '' | 'NX'): Promise<number>
  oidcFind(key: string): Promise<[json: string, consumed: number, present: 0 | 1] | null>
  oidcRewrite(key: string, json: string): Promise<number>
  oidcConsume(key: string, now: string, once: '0' | '1'): Promise<number>
  oidcAdopt(key: string): Promise<number>
}

/** Builds the store on a connection; it adds its scripts to it. */
export function createRedisOidcStore(redis: RedisClient): OidcStore {
  const scripts = defineScripts(redis)
  const find = async (model: string, key: string): Promise<Payload | undefined> => {
    const found = await scripts.oidcFind(key)
    if (found === null) return undefined
    const [json, consumed, isPresent] = found
    if (isPresent === 0 && USED_ONCE.has(model)) return undefined
    const payload = JSON.parse(json) as Payload
    if (consumed > 0) payload.consumed = consumed
    if (isPresent === 0 || refusesWrites(redis)) payload.doubtful = true
    return payload
  }

  return {
    async save(model, id, payload, ttl, ifAbsent = false) {
      const pointers = pointersOf(model, payload).map((pointer) => point(redis, pointer, hashId(id), ttl))
      const json = JSON.stringify(withoutId(payload))
      const saved = scripts.oidcSave(keyOf(model, id), json, ttl === undefined ? '' : String(ttl), ifAbsent ? 'NX' : '')
      const [written] = await Promise.all([saved, ...pointers])
      return written === 1
    },
    find: (model, id) => find(model, keyOf(model, id)),
    async findByUid(uid) {
      const hash = await redis.get(pointer('uid', uid))
      return hash === null ? undefined : find('Session', `oidc:Session:${hash}`)
    },
    async findByUserCode(userCode) {
      const hash = await redis.get(pointer('user_code', userCode))
      return hash === null ? undefined : find('DeviceCode', `oidc:DeviceCode:${hash}`)
    },
    async saveByUserCode(userCode, payload) {
      const hash = await redis.get(pointer('user_code', userCode))
      if (hash !== null) await scripts.oidcRewrite(`oidc:DeviceCode:${hash}`, JSON.stringify(withoutId(payload)))
    },
    async consume(model, id, now) {
      const answer = await scripts.oidcConsume(keyOf(model, id), String(now), USED_ONCE.has(model) ? '1' : '0')
      return answer === 0 ? 'first' : answer === -1 ? 'missing' : answer
    },
    async adopt(model, id) {
      if (!refusesWrites(redis)) await scripts.oidcAdopt(keyOf(model, id))
    },
    async destroy(model, id) {
      await redis.del(keyOf(model, id))
    },
    async destroySession(uid) {
      const hash = await redis.get(pointer('uid', uid))
      if (hash !== null) await redis.del(`oidc:Session:${hash}`)
    },
    purge: async () => 0,
  }
}

function defineScripts(redis: RedisClient): Scripts {
  for (const [name, lua] of Object.entries({ Save: SAVE, Rewrite: REWRITE, Consume: CONSUME, Adopt: ADOPT }))
    redis.defineCommand(`oidc${name}`, { numberOfKeys: 1, lua })
  redis.defineCommand('oidcFind', { numberOfKeys: 1, lua: FIND, readOnly: true })
  return redis as unknown as Scripts
}

async function point(redis: RedisClient, key: string, value: string, ttl: number | undefined): Promise<void> {
  await (ttl === undefined ? redis.set(key, value) : redis.set(key, value, 'EX', ttl))
}

function keyOf(model: string, id: string): string {
  return `oidc:${model}:${hashId(id)}`
}

function pointer(kind: 'uid' | 'user_code', value: string): string {
  return `oidc:${kind}:${hashId(value)}`
}

function pointersOf(model: string, payload: Payload): string[] {
  const pointers: string[] = []
  if (model === 'Session' && typeof payload.uid === 'string') pointers.push(pointer('uid', payload.uid))
  if (typeof payload.userCode === 'string') pointers.push(pointer('user_code', payload.userCode))
  return pointers
}
