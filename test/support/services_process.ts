/**
 * The one process that owns every server of a test run. It starts them when first asked, and ends with them when its
 * standard input closes: that happens when the test run ends, fails, is interrupted or is killed, so nothing stays behind.
 * What a connection started or entrusted dies with that connection.
 */
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Redis } from 'ioredis'
import pg from 'pg'
import { migrate } from '../../src/platform/migrate.ts'
import { openDatabase } from '../../src/platform/postgres.ts'
import { unpackSnapshot } from './embedded_snapshot.ts'
import { oneRedis } from './one_redis.ts'
import { freePorts } from './ports.ts'
import {
  createPostgresServer,
  createRedisClusterServer,
  createRedisServer,
  type PrivateServer,
} from './private_servers.ts'
import { createRedisCluster, createSentinelSet, GROUP_PORTS } from './redis_groups.ts'
import { createHosts } from './server_hosts.ts'

const folder = process.argv[2] ?? ''
const memory = memoryFolder()
const hosts = createHosts(folder)
const external = { postgres: process.env.DATABASE_URL, redis: process.env.REDIS_URL }

const servers = new Map<string, PrivateServer>()
const createdDatabases: string[] = []
const once = new Map<string, Promise<string>>()
let count = 0

/** Runs `work` for the first caller; the others get the same answer. */
function shared(key: string, work: () => Promise<string>): Promise<string> {
  const known = once.get(key)
  if (known !== undefined) return known
  const answer = work()
  once.set(key, answer)
  return answer
}

const operations: { readonly [name: string]: (argument: string, owner: Owner) => Promise<string> } = {
  ports: async (count) => String(await freePorts(Number(count))),
  postgres: () => postgres(),
  redis: (_, owner) => redisDatabase(owner),
  database: (template) => createDatabase(template === '' ? undefined : template),
  template: () => shared('template', migratedTemplate),
  memory: async () => memory,
  folder: () => shared('folder', () => unpackSnapshot(memory)),
  own: async (kind, owner) => {
    const { id, url } = await own(kind)
    owner.servers.add(id)
    return JSON.stringify({ id, url })
  },
  group: (kind, owner) => group(kind, owner),
  ...controls({
    start: (server) => server.start(),
    stop: (server) => server.stop(),
    kill: (server) => server.stop('kill'),
    pause: async (server) => server.signal('SIGSTOP'),
    resume: async (server) => server.signal('SIGCONT'),
  }),
  warm: async () => {
    await hosts.warm()
    return ''
  },
  host: async (_, owner) => {
    const host = await hosts.borrow()
    owner.pids.add(host.pid)
    return JSON.stringify(host)
  },
  host_back: async (pid, owner) => {
    owner.pids.delete(Number(pid))
    hosts.giveBack(Number(pid))
    return ''
  },
  adopt: async (pid, owner) => {
    owner.pids.add(Number(pid))
    return ''
  },
  release: async (pid, owner) => {
    owner.pids.delete(Number(pid))
    return ''
  },
}

function controls(acts: { readonly [name: string]: (server: PrivateServer) => Promise<void> }): typeof operations {
  const told = Object.entries(acts).map(([name, act]) => [name, (id: string) => act(server(id)).then(() => '')])
  return Object.fromEntries(told)
}

interface Owner {
  readonly servers: Set<string>
  readonly pids: Set<number>
  readonly redis: Set<string>
}

function server(id: string): PrivateServer {
  const found = servers.get(id)
  if (found === undefined) throw new Error(`no server ${id}`)
  return found
}

/** What was committed outlives the process, as in production. */
const LASTING = { synchronous_commit: 'on' } as const

const CREATE: { readonly [kind: string]: (folder: string, port: number) => Promise<PrivateServer> } = {
  postgres: createPostgresServer,
  postgres_lasting: (folder, port) => createPostgresServer(folder, port, LASTING),
  postgres_narrow: (folder, port) => createPostgresServer(folder, port, { ...LASTING, max_connections: 12 }),
  redis: createRedisServer,
  redis_cluster: createRedisClusterServer,
}

async function own(kind: string): Promise<{ id: string; url: string }> {
  const id = `${kind}-${++count}`
  const create = CREATE[kind] ?? createRedisServer
  const created = await create(join(folder, id), await freePorts(kind === 'redis_cluster' ? 2 : 1))
  servers.set(id, created)
  await created.start()
  return { id, url: created.url }
}

/** Sentinels and nodes of a cluster; each can be stopped, killed and paused by itself. */
async function group(kind: string, owner: Owner): Promise<string> {
  const name = `${kind}-${++count}`
  const create = kind === 'redis_nodes' ? createRedisCluster : createSentinelSet
  const created = await create(join(folder, name), await freePorts(GROUP_PORTS[kind] ?? 0))
  const named = (list: readonly PrivateServer[], role: string) =>
    list.map((each, index) => {
      const id = `${name}-${role}-${index}`
      servers.set(id, each)
      owner.servers.add(id)
      return { id, url: each.url }
    })
  named(created.others, 'other')
  return JSON.stringify({ url: created.url, nodes: named(created.nodes, 'node') })
}

/** A Redis database number of one's own. A Redis from outside may hold somebody's data: only empty numbers are taken. */
async function redisDatabase(owner: Owner): Promise<string> {
  if (external.redis !== undefined) {
    const free = await claimRedis(external.redis, owner)
    if (free !== undefined) return free
  }
  const url = new URL(await shared('redis', async () => (await own('redis')).url))
  url.pathname = `/${++count}`
  return url.href
}

/** Only what was found empty: these are emptied again. */
const claimed = new Map<string, Redis>()

async function claimRedis(base: string, owner: Owner): Promise<string | undefined> {
  for (let number = 1; number <= 15; number++) {
    const url = new URL(base)
    url.pathname = `/${number}`
    if (claimed.has(url.href)) continue
    const redis = oneRedis(url.href)
    await new Promise((resolve) => redis.once('ready', resolve))
    if ((await redis.dbsize()) === 0 && (await redis.set('genkan:tests', process.pid, 'EX', 3600, 'NX')) === 'OK') {
      claimed.set(url.href, redis)
      owner.redis.add(url.href)
      return url.href
    }
    redis.disconnect()
  }
  return undefined
}

async function releaseRedis(url: string): Promise<void> {
  await claimed.get(url)?.flushdb()
  claimed.get(url)?.disconnect()
  claimed.delete(url)
}

function postgres(): Promise<string> {
  return shared('postgres', async () => external.postgres ?? (await own('postgres')).url)
}

async function createDatabase(template?: string): Promise<string> {
  const url = new URL(await postgres())
  const name = `genkan_test_${process.pid}_${++count}`
  await administer(`create database ${name}${template === undefined ? '' : ` template ${template}`}`)
  createdDatabases.push(name)
  url.pathname = `/${name}`
  return url.href
}

async function administer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: await postgres() })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}

async function migratedTemplate(): Promise<string> {
  const databaseUrl = await createDatabase()
  const database = await openDatabase({ databaseUrl })
  await migrate(database)
  await database.close()
  return new URL(databaseUrl).pathname.slice(1)
}

/** A thousand small files are copied for every embedded server: on a disk that costs more than the server's start. */
function memoryFolder(): string {
  const enough = 2 ** 31
  try {
    const { bavail, bsize } = statfsSync('/dev/shm')
    if (bavail * bsize >= enough) return mkdtempSync('/dev/shm/genkan-test-')
  } catch {}
  const instead = join(folder, 'memory')
  mkdirSync(instead)
  return instead
}

const owners = new Set<Owner>()

function serve(socket: Socket): void {
  const owner: Owner = { servers: new Set(), pids: new Set(), redis: new Set() }
  owners.add(owner)
  // A test process that was killed resets its connection: 'close' tidies up. The interface passes the error on.
  socket.on('error', () => {})
  const lines = createInterface({ input: socket }).on('error', () => {})
  lines.on('line', async (line) => {
    const { id, operation, argument } = JSON.parse(line) as { id: number; operation: string; argument: string }
    let answer: object
    try {
      const run = operations[operation]
      if (run === undefined) throw new Error(`no operation ${operation}`)
      answer = { id, value: await run(argument, owner) }
    } catch (error) {
      answer = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
    }
    if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`)
  })
  socket.on('close', () => {
    owners.delete(owner)
    for (const pid of owner.pids) kill(pid)
    for (const url of owner.redis) releaseRedis(url).catch(() => {})
    for (const id of owner.servers) void servers.get(id)?.stop('abandon')
  })
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {}
}

let ending = false

async function end(): Promise<void> {
  if (ending) return
  ending = true
  // Before their folders are removed: they would write into them.
  for (const { pids } of owners) for (const pid of pids) kill(pid)
  for (const pid of hosts.pids()) kill(pid)
  await Promise.all([...claimed.keys()].map((url) => releaseRedis(url).catch(() => {})))
  if (external.postgres !== undefined) {
    for (const name of createdDatabases)
      await administer(`drop database if exists ${name} with (force)`).catch(() => {})
  }
  await Promise.all([...servers.values()].map((each) => each.stop('abandon').catch(() => {})))
  for (const each of [memory, folder]) {
    try {
      rmSync(each, { recursive: true, force: true, maxRetries: 3 })
    } catch {
      // Somebody made something unwritable there: better left behind than never ended.
    }
  }
  process.exit(0)
}

const endSoon = () => void end()
process.stdin.on('end', endSoon).on('close', endSoon).resume()
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, endSoon)
// Our servers would outlive us, and hold the output of the run open for ever.
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.stack}\n`)
  endSoon()
})
createServer(serve).listen(join(folder, 'socket'), () => process.stdout.write('ready\n'))
