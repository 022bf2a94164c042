import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from '@jest/globals'
import { pendingMigrations } from '../../src/platform/migrate.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { oneRedis } from './one_redis.ts'
import { freePorts, freshDatabase, startBreakable, startPostgres, startRedis } from './services.ts'

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
  const client = () => oneRedis(server.url)
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

it('a row of ports is nobody else’s', async () => {
  const [one, other, single] = await Promise.all([freePorts(5), freePorts(5), freePorts(1)])
  expect(Math.abs(one - other)).toBeGreaterThanOrEqual(5)
  expect([one, other].filter((first) => single >= first && single < first + 5)).toEqual([])
})

it('a test process that dies with an answer unread takes nobody else’s servers with it', async () => {
  const dying = connect(process.env.GENKAN_TEST_SERVICES ?? '')
  dying.pause()
  await new Promise<void>((resolve) => dying.write('{"id":1,"operation":"memory","argument":""}\n', () => resolve()))
  // Closing with data unread is what resets a Unix socket.
  await sleep(200)
  dying.destroy()
  await sleep(200)
  await expect(freePorts(1)).resolves.toBeGreaterThan(0)
})

it('a run that is killed leaves no server, no process and no folder', async () => {
  const script = `
    import { spawn } from 'node:child_process'
    import { entrust, scratchFolder, startBreakable, startPostgres, startRedis } from ${JSON.stringify(import.meta.resolve('./services.ts'))}
    const child = spawn('sleep', ['600'], { stdio: 'ignore', detached: true })
    await entrust(child.pid)
    const { url } = await startBreakable('redis')
    await Promise.all([startPostgres(), startRedis()])
    const scratch = await scratchFolder('left-')
    console.log(JSON.stringify({ pid: child.pid, socket: process.env.GENKAN_TEST_SERVICES, url, scratch }))
    setInterval(() => {}, 1000)`
  const { GENKAN_TEST_SERVICES: _, NODE_OPTIONS: __, ...env } = process.env
  const run = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const line = await new Promise<string>((resolve) => run.stdout.once('data', (data) => resolve(String(data))))
  const { pid, socket, url, scratch } = JSON.parse(line) as Record<'socket' | 'url' | 'scratch', string> & {
    pid: number
  }
  expect(alive(pid)).toBe(true)
  expect([existsSync(socket), existsSync(scratch)]).toEqual([true, true])
  run.kill('SIGKILL')
  for (let tries = 100; tries > 0 && (alive(pid) || existsSync(dirname(socket))); tries--) await sleep(50)
  const left = [alive(pid), existsSync(dirname(socket)), existsSync(scratch)]
  expect(left).toEqual([false, false, false])
  const redis = oneRedis(url)
  await expect(new Promise((_resolve, reject) => redis.once('error', reject))).rejects.toThrow(/ECONNREFUSED/)
  redis.disconnect()
})

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
