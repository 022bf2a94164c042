import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRedisOidcStore } from '../../../src/oidc/adapter/redis_store.ts'
import { createSqlOidcStore } from '../../../src/oidc/adapter/sql_store.ts'
import type { OidcStore } from '../../../src/oidc/adapter/store.ts'
import type { RedisClient } from '../../../src/platform/redis.ts'
import { describeOidcAdapter, type StoreUnderTest } from '../../contracts/oidc_adapter.ts'
import { oneRedis } from '../../support/one_redis.ts'
import { freshDatabase, startRedis } from '../../support/services.ts'

describeOidcAdapter('Redis', async (): Promise<StoreUnderTest> => {
  const { url } = await startRedis()
  const [redis, other] = [oneRedis(url), oneRedis(url)]
  await Promise.all([redis, other].map((each) => once(each, 'ready')))
  return {
    store: createRedisOidcStore(redis),
    elsewhere: slowly(other),
    pass: (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000)),
    dump: async () => {
      const keys = await redis.keys('*')
      return keys.length === 0 ? '' : JSON.stringify([keys, await redis.mget(keys)])
    },
    count: () => redis.dbsize(),
    close: async () => {
      for (const each of [redis, other]) each.disconnect()
    },
  }
})

/** What others write between two of its reads is written between them. */
function slowly(redis: RedisClient): OidcStore {
  const store = createRedisOidcStore(redis)
  const scripts = redis as unknown as { genkanRead(...of: unknown[]): Promise<unknown> }
  const read = scripts.genkanRead.bind(redis)
  scripts.genkanRead = async (...of) => {
    const answer = await read(...of)
    await sleep(2)
    return answer
  }
  return store
}

for (const kind of ['embedded', 'postgres'] as const) {
  describeOidcAdapter(kind === 'embedded' ? 'PGlite' : 'PostgreSQL', async (): Promise<StoreUnderTest> => {
    const database = await freshDatabase(kind)
    let shift = 0
    return {
      store: createSqlOidcStore(database, () => new Date(Date.now() + shift)),
      elsewhere: createSqlOidcStore(database, () => new Date(Date.now() + shift)),
      pass: async (seconds) => {
        shift += seconds * 1000
      },
      dump: async () => JSON.stringify(await database.db('oidc_state').select()),
      count: async () => Number((await database.db('oidc_state').count({ n: '*' }))[0]?.n),
      close: () => database.close(),
    }
  })
}
