/** Migrations that several instances begin at once (F23), and that are killed in the middle (F24): one schema, and no half of it. */
import { readFileSync } from 'node:fs'
import { afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals'
import { type Database, openDatabase } from '../../src/platform/postgres.ts'
import { until } from '../support/processes.ts'
import { DEEP, generator, SEED, sampleTitle } from '../support/sample.ts'
import { MIGRATIONS, migrateFirst, schemaOf } from '../support/schema.ts'
import { type Server, startServer } from '../support/server.ts'
import { startPostgres, startRedis } from '../support/services.ts'
import { holdLock } from '../support/target.ts'

// Processes that start one after the other take their time on a busy machine.
jest.setTimeout(180_000)

const GOLDEN = readFileSync(new URL('../golden/schema.txt', import.meta.url), 'utf8')
const LAST = MIGRATIONS.length - 1
const random = generator(SEED)
/** How many migrations the version before had run: none, all but the last, and any number. */
const before = (times: number) =>
  Array.from({ length: times }, (_, i) => [0, LAST][i] ?? 1 + Math.floor(random() * (LAST - 1)))

let database: Database
let databaseUrl: string
let redisUrl: string
let servers: Server[] = []

beforeAll(async () => {
  redisUrl = (await startRedis()).url
})
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()))
  servers = []
  await database?.close()
})

async function databaseAfter(count: number): Promise<void> {
  databaseUrl = await (await startPostgres()).createDatabase()
  database = await openDatabase({ databaseUrl })
  if (count > 0) await migrateFirst(database, count)
}

const applied = async () => {
  const { rows } = await database.db.raw('select name, xmin::text as transaction from migrations order by name')
  return rows as { readonly name: string; readonly transaction: string }[]
}

describe(sampleTitle('F23: two instances that start at once'), () => {
  it.each(before(DEEP ? 20 : 3))('after %i migrations: one migrates, both serve, one schema', async (count) => {
    await databaseAfter(count)
    const stores = { databaseUrl, redisUrl }
    servers = await Promise.all([startServer({ stores }), startServer({ stores })])
    const rows = await applied()
    expect(rows.map(({ name }) => `${name}.ts`)).toEqual(MIGRATIONS)
    expect(new Set(rows.slice(count).map(({ transaction }) => transaction)).size).toBe(1)
    expect(await schemaOf(database)).toBe(GOLDEN)
    const keys = await Promise.all(servers.map(async ({ origin }) => (await fetch(`${origin}/jwks`)).text()))
    expect(keys[0]).toBe(keys[1])
  })
})

describe(sampleTitle('F24: a migration that is killed'), () => {
  // Of the first four, the second makes the accounts; tables of later ones refer to them, and wait for whoever holds them. The
  // last ten need not.
  const counts = before(DEEP ? 20 : 3).map((count) => Math.max(4, Math.min(count, LAST - 10)))

  it.each(counts)(
    'in the middle, after %i migrations: nothing of it is left, the next one completes it',
    async (count) => {
      await databaseAfter(count)
      const [schema, rows] = [await schemaOf(database), await applied()]
      const letGo = await holdLock(databaseUrl, 'lock table accounts in access exclusive mode')
      const migrating = await startServer({ stores: { databaseUrl, redisUrl }, command: ['migrate'], wait: false })
      servers.push(migrating)
      await until(async () => (await waiting()) === 1)
      await migrating.kill()
      await letGo()
      await until(async () => (await others()) === 0)
      expect([await schemaOf(database), await applied()]).toEqual([schema, rows])

      const again = await migrating.run('migrate')
      expect([again.code, again.stderr]).toEqual([0, ''])
      expect(await schemaOf(database)).toBe(GOLDEN)
      expect((await applied()).map(({ name }) => `${name}.ts`)).toEqual(MIGRATIONS)
    },
  )
})

const counted = async (condition: string): Promise<number> => {
  const { rows } = await database.db.raw(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and ${condition}`,
  )
  return rows[0].count
}
/** Connections that wait for a lock in a transaction that has already changed the schema. */
const waiting = () => counted("wait_event_type = 'Lock' and backend_xid is not null")
const others = () => counted('xact_start is not null')
