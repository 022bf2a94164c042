/**
 * OIDC state in Redis: one key a record, one command an operation, no script touches two slots. A record is
 * `<consumed>.<history>|<json>`: consumed `0` while unused, else the seconds of its use; the history under which it was written
 * (`platform/redis_history.ts`).
 */
import { isRefusal, type RedisClient, refusesWrites } from '../../platform/redis.ts'
import { ALSO_WHEN_FULL, HISTORY } from '../../platform/redis_history.ts'
import { type Reader, readerOf } from '../../platform/redis_reads.ts'
import type { UntakenEnds } from '../../platform/untaken_ends.ts'
import { beginningOf, hashId, type OidcStore, type Payload, type SessionPlace, textOf } from './store.ts'

/** ARGV: the JSON, the lifetime in seconds or '', and 'NX' or ''. */
const SAVE = `${HISTORY}
local arguments = { KEYS[1], '0.' .. history() .. '|' .. ARGV[1] }
if ARGV[2] ~= '' then arguments[3], arguments[4] = 'EX', ARGV[2] end
if ARGV[3] ~= '' then arguments[#arguments + 1] = ARGV[3] end
return redis.call('SET', unpack(arguments)) and 1 or 0`

/** Reads and deletes: the JSON, and 1 when it was of the present history. */
const TAKE = `${HISTORY}
local record = redis.call('GETDEL', KEYS[1])
if not record then return nil end
local bar = string.find(record, '|', 1, true)
local known = string.match(string.sub(record, 1, bar - 1), '^%d+%.?(%x*)$')
return { string.sub(record, bar + 1), known == history() and 1 or 0 }`

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

/**
 * Compare-and-set of a record by how its JSON begins. Its history stays: it may have ended in what was lost, and is looked up
 * when it is found.
 */
const SWAP = `
local record = redis.call('GET', KEYS[1])
local bar = record and string.find(record, '|', 1, true)
if not bar or string.sub(record, bar + 1, bar + #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], string.sub(record, 1, bar) .. ARGV[2], 'EX', ARGV[3])
return 1`

/** Prolongs a pointer. Returns whether it shows where it should. */
const PROLONG = `
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0`

/** Compare-and-set of a pointer. */
const REPOINT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1`

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
  oidcTake(key: string): Promise<[json: string, present: 0 | 1] | null>
  oidcSwap(key: string, beginning: string, json: string, ttl: number): Promise<number>
  oidcProlong(key: string, to: string, ttl: number): Promise<0 | 1>
  oidcRepoint(key: string, from: string, to: string, ttl: number): Promise<number>
  oidcRewrite(key: string, json: string): Promise<number>
  oidcConsume(key: string, now: string, once: '0' | '1'): Promise<number>
  oidcAdopt(key: string): Promise<number>
}

/** Their ends are in SQL before they are here; a token that was not revoked by itself ends with its Grant. */
const ENDED_IN_SQL: ReadonlySet<string> = new Set([
  ...['Session', 'Grant', 'AccessToken', 'ClientCredentials', 'RefreshToken'],
])

/** Builds the store on a connection; it adds its scripts to it. Without `ends` an end that Redis does not take is an error. */
export function createRedisOidcStore(redis: RedisClient, ends?: Pick<UntakenEnds, 'keep'>): OidcStore {
  const scripts = defineScripts(redis)
  const reader = readerOf(redis)
  const read = async (model: string, key: string): Promise<Payload | undefined> => {
    const { value: record, history } = await reader(key)
    if (record === null) return undefined
    const bar = record.indexOf('|')
    const [consumed, known] = record.slice(0, bar).split('.')
    const isPresent = known === history
    if (!isPresent && USED_ONCE.has(model)) return undefined
    const payload = JSON.parse(record.slice(bar + 1)) as Payload
    if (consumed !== '0') payload.consumed = Number(consumed)
    if (!isPresent || refusesWrites(redis)) payload.doubtful = true
    return payload
  }
  const pointed = pointedBy(reader)

  return {
    async save(model, id, payload, ttl, ifAbsent = false) {
      const pointers = pointersOf(model, payload).map((pointer) => point(redis, pointer, hashId(id), ttl))
      const json = textOf(payload)
      const saved = scripts.oidcSave(keyOf(model, id), json, ttl === undefined ? '' : String(ttl), ifAbsent ? 'NX' : '')
      const [written] = await Promise.all([saved, ...pointers])
      return written === 1
    },
    find: (model, id) => read(model, keyOf(model, id)),
    async findByUid(uid) {
      let missed: string | undefined
      let hash = await pointed(pointer('uid', uid))
      // What moved between the two reads is where the pointer shows by then; else a client would lose its tokens.
      while (hash !== null && hash !== missed) {
        const found = await read('Session', `oidc:Session:${hash}`)
        if (found !== undefined) return found
        missed = hash
        hash = await pointed(pointer('uid', uid))
      }
      return undefined
    },
    async findByUserCode(userCode) {
      const hash = await pointed(pointer('user_code', userCode))
      return hash === null ? undefined : read('DeviceCode', `oidc:DeviceCode:${hash}`)
    },
    async saveByUserCode(userCode, payload) {
      const hash = await pointed(pointer('user_code', userCode))
      if (hash !== null) await scripts.oidcRewrite(`oidc:DeviceCode:${hash}`, textOf(payload))
    },
    async consume(model, id, now) {
      const answer = await scripts.oidcConsume(keyOf(model, id), String(now), USED_ONCE.has(model) ? '1' : '0')
      return answer === 0 ? 'first' : answer === -1 ? 'missing' : answer
    },
    ...sessionWrites(redis, scripts, reader),
    async adopt(model, id) {
      if (!refusesWrites(redis)) await scripts.oidcAdopt(keyOf(model, id))
    },
    async destroy(model, id) {
      const key = keyOf(model, id)
      await end(
        async () => redis.del(key),
        async () => [key],
        ENDED_IN_SQL.has(model) ? ends : undefined,
      )
    },
    async destroySession(uid) {
      const key = pointer('uid', uid)
      const nameOf = (hash: string) => `oidc:Session:${hash}`
      // The pointer first: without it no `moveSession` under way arrives.
      const taken = async () => {
        const hash = await redis.getdel(key)
        if (hash !== null) await redis.del(nameOf(hash))
      }
      const keys = async () => [key, ...[await pointed(key)].flatMap((hash) => (hash === null ? [] : nameOf(hash)))]
      await end(taken, keys, ends)
    },
    purge: async () => 0,
  }
}

/** Ends records; what Redis refuses to write is kept. */
async function end(
  destroy: () => Promise<unknown>,
  keys: () => Promise<readonly string[]>,
  ends: Pick<UntakenEnds, 'keep'> | undefined,
): Promise<void> {
  try {
    await destroy()
  } catch (error) {
    if (ends === undefined || !isRefusal(error)) throw error
    await ends.keep(await keys())
  }
}

function sessionWrites(
  redis: RedisClient,
  scripts: Scripts,
  reader: Reader,
): Pick<OidcStore, 'swapSession' | 'leadToSession' | 'moveSession'> {
  const pointed = pointedBy(reader)
  const isOfPresent = async (key: string) => {
    const { value: record, history } = await reader(key)
    return record?.slice(0, record.indexOf('|')).split('.')[1] === history
  }
  const hashAt = async (place: SessionPlace) => ('id' in place ? hashId(place.id) : pointed(pointer('uid', place.uid)))
  return {
    async swapSession(place, expected, payload, ttl) {
      const hash = await hashAt(place)
      if (hash === null) return 'no'
      const swapped = scripts.oidcSwap(`oidc:Session:${hash}`, beginningOf(expected), textOf(payload), ttl)
      // The pointer lives on with it, but is never written here: the session may have another id by now, or have ended.
      const prolonged = scripts.oidcProlong(pointer('uid', String(payload.uid)), hash, ttl)
      const [written, isLed] = await Promise.all([swapped, prolonged])
      return written !== 1 ? 'no' : isLed === 1 ? 'written' : 'astray'
    },
    // Of a cluster one master may have lost where the session has moved to, and another knows that it has.
    async leadToSession(uid, id, ttl) {
      const [key, to] = [pointer('uid', uid), hashId(id)]
      const at = await pointed(key)
      if (at === to) return true
      if (at === null) return (await redis.set(key, to, 'EX', ttl, 'NX')) === 'OK'
      if (await isOfPresent(`oidc:Session:${at}`)) return false
      return (await scripts.oidcRepoint(key, at, to, ttl)) === 1
    },
    // Two records are two slots, so the pointer decides: whoever turns it from the old to the new has moved the session.
    async moveSession(oldId, id, payload, ttl) {
      const key = keyOf('Session', id)
      await scripts.oidcSave(key, textOf(payload), String(ttl), '')
      const turned = await scripts.oidcRepoint(pointer('uid', String(payload.uid)), hashId(oldId), hashId(id), ttl)
      const old = turned === 1 ? await scripts.oidcTake(keyOf('Session', oldId)) : null
      // One of another history may have ended in what was lost since it was read.
      if (old !== null && old[1] === 1) return JSON.parse(old[0]) as Payload
      await redis.del(key)
      return undefined
    },
  }
}

/** Where a pointer shows. */
function pointedBy(reader: Reader): (key: string) => Promise<string | null> {
  return async (key) => (await reader(key)).value
}

function defineScripts(redis: RedisClient): Scripts {
  const writing = {
    ...{ Save: SAVE, Take: TAKE, Rewrite: REWRITE, Consume: CONSUME, Adopt: ADOPT, Swap: SWAP },
    ...{ Prolong: PROLONG, Repoint: REPOINT },
  }
  for (const [name, lua] of Object.entries(writing)) redis.defineCommand(`oidc${name}`, { numberOfKeys: 1, lua })
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
