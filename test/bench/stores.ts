/** The stores of a measured Genkan: a migrated database with accounts whose password is known, and a Redis of its own. */
import { randomBytes } from 'node:crypto'
import argon2 from 'argon2'
import { Redis } from 'ioredis'
import pg from 'pg'
import { openDatabase } from '../../src/platform/postgres.ts'
import { accountColumns, databaseKeys } from '../support/personal_columns.ts'
import { freshDatabaseUrl, startRedis } from '../support/services.ts'
import { PASSWORD } from './flows.ts'
import { parentOf } from './processes.ts'

export interface HashParameters {
  readonly memoryKib: number
  readonly passes: number
}
/** The product's default, and the cheapest that it accepts. */
export const DEFAULT_HASH: HashParameters = { memoryKib: 19_456, passes: 2 }
export const CHEAP_HASH: HashParameters = { memoryKib: 7168, passes: 1 }

export interface Stores {
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly secretKey: Buffer
  readonly hash: HashParameters
  /** Of the accounts that can sign in. */
  readonly addresses: readonly string[]
  /** Of the store servers, when they run on this machine. */
  readonly pids: readonly number[]
}

export async function createStores({ accounts = 3000, hash = DEFAULT_HASH } = {}): Promise<Stores> {
  const databaseUrl = await freshDatabaseUrl()
  const redisUrl = (await startRedis()).url
  const secretKey = randomBytes(32)
  await createAccounts(databaseUrl, secretKey, accounts, hash)
  const addresses = Array.from({ length: accounts }, (_, i) => `person${i + 1}@bench.example`)
  const pids = await storePids(databaseUrl, redisUrl)
  return { databaseUrl, redisUrl, secretKey, hash, addresses, pids }
}

/** Runs `work` with one connection to each store. */
export async function withStores<T>(
  { databaseUrl, redisUrl }: Pick<Stores, 'databaseUrl' | 'redisUrl'>,
  work: (sql: pg.Client, redis: Redis) => Promise<T>,
): Promise<T> {
  const redis = new Redis(redisUrl)
  const sql = new pg.Client({ connectionString: databaseUrl })
  await sql.connect()
  try {
    return await work(sql, redis)
  } finally {
    redis.disconnect()
    await sql.end()
  }
}

/** PostgreSQL's first process and Redis; none when they are not of this machine, as with `DATABASE_URL`. */
async function storePids(databaseUrl: string, redisUrl: string): Promise<number[]> {
  return withStores({ databaseUrl, redisUrl }, async (sql, redis) => {
    const { rows } = await sql.query<{ pid: number }>('select pg_backend_pid() as pid')
    const redisPid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1])
    try {
      return [parentOf(rows[0]?.pid ?? 0), parentOf(redisPid) > 0 ? redisPid : 0].filter((pid) => pid > 0)
    } catch {
      return []
    }
  })
}

/** Proven accounts, straight into the tables: registering thousands would take longer than measuring. */
async function createAccounts(
  databaseUrl: string,
  secretKey: Buffer,
  count: number,
  { memoryKib, passes }: HashParameters,
): Promise<void> {
  const hash = await argon2.hash(PASSWORD, { memoryCost: memoryKib, timeCost: passes, parallelism: 1 })
  const database = await openDatabase({ databaseUrl })
  try {
    const box = await (await databaseKeys(database, [secretKey])).box()
    const rows = Array.from({ length: count }, (_, i) => {
      const [id, email] = [`bench${i + 1}`, `person${i + 1}@bench.example`]
      return { id, ...accountColumns(id, email, { name: 'Somebody' }, box) }
    })
    await database.db.raw(
      `insert into accounts (id, email_hash, sealed_personal, email_verified_at, state, created_at, updated_at)
       select id, email_hash, sealed_personal, now(), 'active', now(), now()
       from jsonb_to_recordset(?::jsonb) as r(id text, email_hash text, sealed_personal text)`,
      [JSON.stringify(rows)],
    )
    await database.db.raw('insert into passwords (account_id, hash, changed_at) select id, ?, now() from accounts', [
      hash,
    ])
    await database.db.raw('analyze')
  } finally {
    await database.close()
  }
}
