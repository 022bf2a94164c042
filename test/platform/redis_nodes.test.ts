/** A Redis Cluster of three masters with a replica each: the contracts of the stores, and word of changes, hold on it. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRedisOidcStore } from '../../src/oidc/adapter/redis_store.ts'
import { createRedisInvalidation } from '../../src/platform/invalidation.ts'
import { createRedisKeyValue } from '../../src/platform/key_value_redis.ts'
import { mastersOf, pingMasters, type RedisClient } from '../../src/platform/redis.ts'
import { describeKeyValue } from '../contracts/key_value.ts'
import { describeOidcAdapter } from '../contracts/oidc_adapter.ts'
import { redisAt, subscriberAt } from '../support/one_redis.ts'
import { type RedisServers, startRedisServers } from '../support/services.ts'

let servers: Promise<RedisServers> | undefined
const cluster = () => {
  servers ??= startRedisServers('redis_nodes')
  return servers
}
async function connect(): Promise<RedisClient> {
  const redis = redisAt((await cluster()).url)
  await once(redis, 'ready')
  // A master that is not connected yet refuses at once.
  while (mastersOf(redis).some(({ status }) => status !== 'ready')) await sleep(10)
  return redis
}

beforeAll(async () => {
  await cluster()
}, 60_000)

describeOidcAdapter('a Redis Cluster', async () => {
  const [redis, other] = [await connect(), await connect()]
  const all = async () => (await Promise.all(mastersOf(redis).map((node) => node.keys('*')))).flat()
  return {
    store: createRedisOidcStore(redis),
    elsewhere: createRedisOidcStore(other),
    pass: (seconds) => sleep(seconds * 1000),
    dump: async () => {
      const keys = await all()
      return JSON.stringify([keys, await Promise.all(keys.map((key) => redis.get(key)))])
    },
    count: async () => (await all()).length,
    close: async () => {
      for (const each of [redis, other]) each.disconnect()
    },
  }
})

describeKeyValue('a Redis Cluster', async (clock) => {
  const redis = await connect()
  return { kv: createRedisKeyValue(redis, clock), close: async () => redis.disconnect() }
})

describe('a connection to a Redis Cluster', () => {
  let redis: RedisClient
  beforeAll(async () => {
    redis = await connect()
  })
  afterAll(() => redis.disconnect())

  it('reaches three masters, and spreads keys over all of them', async () => {
    await pingMasters(redis)
    expect(mastersOf(redis)).toHaveLength(3)
    await Promise.all(Array.from({ length: 50 }, (_, index) => redis.set(`spread:${index}`, '1', 'EX', 60)))
    const found = await Promise.all(mastersOf(redis).map((node) => node.keys('spread:*')))
    for (const keys of found) expect(keys.length).toBeGreaterThan(0)
  })

  it('writes the commands of one turn to a node in one go', async () => {
    const node = mastersOf(redis)[0]
    let writes = 0
    if (node === undefined) throw new Error('no node')
    const write = node.stream._write
    node.stream._write = (...given) => {
      writes += 1
      write.apply(node.stream, given)
    }
    await Promise.all(Array.from({ length: 60 }, (_, index) => redis.get(`spread:${index}`)))
    expect(writes).toBe(1)
  })

  it('carries word of changes from every node to every instance', async () => {
    const { url } = await cluster()
    const subscriber = subscriberAt(url, redis)
    const invalidation = createRedisInvalidation({ publisher: redis, subscriber })
    const heard: (string | undefined)[] = []
    invalidation.subscribe('client', (key) => heard.push(key))
    while (!invalidation.healthy()) await sleep(20)
    heard.length = 0
    for (const [index, node] of mastersOf(redis).entries()) await node.publish('invalidation', `client\n${index}`)
    for (let tries = 0; heard.length < 3 && tries < 100; tries++) await sleep(20)
    expect([...heard].sort()).toEqual(['0', '1', '2'])
    await invalidation.close()
  })
})
