import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { migrate, pendingMigrations } from '../../src/platform/migrate.ts'
import {
  type Database,
  databaseReadOnly,
  databaseUnavailable,
  openDatabase,
  type Tx,
  uniqueViolation,
} from '../../src/platform/postgres.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault_proxy.ts'
import { freshDatabase, freshDatabaseUrl, layDatabase, startPostgres } from '../support/services.ts'

describe.each(['embedded', 'postgres'] as const)('%s', (kind) => {
  let database: Database
  beforeAll(async () => {
    database = await freshDatabase(kind)
    await database.db.raw('create table things (id text primary key)')
  })
  afterAll(() => database.close())

  it('commits what resolves and rolls back what throws', async () => {
    await database.transaction(async (tx) => tx('things').insert({ id: 'kept' }))
    const failed = database.transaction(async (tx) => {
      await tx('things').insert({ id: 'lost' })
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    expect(await database.db('things').select()).toEqual([{ id: 'kept' }])
  })

  it('refuses a root query inside a transaction at once, instead of waiting for itself', async () => {
    const wrong = database.transaction(async () => database.db('things').select())
    await expect(wrong).rejects.toThrow('root query inside a transaction')
    expect(await database.db('things').select()).toHaveLength(1)
  })

  it('tells a unique violation from other errors', async () => {
    const twice = await database
      .db('things')
      .insert({ id: 'kept' })
      .catch((error: unknown) => error)
    expect([uniqueViolation(twice), databaseUnavailable(twice)]).toEqual([true, false])
    const wrong = await database
      .db('nothing')
      .select()
      .catch((error: unknown) => error)
    expect([uniqueViolation(wrong), databaseUnavailable(wrong)]).toEqual([false, false])
  })

  it('has nothing left to migrate', async () => {
    expect(await pendingMigrations(database)).toEqual([])
    expect((await migrate(database)).applied).toEqual([])
  })

  it('leaves nothing behind when a migration fails half-way', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'genkan-migrations-'))
    writeFileSync(
      join(directory, '202601010000_a_create_b.js'),
      "export const up = (db) => db.raw('create table half (id text)').then(() => { throw new Error('killed') })",
    )
    await expect(migrate(database, { directory })).rejects.toThrow('killed')
    expect(await database.db.schema.hasTable('half')).toBe(false)
    expect(await pendingMigrations(database, directory)).toEqual(['202601010000_a_create_b'])
  })
})

describe('openDatabase', () => {
  it('keeps embedded data over a close, and dumps and loads it', async () => {
    const dataDir = join(mkdtempSync(join(tmpdir(), 'genkan-db-')), 'data')
    await layDatabase(dataDir)
    const first = await openDatabase({ dataDir })
    await first.db.raw("create table kept as select 'x' as id")
    const archive = await first.dump()
    await first.close()
    const second = await openDatabase({ dataDir })
    expect(await second.db('kept').select()).toEqual([{ id: 'x' }])
    await second.close()
    const loaded = await openDatabase({ loadFrom: archive })
    expect(await loaded.db('kept').select()).toEqual([{ id: 'x' }])
    await loaded.close()
  })

  it('recognises a database that is away', async () => {
    const { url } = await startPostgres()
    const away = await openDatabase({ databaseUrl: url.replace(/:\d+\//, ':1/') })
    const error = await away.ping().catch((reason: unknown) => reason)
    expect(databaseUnavailable(error)).toBe(true)
    await away.close()
  })
})

/** Each of these was a 500 for somebody once: a store that is away or busy is a 503. */
describe('databaseUnavailable', () => {
  let proxy: FaultProxy
  let database: Database
  beforeEach(async () => {
    proxy = await startFaultProxy(await freshDatabaseUrl())
    database = await openDatabase({ databaseUrl: proxy.url })
  })
  afterEach(async () => {
    proxy.set({ kind: 'none' })
    await database.close()
    await proxy.stop()
  })
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => 'it did not fail',
      (error: unknown) => error,
    )

  it('is true when connections do not come up in time, for all who wait', async () => {
    proxy.set({ kind: 'blackhole' })
    const errors = await Promise.all([
      ...Array.from({ length: 30 }, () => failure(database.ping())),
      failure(database.transaction((tx) => tx('outbox').select())),
    ])
    // Pool and driver give up in words of their own; which of them is first is a matter of luck.
    expect(errors.filter((error) => !databaseUnavailable(error))).toEqual([])
  })

  it.each([
    ['in the middle', async (tx: Tx) => tx('outbox').select()],
    ['before the commit', async () => {}],
  ])('is true when the connection of a transaction breaks %s', async (_, then) => {
    const broken = database.transaction(async (tx) => {
      await tx('outbox').select()
      proxy.set({ kind: 'reset' })
      await new Promise((resolve) => setTimeout(resolve, 50))
      await then(tx)
    })
    expect(databaseUnavailable(await failure(broken))).toBe(true)
  })

  it('is true when a statement takes longer than it may', async () => {
    const slow = database.transaction(async (tx) => {
      await tx.raw('set local statement_timeout = 50')
      await tx.raw('select pg_sleep(10)')
    })
    expect(databaseUnavailable(await failure(slow))).toBe(true)
  })

  it('is true when all connections are taken', async () => {
    const narrow = await openDatabase({ databaseUrl: proxy.url, pool: 1 })
    const slow = failure(narrow.db.raw('select pg_sleep(3)'))
    expect(databaseUnavailable(await failure(narrow.ping()))).toBe(true)
    await slow
    await narrow.close()
  })

  it('is true at once for who would wait behind too many others', async () => {
    const narrow = await openDatabase({ databaseUrl: proxy.url, pool: 1 })
    const slow = failure(narrow.db.raw('select pg_sleep(1)'))
    const waiting = Array.from({ length: 25 }, () => failure(narrow.ping()))
    const started = performance.now()
    expect(databaseUnavailable(await Promise.race(waiting))).toBe(true)
    expect(performance.now() - started).toBeLessThan(500)
    await Promise.all([slow, ...waiting])
    expect(await failure(narrow.ping())).toBe('it did not fail')
    await narrow.close()
  })

  it('is true when a lock is held for too long, sooner than a statement may take', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const locked = Promise.withResolvers<void>()
    const holder = database.transaction(async (tx) => {
      await tx.raw('lock table outbox in access exclusive mode')
      locked.resolve()
      await promise
    })
    await locked.promise
    const started = performance.now()
    const error = await failure(database.db('outbox').select())
    expect([databaseUnavailable(error), (error as { code?: string }).code]).toEqual([true, '55P03'])
    expect(performance.now() - started).toBeLessThan(2900)
    resolve()
    await holder
  })

  it('gives a connection up that does not answer: its roll-back does not wait behind it', async () => {
    const started = performance.now()
    const silent = database.transaction(async (tx) => {
      await tx('outbox').select()
      proxy.set({ kind: 'blackhole' })
      await tx('outbox').select()
    })
    expect(databaseUnavailable(await failure(silent))).toBe(true)
    expect(performance.now() - started).toBeLessThan(4500)
    proxy.set({ kind: 'none' })
    expect(await failure(database.ping())).toBe('it did not fail')
  })

  it('keeps a connection whose answer came while the process stood still', async () => {
    const direct = await openDatabase({ databaseUrl: await freshDatabaseUrl(), pool: 1 })
    const pid = async () => (await direct.db.raw('select pg_backend_pid() as pid')).rows[0].pid as number
    const before = await pid()
    const slow = failure(direct.db.raw('select pg_sleep(0.2)'))
    // It is sent by then, and answered in what follows, after which the loop comes to its timers first.
    await sleep(50)
    await new Promise((resolve) => setImmediate(resolve))
    const until = performance.now() + 3600
    while (performance.now() < until);
    expect(await slow).toBe('it did not fail')
    expect(await pid()).toBe(before)
    await direct.close()
  })

  it('lets a transaction take long that says so, and the next on its connection no longer than others', async () => {
    const narrow = await openDatabase({ databaseUrl: proxy.url, pool: 1 })
    const long = narrow.transaction(async (tx) => {
      await tx.raw('set local statement_timeout = 0')
      await tx.raw('select pg_sleep(4)')
    })
    expect(await failure(long)).toBe('it did not fail')
    proxy.set({ kind: 'blackhole' })
    expect(databaseUnavailable(await failure(narrow.ping()))).toBe(true)
    proxy.set({ kind: 'none' })
    await narrow.close()
  }, 20_000)

  it('tells a database that takes no changes for now', async () => {
    const refused = database.transaction(async (tx) => {
      await tx.raw('set transaction read only')
      await tx.raw('create table never (id text)')
    })
    const error = await failure(refused)
    expect([databaseReadOnly(error), databaseUnavailable(error)]).toEqual([true, true])
  })
})

describe("transactions that stand in each other's way", () => {
  it('are done again, one after the other', async () => {
    const database = await openDatabase({ databaseUrl: await freshDatabaseUrl() })
    await database.db.raw('create table counters (id text primary key, count integer not null)')
    await database.db('counters').insert(['a', 'b'].map((id) => ({ id, count: 0 })))
    const cross = (first: string, second: string) =>
      database.transaction(async (tx) => {
        await tx('counters').where({ id: first }).increment('count', 1)
        await new Promise((resolve) => setTimeout(resolve, 100))
        await tx('counters').where({ id: second }).increment('count', 1)
      })
    await Promise.all([cross('a', 'b'), cross('b', 'a')])
    expect(await database.db('counters').orderBy('id').pluck('count')).toEqual([2, 2])
    await database.close()
  })

  it('are given up after three tries, and then it is the database that is busy', async () => {
    const database = await openDatabase({ databaseUrl: await freshDatabaseUrl() })
    let tries = 0
    const never = database.transaction(async (tx) => {
      tries += 1
      await tx.raw("do $$ begin raise exception 'no' using errcode = '40001'; end $$")
    })
    const error = await never.catch((reason: unknown) => reason)
    expect([databaseUnavailable(error), tries]).toEqual([true, 3])
    await database.close()
  })
})
