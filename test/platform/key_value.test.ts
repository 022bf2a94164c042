import { AsyncLocalStorage } from 'node:async_hooks'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Redis } from 'ioredis'
import { createRedisOidcStore } from '../../src/oidc/adapter/redis_store.ts'
import { type Clock, systemClock } from '../../src/platform/clock.ts'
import { expiryOf, hashTagOf, storedKey } from '../../src/platform/key_value.ts'
import { createRedisKeyValue } from '../../src/platform/key_value_redis.ts'
import { createSealedKeyValue } from '../../src/platform/key_value_sealed.ts'
import { createSqlKeyValue } from '../../src/platform/key_value_sql.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { describeKeyValue } from '../contracts/key_value.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'
import { oneRedis } from '../support/one_redis.ts'
import { testPersonal } from '../support/personal_columns.ts'
import { freshDatabase, startBreakable, startRedis } from '../support/services.ts'

async function readyRedis(): Promise<Redis> {
  const redis = oneRedis((await startRedis()).url)
  await new Promise((resolve) => redis.once('ready', resolve))
  return redis
}

describeKeyValue('Redis', async (clock) => {
  const redis = await readyRedis()
  return { kv: createRedisKeyValue(redis, clock), close: async () => redis.disconnect() }
})

// Refuses every command and script whose keys are of two slots.
describeKeyValue('Redis in cluster mode', async (clock) => {
  const redis = oneRedis((await startBreakable('redis_cluster')).url)
  await new Promise((resolve) => redis.once('ready', resolve))
  return { kv: createRedisKeyValue(redis, clock), close: async () => redis.disconnect() }
})

for (const kind of ['embedded', 'postgres'] as const) {
  describeKeyValue(kind, async (clock) => {
    // Room for the 500 at once: what would wait behind too many others is refused.
    const database = await freshDatabase(kind, 30)
    return { kv: createSqlKeyValue(database, clock), close: () => database.close() }
  })
}

describe('sealed values', () => {
  const plain = createModelKeyValue({ now: () => new Date() })
  const sealed = createSealedKeyValue(plain, testPersonal)

  it('are not told by the store', async () => {
    await sealed.set('a', 'anna@example.com', 60)
    expect(await plain.get('a')).toMatch(/^v1\./)
    expect(await sealed.get('a')).toBe('anna@example.com')
    expect([await sealed.add('a', 'x', 60), await sealed.add('b', 'ada', 60)]).toEqual([false, true])
    expect(await sealed.read('b')).toEqual({ value: 'ada', version: 1 })
    expect([await sealed.swap('b', 1, 'eve', 60), await sealed.swap('b', 1, 'x', 60)]).toEqual([true, false])
    expect(await plain.get('b')).toMatch(/^v1\./)
    expect([await sealed.take('b'), await sealed.take('b')]).toEqual(['eve', undefined])
  })

  it('that were planted, changed or moved are as good as none, and another can be written in their place', async () => {
    await sealed.set('mine', 'anna@example.com', 60)
    const moved = (await plain.get('mine')) ?? ''
    for (const value of ['{"proofs":[]}', moved, `${moved.slice(0, -4)}AAAA`]) {
      await plain.set('theirs', value, 60)
      expect(await sealed.get('theirs')).toBeUndefined()
      expect(await sealed.read('theirs')).toBeUndefined()
      expect(await sealed.swap('theirs', 0, 'new', 60)).toBe(true)
      expect(await sealed.read('theirs')).toEqual({ value: 'new', version: 1 })
      await plain.set('theirs', value, 60)
      expect(await sealed.take('theirs')).toBeUndefined()
    }
  })
})

describe('Redis only', () => {
  let redis: Redis
  let watcher: Redis
  beforeAll(async () => {
    // Of its own: a monitor that is opened while others talk confuses the driver.
    const { url } = await startBreakable('redis')
    redis = oneRedis(url)
    watcher = oneRedis(url)
    await Promise.all([redis, watcher].map((one) => new Promise((resolve) => one.once('ready', resolve))))
  })
  afterAll(() => {
    redis.disconnect()
    watcher.disconnect()
  })

  /** Commands that our connection sends while `work` runs, as the server sees them. */
  async function commandsOf(work: () => Promise<unknown>): Promise<string[]> {
    const port = / addr=(\S+) /.exec(String(await redis.client('INFO')))?.[1]
    const monitor = await watcher.monitor()
    const seen: string[] = []
    monitor.on('monitor', (_time: string, args: string[], source: string) => {
      if (source === port) seen.push(String(args[0]).toUpperCase())
    })
    await work()
    await redis.echo('end')
    while (!seen.includes('ECHO')) await new Promise((resolve) => setTimeout(resolve, 5))
    monitor.disconnect()
    return seen.slice(0, -1)
  }

  it('sends one command per operation, however many limits', async () => {
    const kv = createRedisKeyValue(redis)
    const limits = ['a', 'b', 'c', 'd'].map((key) => ({ key: `{limits}:${key}`, limit: 5, windowSeconds: 60 }))
    const work = async () => {
      await kv.set('k', 'v', 60)
      await kv.add('k', 'v', 60)
      await kv.read('k')
      await kv.swap('k', 1, 'v', 60)
      await kv.get('k')
      await kv.take('k')
      await kv.hit(limits)
    }
    await work()
    expect(await commandsOf(work)).toEqual(Array(7).fill('EVALSHA'))
  })

  it('survives a server that has forgotten its scripts', async () => {
    const kv = createRedisKeyValue(redis)
    expect((await kv.hit([{ key: 'forgotten', limit: 3, windowSeconds: 60 }])).allowed).toBe(true)
    await redis.script('FLUSH')
    const hits = await Promise.all(
      Array.from({ length: 5 }, () => kv.hit([{ key: 'forgotten', limit: 3, windowSeconds: 60 }])),
    )
    expect(hits.filter(({ allowed }) => allowed)).toHaveLength(2)
  })

  it('whose memory is full takes back, uses up and writes over what is there, and refuses what is new (F06)', async () => {
    const kv = createRedisKeyValue(redis)
    const store = createRedisOidcStore(redis)
    await kv.add('state', 'active', 60)
    await kv.add('code', '123456', 60)
    await store.save('AuthorizationCode', 'full', {}, 60)
    await watcher.config('SET', 'maxmemory', '1')
    try {
      await expect(kv.add('new', 'v', 60)).rejects.toThrow('OOM')
      await expect(store.save('AuthorizationCode', 'new', {}, 60)).rejects.toThrow('OOM')
      expect(await kv.swap('state', 1, 'disabled', 60)).toBe(true)
      expect([await kv.get('state'), await kv.take('code'), await kv.take('code')]).toEqual([
        ...['disabled', '123456', undefined],
      ])
      expect(await store.consume('AuthorizationCode', 'full', 1)).toBe('first')
      expect(await store.consume('AuthorizationCode', 'full', 2)).toBe(1)
    } finally {
      await watcher.config('SET', 'maxmemory', '0')
    }
  })

  it('leaves no key without an expiry of its own', async () => {
    const kv = createRedisKeyValue(redis)
    await kv.set('set', 'v', 60)
    await kv.add('add', 'v', 60)
    await kv.swap('swap', 0, 'v', 60)
    await kv.hit([{ key: 'hit', limit: 3, windowSeconds: 60 }])
    await kv.hit([{ key: 'hit', limit: 3, windowSeconds: 60 }])
    for (const key of ['set', 'add', 'swap', 'hit']) {
      const left = await redis.pttl(`kv:${key}`)
      expect(left).toBeGreaterThan(50_000)
      expect(left).toBeLessThanOrEqual(61_000)
    }
  })
})

describe('SQL only', () => {
  let database: Database
  const outside = AsyncLocalStorage.snapshot()
  beforeAll(async () => {
    database = await freshDatabase('postgres')
  })
  afterAll(() => database.close())

  it('hits that waited for a row count from what was committed meanwhile (A34)', async () => {
    const kv = createSqlKeyValue(database, systemClock)
    const hit = () => kv.hit([{ key: 'contended', limit: 10, windowSeconds: 60 }])
    const lockWaiters = async () => {
      const waiting = "wait_event_type = 'Lock' and datname = current_database()"
      return (await database.db.raw(`select 1 from pg_stat_activity where ${waiting}`)).rows.length
    }
    await hit()
    // The guard against root queries inside a transaction must see neither the hits nor the look at who waits as inside.
    const hits = await database.transaction(async (tx) => {
      await tx.raw("update key_values set value = '8' where key = 'contended'")
      const all = outside(() => Promise.all(Array.from({ length: 5 }, hit)))
      while ((await outside(lockWaiters)) < 5) await new Promise((resolve) => setTimeout(resolve, 5))
      return { all }
    })
    expect((await hits.all).filter(({ allowed }) => allowed)).toHaveLength(2)
  })

  it('purge takes no more than asked, oldest first, and counts them', async () => {
    await database.db('key_values').del()
    let time = Date.now()
    const clock: Clock = { now: () => new Date(time) }
    const kv = createSqlKeyValue(database, clock)
    for (const [key, ttl] of [
      ['second', 2],
      ['first', 1],
      ['live', 100],
    ] as const)
      await kv.set(key, 'x', ttl)
    time += 10_000
    expect(await kv.purge(clock.now(), 1)).toBe(1)
    expect(await database.db('key_values').orderBy('key').pluck('key')).toEqual(['live', 'second'])
    expect(await kv.purge(clock.now(), 10)).toBe(1)
    expect(await kv.purge(clock.now(), 10)).toBe(0)
  })

  it('a root query inside a transaction fails at once instead of waiting for itself', async () => {
    const kv = createSqlKeyValue(database, systemClock)
    await expect(database.transaction(() => kv.get('x'))).rejects.toThrow('inside a transaction')
    await expect(database.transaction(() => kv.hit([{ key: 'x', limit: 1, windowSeconds: 1 }]))).rejects.toThrow(
      'inside a transaction',
    )
  })
})

describe('keys and lifetimes', () => {
  it('stores short printable keys as they are and hashes the rest', () => {
    expect(storedKey('limit:ip:192.0.2.1')).toBe('limit:ip:192.0.2.1')
    expect(storedKey('a b')).toMatch(/^sha256:[\w-]{43}$/)
    expect(storedKey('x'.repeat(257))).toHaveLength(50)
  })

  it('keeps the hash tag of a key that it hashes', () => {
    expect(storedKey(`{sign_in}:id:${'x'.repeat(300)}`)).toMatch(/^\{sign_in\}sha256:[\w-]{43}$/)
    expect(storedKey(`{${'x'.repeat(300)}}`)).toMatch(/^sha256:[\w-]{43}$/)
  })

  // The examples of the Redis Cluster specification, "Hash tags".
  it.each([
    ['{user1000}.following', 'user1000'],
    ['foo{}{bar}', 'foo{}{bar}'],
    ['foo{{bar}}zap', '{bar'],
    ['foo{bar}{zap}', 'bar'],
    ['foo', 'foo'],
    ['foo{bar', 'foo{bar'],
  ])('finds the hash tag of %s', (key, tag) => expect(hashTagOf(key)).toBe(tag))

  it('rounds lifetimes up to a millisecond', () => {
    expect(expiryOf(new Date(1000), 0.0001).getTime()).toBe(1001)
  })
})
