/** Redis answers and writes nothing (F09): what was ended meanwhile stays ended, also when it writes again. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRedisOidcStore } from '../../src/oidc/adapter/redis_store.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLocalInvalidation } from '../../src/platform/invalidation.ts'
import { createRedisKeyValue } from '../../src/platform/key_value_redis.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { refusesWrites } from '../../src/platform/redis.ts'
import { createUntakenEnds, type UntakenEnds } from '../../src/platform/untaken_ends.ts'
import { readyRedis } from '../support/one_redis.ts'
import { until } from '../support/processes.ts'
import { type BreakableServer, freshDatabase, startBreakable } from '../support/services.ts'

describe.each(['embedded', 'postgres'] as const)('ends that Redis does not take, on %s', (kind) => {
  let server: BreakableServer
  let database: Database
  let redis: Awaited<ReturnType<typeof readyRedis>>
  let other: typeof redis
  let ends: UntakenEnds
  const kept = async () => (await database.db.raw<{ rows: unknown[] }>('select key from untaken_ends')).rows.length

  beforeAll(async () => {
    server = await startBreakable('redis')
    database = await freshDatabase(kind)
    redis = await readyRedis(server.url)
    other = await readyRedis(server.url)
    // Two instances hear each other.
    const invalidation = createLocalInvalidation()
    ends = createUntakenEnds({ database, redis, invalidation, clock: systemClock })
    createUntakenEnds({ database, redis: other, invalidation, clock: systemClock })
  }, 60_000)
  afterAll(async () => {
    redis?.disconnect()
    other?.disconnect()
    await database?.close()
    await server?.stop()
  })

  it('are kept, doubted by everybody, and applied as soon as it writes again', async () => {
    const store = createRedisOidcStore(redis, ends)
    const beside = createRedisOidcStore(other)
    await store.save('Grant', 'grant', { accountId: 'ann' }, 600)
    await store.save('Session', 'session', { uid: 'uid', accountId: 'ann' }, 600)
    await store.save('Interaction', 'interaction', { kind: 'Interaction' }, 600)
    const states = createRedisKeyValue(redis, systemClock, ends)
    await states.add('account:ann', 'active', 600)
    await redis.config('SET', 'min-replicas-to-write', '1')

    await store.destroy('Grant', 'grant')
    await store.destroySession('uid')
    await expect(store.destroy('Interaction', 'interaction')).rejects.toThrow('NOREPLICAS')
    expect(await states.get('account:ann')).toBeUndefined()
    expect(await states.swap('account:ann', 0, 'disabled', 600)).toBe(false)
    await expect(states.swap('account:ann', 1, 'disabled', 600)).rejects.toThrow('NOREPLICAS')
    expect(await kept()).toBe(4)
    for (const each of [store, beside]) {
      expect(await each.find('Grant', 'grant')).toMatchObject({ doubtful: true })
      expect(await each.findByUid('uid')).toMatchObject({ doubtful: true })
    }
    await ends.apply()
    expect(await kept()).toBe(4)

    await redis.config('SET', 'min-replicas-to-write', '0')
    await until(async () => (await kept()) === 0)
    expect(await beside.find('Grant', 'grant')).toBeUndefined()
    expect(await beside.findByUid('uid')).toBeUndefined()
    expect(await store.find('Session', 'session')).toBeUndefined()
    expect(await createRedisKeyValue(other).get('account:ann')).toBeUndefined()
    await until(async () => !refusesWrites(redis) && !refusesWrites(other))
    expect(await store.find('Interaction', 'interaction')).not.toHaveProperty('doubtful')
  }, 30_000)
})
