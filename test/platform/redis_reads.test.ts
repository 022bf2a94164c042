/** Reads of one turn are one command, also for those who do not know of each other; in a cluster each is its own. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { readerOf } from '../../src/platform/redis_reads.ts'
import { whyRefused } from '../../src/platform/redis_refusal.ts'
import { readyRedis } from '../support/one_redis.ts'
import { type BreakableServer, startBreakable } from '../support/services.ts'

describe.each(['redis', 'redis_cluster'] as const)('reads of one turn from %s', (kind) => {
  let server: BreakableServer
  let redis: Awaited<ReturnType<typeof readyRedis>>
  beforeAll(async () => {
    server = await startBreakable(kind)
    redis = await readyRedis(server.url)
  }, 60_000)
  afterAll(async () => {
    redis?.disconnect()
    await server?.stop()
  })

  const commands = async () => {
    const stats = await redis.info('commandstats')
    return [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
  }

  it('are answered in their order', async () => {
    const keys = Array.from({ length: 250 }, (_, index) => `read:${index}`)
    for (const key of keys.slice(0, 200)) await redis.set(key, `value of ${key}`)
    await readerOf(redis)('read:0')
    await Promise.all(['read:0', 'read:1'].map(readerOf(redis)))
    const before = await commands()
    const found = await Promise.all(keys.map(readerOf(redis)))
    expect(found.map(({ value }) => value)).toEqual(keys.map((key, at) => (at < 200 ? `value of ${key}` : null)))
    expect(new Set(found.map(({ history }) => history))).toHaveProperty('size', 1)
    expect(found[0]?.history).toMatch(/^[0-9a-f]{12}$/)
    expect((await commands()) - before).toBe(kind === 'redis' ? 3 : 250)
  })

  it('fail together when Redis is away', async () => {
    await server.kill()
    const ends = await Promise.allSettled(['read:1', 'read:2'].map(readerOf(redis)))
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await server.start()
  })
})

it('what Redis says before it closes a connection is heard', async () => {
  const server = await startBreakable('redis')
  const { hostname: host, port } = new URL(server.url)
  const place = { host, port: Number(port) }
  const control = await readyRedis(server.url)
  try {
    await control.config('SET', 'maxclients', '1')
    expect(await whyRefused(place)).toBe('ERR max number of clients reached')
    await control.config('SET', 'maxclients', '100')
    expect(await whyRefused(place)).toBeUndefined()
  } finally {
    control.disconnect()
    await server.stop()
  }
  expect(await whyRefused(place)).toBeUndefined()
}, 30_000)
