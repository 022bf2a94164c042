/**
 * The Redis adapter that the engine's documentation shows, kept as simple as it is there: HSET for what is consumed, MULTI and
 * EXPIRE around every write, a list of keys for each grant. It is what Genkan is measured against, not something to run.
 */
import type { Redis } from 'ioredis'
import type { Adapter, AdapterPayload } from 'oidc-provider'

const CONSUMABLE = new Set(['AuthorizationCode', 'RefreshToken', 'DeviceCode', 'BackchannelAuthenticationRequest'])
const GRANTABLE = new Set([
  'AccessToken',
  'AuthorizationCode',
  'RefreshToken',
  'DeviceCode',
  'BackchannelAuthenticationRequest',
])

const PREFIX = 'oidc:'
const grantKey = (id: string) => `${PREFIX}grant:${id}`
const uidKey = (id: string) => `${PREFIX}uid:${id}`
const userCodeKey = (id: string) => `${PREFIX}userCode:${id}`

/** One adapter per model, as the engine asks for them. */
export function createSimpleAdapter(redis: Redis, model: string): Adapter {
  const key = (id: string) => `${PREFIX}${model}:${id}`

  async function find(id: string): Promise<AdapterPayload | undefined> {
    if (!CONSUMABLE.has(model)) {
      const payload = await redis.get(key(id))
      return payload === null ? undefined : JSON.parse(payload)
    }
    const { payload, ...rest } = await redis.hgetall(key(id))
    return payload === undefined ? undefined : { ...rest, ...JSON.parse(payload) }
  }

  async function findBy(indexKey: string): Promise<AdapterPayload | undefined> {
    const id = await redis.get(indexKey)
    return id === null ? undefined : find(id)
  }

  return {
    find,
    findByUid: (uid) => findBy(uidKey(uid)),
    findByUserCode: (userCode) => findBy(userCodeKey(userCode)),

    async upsert(id, payload, expiresIn = 0) {
      const multi = redis.multi()
      if (CONSUMABLE.has(model)) multi.hset(key(id), { payload: JSON.stringify(payload) })
      else multi.set(key(id), JSON.stringify(payload))
      if (expiresIn) multi.expire(key(id), expiresIn)

      if (GRANTABLE.has(model) && payload.grantId) {
        const list = grantKey(payload.grantId)
        multi.rpush(list, key(id))
        // Keeps the list for as long as its longest member.
        const ttl = await redis.ttl(list)
        if (expiresIn > ttl) multi.expire(list, expiresIn)
      }
      if (payload.userCode) {
        multi.set(userCodeKey(payload.userCode), id)
        multi.expire(userCodeKey(payload.userCode), expiresIn)
      }
      if (payload.uid) {
        multi.set(uidKey(payload.uid), id)
        multi.expire(uidKey(payload.uid), expiresIn)
      }
      await multi.exec()
    },

    async destroy(id) {
      await redis.del(key(id))
    },

    async consume(id) {
      await redis.hset(key(id), 'consumed', Math.floor(Date.now() / 1000))
    },

    async revokeByGrantId(grantId) {
      const multi = redis.multi()
      for (const token of await redis.lrange(grantKey(grantId), 0, -1)) multi.del(token)
      multi.del(grantKey(grantId))
      await multi.exec()
    },
  }
}
