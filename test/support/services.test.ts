import { afterAll, describe, expect, it } from '@jest/globals'
import { pendingMigrations } from '../../src/platform/migrate.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { openRedis } from '../../src/platform/redis.ts'
import { freshDatabase, startBreakable, startPostgres, startRedis } from './services.ts'

const open: Database[] = []
afterAll(() => Promise.all(open.map((database) => database.close())))

describe.each(['embedded', 'postgres'] as const)('freshDatabase(%s)', (kind) => {
  it('is migrated and empty, and two of them share nothing', async () => {
    const [one, other] = await Promise.all([freshDatabase(kind), freshDatabase(kind)])
    open.push(one, other)
    expect(await pendingMigrations(one)).toEqual([])
    await one.db.raw("insert into key_values (key, value, expires_at) values ('k', 'v', now())")
    expect(await one.db('key_values')).toHaveLength(1)
    expect(await other.db('key_values')).toHaveLength(0)
  })
})

it('startPostgres gives empty databases', async () => {
  const postgres = await startPostgres()
  const [one, other] = await Promise.all([postgres.createDatabase(), postgres.createDatabase()])
  expect(one).not.toBe(other)
})

it('startRedis gives each caller a keyspace of its own', async () => {
  const [one, other] = await Promise.all([startRedis(), startRedis()])
  expect(one.url).not.toBe(other.url)
})

it('a breakable server stops answering and comes back with its data', async () => {
  const server = await startBreakable('redis')
  const client = () => openRedis(server.url)
  const first = client()
  await new Promise((resolve) => first.once('ready', resolve))
  await first.set('kept', 'yes')
  await server.kill()
  await expect(first.get('kept')).rejects.toThrow()
  await server.start()
  const second = client()
  await new Promise((resolve) => second.once('ready', resolve))
  expect(await second.get('kept')).toBe('yes')
  first.disconnect()
  second.disconnect()
})
