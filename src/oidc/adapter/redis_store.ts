/** OIDC state in Redis: one key a record, one command an operation, no script touches two slots. */
import type { Redis, Result } from 'ioredis'
import { beginningOf, hashId, type OidcStore, type Payload, type SessionPlace, textOf } from './store.ts'

/** A record is `<consumed>|<json>`: `0|…` while unused, else the seconds of its use. */
const UNUSED = '0|'

/** Compare-and-set of the mark in front; KEEPTTL, since a plain SET would make the record immortal. */
const CONSUME = `
local record = redis.call('GET', KEYS[1])
if not record then return -1 end
local bar = string.find(record, '|', 1, true)
local mark = string.sub(record, 1, bar - 1)
if mark ~= '0' then return tonumber(mark) end
redis.call('SET', KEYS[1], ARGV[1] .. string.sub(record, bar), 'KEEPTTL')
return 0`

/** Compare-and-set of a record by how it begins. */
const SWAP = `
local record = redis.call('GET', KEYS[1])
if not record or string.sub(record, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1`

/** Compare-and-set of a pointer. */
const REPOINT = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1`

declare module 'ioredis' {
  interface RedisCommander<Context> {
    oidcConsume(key: string, now: string): Result<number, Context>
    oidcSwap(key: string, beginning: string, record: string, ttl: number): Result<number, Context>
    oidcRepoint(key: string, from: string, to: string, ttl: number): Result<number, Context>
  }
}

/** Builds the store on a connection; it adds its scripts to it. */
export function createRedisOidcStore(redis: Redis): OidcStore {
  redis.defineCommand('oidcConsume', { numberOfKeys: 1, lua: CONSUME })
  redis.defineCommand('oidcSwap', { numberOfKeys: 1, lua: SWAP })
  redis.defineCommand('oidcRepoint', { numberOfKeys: 1, lua: REPOINT })
  const get = async (key: string) => parse(await redis.get(key))

  return {
    async save(model, id, payload, ttl, ifAbsent = false) {
      const key = keyOf(model, id)
      const value = UNUSED + textOf(payload)
      const pointers = pointersOf(model, payload).map((pointer) => write(redis, pointer, hashId(id), ttl, false))
      const [written] = await Promise.all([write(redis, key, value, ttl, ifAbsent), ...pointers])
      return written
    },
    find: (model, id) => get(keyOf(model, id)),
    async findByUid(uid) {
      const hash = await redis.get(pointer('uid', uid))
      return hash === null ? undefined : get(`oidc:Session:${hash}`)
    },
    async findByUserCode(userCode) {
      const hash = await redis.get(pointer('user_code', userCode))
      return hash === null ? undefined : get(`oidc:DeviceCode:${hash}`)
    },
    async saveByUserCode(userCode, payload) {
      const hash = await redis.get(pointer('user_code', userCode))
      if (hash === null) return
      // Not consumed: the device has no answer to consume before this is written.
      await redis.set(`oidc:DeviceCode:${hash}`, UNUSED + textOf(payload), 'KEEPTTL', 'XX')
    },
    async consume(model, id, now) {
      const answer = await redis.oidcConsume(keyOf(model, id), String(now))
      return answer === 0 ? 'first' : answer === -1 ? 'missing' : answer
    },
    ...sessionWrites(redis),
    async destroy(model, id) {
      await redis.del(keyOf(model, id))
    },
    async destroySession(uid) {
      // The pointer first: without it no `moveSession` under way arrives.
      const hash = await redis.getdel(pointer('uid', uid))
      if (hash !== null) await redis.del(`oidc:Session:${hash}`)
    },
    purge: async () => 0,
  }
}

function sessionWrites(redis: Redis): Pick<OidcStore, 'swapSession' | 'moveSession'> {
  const swap = async (hash: string, expected: string, record: string, ttl: number) =>
    (await redis.oidcSwap(`oidc:Session:${hash}`, UNUSED + beginningOf(expected), record, ttl)) === 1
  const hashAt = async (place: SessionPlace) =>
    'id' in place ? hashId(place.id) : redis.get(pointer('uid', place.uid))
  return {
    async swapSession(place, expected, payload, ttl) {
      const hash = await hashAt(place)
      if (hash === null) return false
      const record = UNUSED + textOf(payload)
      // The pointer lives on with it, but is never written here: the session may have another id by now, or have ended.
      const prolonged = redis.expire(pointer('uid', String(payload.uid)), ttl)
      const [written] = await Promise.all([swap(hash, expected, record, ttl), prolonged])
      return written
    },
    // Two records are two slots, so the pointer decides: whoever turns it from the old to the new has moved the session.
    async moveSession(oldId, id, payload, ttl) {
      const key = keyOf('Session', id)
      await redis.set(key, UNUSED + textOf(payload), 'EX', ttl)
      const turned = await redis.oidcRepoint(pointer('uid', String(payload.uid)), hashId(oldId), hashId(id), ttl)
      const old = turned === 1 ? parse(await redis.getdel(keyOf('Session', oldId))) : undefined
      if (old === undefined) await redis.del(key)
      return old
    },
  }
}

async function write(redis: Redis, key: string, value: string, ttl: number | undefined, ifAbsent: boolean) {
  if (ttl === undefined) return (await (ifAbsent ? redis.set(key, value, 'NX') : redis.set(key, value))) === 'OK'
  const answer = ifAbsent ? redis.set(key, value, 'EX', ttl, 'NX') : redis.set(key, value, 'EX', ttl)
  return (await answer) === 'OK'
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

function parse(record: string | null): Payload | undefined {
  if (record === null) return undefined
  const bar = record.indexOf('|')
  const payload = JSON.parse(record.slice(bar + 1)) as Payload
  const consumed = Number(record.slice(0, bar))
  if (consumed > 0) payload.consumed = consumed
  return payload
}
