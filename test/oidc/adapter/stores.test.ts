import { createRedisOidcStore } from '../../../src/oidc/adapter/redis_store.ts'
import { createSqlOidcStore } from '../../../src/oidc/adapter/sql_store.ts'
import { describeOidcAdapter, type StoreUnderTest } from '../../contracts/oidc_adapter.ts'
import { oneRedis } from '../../support/one_redis.ts'
import { freshDatabase, startRedis } from '../../support/services.ts'

describeOidcAdapter('Redis', async (): Promise<StoreUnderTest> => {
  const { url } = await startRedis()
  const redis = oneRedis(url)
  await new Promise((resolve) => redis.once('ready', resolve))
  return {
    store: createRedisOidcStore(redis),
    pass: (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000)),
    dump: async () => {
      const keys = await redis.keys('*')
      return keys.length === 0 ? '' : JSON.stringify([keys, await redis.mget(keys)])
    },
    count: () => redis.dbsize(),
    close: async () => redis.disconnect(),
  }
})

for (const kind of ['embedded', 'postgres'] as const) {
  describeOidcAdapter(kind === 'embedded' ? 'PGlite' : 'PostgreSQL', async (): Promise<StoreUnderTest> => {
    const database = await freshDatabase(kind)
    let shift = 0
    return {
      store: createSqlOidcStore(database, () => new Date(Date.now() + shift)),
      pass: async (seconds) => {
        shift += seconds * 1000
      },
      dump: async () => JSON.stringify(await database.db('oidc_state').select()),
      count: async () => Number((await database.db('oidc_state').count({ n: '*' }))[0]?.n),
      close: () => database.close(),
    }
  })
}
