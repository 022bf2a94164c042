/**
 * PostgreSQL, Redis and migrated databases for tests. One PostgreSQL and one Redis serve a whole run; they start when first
 * asked for and end with the run, whatever happens to it (`services_process.ts`).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Database } from '../../src/platform/postgres.ts'

/** Environment variable with the socket of the run's services process. */
const SOCKET = 'GENKAN_TEST_SERVICES'

export interface Postgres {
  readonly url: string
  /** A new empty database; returns its URL. */
  createDatabase(): Promise<string>
  /** Does nothing: the server belongs to the run. */
  stop(): Promise<void>
}

export interface Redis {
  /** Names a database number that nobody else uses. */
  readonly url: string
  /** Does nothing: the server belongs to the run. */
  stop(): Promise<void>
}

/** A server of one test only, to be broken on purpose. It dies with the test file at the latest. */
export interface BreakableServer {
  readonly url: string
  stop(): Promise<void>
  kill(): Promise<void>
  /** Starts it again on the same port and data. */
  start(): Promise<void>
  /** It stays there but does not answer, until `resume`. */
  pause(): Promise<void>
  resume(): Promise<void>
}

/** Starts the services process; `stop` ends it with everything that it started. For Jest's global setup and for benchmarks. */
export async function startServices(): Promise<{ socket: string; stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-test-'))
  // The servers run as another user when we are root, each in a closed folder of its own below this one.
  chmodSync(folder, 0o711)
  const script = fileURLToPath(new URL('services_process.ts', import.meta.url))
  // Detached: Ctrl-C must reach the tests, not their servers, which end in order when our side of the pipe closes.
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  await ready(child).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true })
    throw error
  })
  child.unref()
  for (const stream of [child.stdin, child.stdout]) (stream as unknown as Socket | null)?.unref()
  const socket = join(folder, 'socket')
  process.env[SOCKET] = socket
  return {
    socket,
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve()
        child.ref()
        child.once('exit', () => resolve())
        child.stdin?.end()
      }),
  }
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the services process ended at its start (code ${code})`)))
    child.stdout?.once('data', () => resolve())
  })
}

type Ask = (operation: string, argument?: string) => Promise<string>

let asking: Promise<Ask> | undefined

/** Asks the services process. Outside Jest (a benchmark, a script) the first question starts it. */
async function ask(operation: string, argument = ''): Promise<string> {
  asking ??= (async () => connectTo(process.env[SOCKET] ?? (await startServices()).socket))()
  return (await asking)(operation, argument)
}

function connectTo(path: string): Ask {
  const socket = connect(path)
  const waiting = new Map<number, { resolve(value: string): void; reject(error: Error): void }>()
  let last = 0
  const idle = () => (waiting.size === 0 ? socket.unref() : socket.ref())
  const lines = createInterface({ input: socket }).on('error', () => {})
  lines.on('line', (line) => {
    const { id, value, error } = JSON.parse(line) as { id: number; value?: string; error?: string }
    const waiter = waiting.get(id)
    waiting.delete(id)
    idle()
    if (error === undefined) waiter?.resolve(value ?? '')
    else waiter?.reject(new Error(`test services: ${error}`))
  })
  const gone = () => new Error('the services process of the tests is gone')
  const fail = () => {
    for (const waiter of waiting.values()) waiter.reject(gone())
  }
  socket.on('error', fail).on('close', fail)
  return (operation, argument = '') =>
    new Promise((resolve, reject) => {
      // A write to a destroyed socket would be neither answered nor an 'error'.
      if (socket.destroyed) return reject(gone())
      const id = ++last
      waiting.set(id, { resolve, reject })
      idle()
      socket.write(`${JSON.stringify({ id, operation, argument })}\n`)
    })
}

/** The run's PostgreSQL (or `DATABASE_URL`). */
export async function startPostgres(): Promise<Postgres> {
  return { url: await ask('postgres'), createDatabase: () => ask('database'), stop: async () => {} }
}

/** The run's Redis (or `REDIS_URL`), with an own database number. */
export async function startRedis(): Promise<Redis> {
  return { url: await ask('redis'), stop: async () => {} }
}

/**
 * A PostgreSQL or Redis of one's own, to stop, kill and pause; `redis_cluster` is a cluster of one node, `postgres_lasting` keeps
 * what it has committed when it is killed, `postgres_narrow` too, and has room for twelve connections.
 */
export async function startBreakable(
  kind: 'postgres' | 'postgres_lasting' | 'postgres_narrow' | 'redis' | 'redis_cluster',
): Promise<BreakableServer> {
  return breakable(JSON.parse(await ask('own', kind)) as { id: string; url: string })
}

function breakable({ id, url }: { readonly id: string; readonly url: string }): BreakableServer {
  const tell = (operation: string) => async () => {
    await ask(operation, id)
  }
  return {
    url,
    stop: tell('stop'),
    kill: tell('kill'),
    start: tell('start'),
    pause: tell('pause'),
    resume: tell('resume'),
  }
}

export interface RedisServers {
  /** As `REDIS_URL` names all of them. */
  readonly url: string
  /** The servers with data, each to stop, kill and pause. */
  readonly nodes: readonly BreakableServer[]
}

/** Redis servers that choose their master: one with a replica and three sentinels, or a cluster of three with a replica each. */
export async function startRedisServers(kind: 'redis_sentinels' | 'redis_nodes'): Promise<RedisServers> {
  const { url, nodes } = JSON.parse(await ask('group', kind)) as { url: string; nodes: { id: string; url: string }[] }
  return { url, nodes: nodes.map(breakable) }
}

/** URL of a new, migrated PostgreSQL database: a clone of the run's template. */
export async function freshDatabaseUrl(): Promise<string> {
  return ask('database', await ask('template'))
}

/** Lays a migrated, empty embedded database into a data directory. */
export async function layDatabase(dataDir: string): Promise<void> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  cpSync(await ask('folder'), join(dataDir, 'db'), { recursive: true })
}

/** A new folder in memory where the machine has enough of it. It is gone with the run at the latest. */
export async function scratchFolder(prefix: string): Promise<string> {
  return mkdtempSync(join(await ask('memory'), prefix))
}

/** A migrated, empty database of its own. Close it after use. */
export async function freshDatabase(kind: Database['kind'], pool?: number): Promise<Database> {
  // Most test files only start servers: they are spared the drivers.
  const { openDatabase } = await import('../../src/platform/postgres.ts')
  if (kind === 'postgres') return openDatabase({ databaseUrl: await freshDatabaseUrl(), pool })
  const dataDir = await scratchFolder('database-')
  await layDatabase(dataDir)
  const database = await openDatabase({ dataDir })
  return {
    ...database,
    close: async () => {
      await database.close()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** Has the product compiled and a first process for servers ready before tests begin, which would all compile it at once. */
export async function warmUp(): Promise<void> {
  await ask('warm')
}

/** A process to run a server in, that no other test uses now; one that is not given back dies with this test file's process. */
export async function borrowHost() {
  const { path, pid } = JSON.parse(await ask('host')) as { path: string; pid: number }
  const tell = (operation: string) => async () => {
    await ask(operation, String(pid))
  }
  return { path, pid, giveBack: tell('host_back'), forget: tell('release') }
}

/** A TCP port that nobody uses and that no outgoing connection will take. */
export function freePort(): Promise<number> {
  return freePorts(1)
}

/** The first of a row of `count` such ports. */
export async function freePorts(count: number): Promise<number> {
  return Number(await ask('ports', String(count)))
}

/** Entrusts a process to the run: it is killed when this test file's process ends, unless released before. */
export async function entrust(pid: number): Promise<() => Promise<void>> {
  await ask('adopt', String(pid))
  return async () => {
    await ask('release', String(pid))
  }
}
