/** Private PostgreSQL and Redis servers in a temporary folder, for the services process only. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { binary } from './binaries.ts'

const START_MS = 30_000
const STOP_MS = 10_000

/** A server process that can be stopped, killed and started again on the same port and data. */
export interface PrivateServer {
  readonly url: string
  start(): Promise<void>
  /** In order; `kill` at once, as a crash would; `abandon` at once but leaving no child behind. */
  stop(how?: 'order' | 'kill' | 'abandon'): Promise<void>
  /** SIGSTOP and SIGCONT: the server is there but does not answer. */
  signal(signal: NodeJS.Signals): void
}

interface Identity {
  readonly uid?: number
  readonly gid?: number
}

/** PostgreSQL refuses to run as root, and so should everything else here: an unprivileged user takes over then. */
async function identity(): Promise<Identity> {
  if (process.getuid?.() !== 0) return {}
  for (const user of ['postgres', 'nobody']) {
    try {
      const { stdout } = await promisify(execFile)('id', ['-u', user])
      const group = await promisify(execFile)('id', ['-g', user])
      return { uid: Number(stdout), gid: Number(group.stdout) }
    } catch {}
  }
  throw new Error('The tests run as root and found no unprivileged user (postgres, nobody) to run the servers as.')
}

/** A PostgreSQL cluster in `folder`, without durability: it survives the kill of a process, not of the machine. */
export async function createPostgresServer(
  folder: string,
  port: number,
  more: { readonly [setting: string]: string | number } = {},
): Promise<PrivateServer> {
  const user = await identity()
  const data = join(folder, 'data')
  ownedFolder(folder, user)
  await promisify(execFile)(
    binary('initdb'),
    ['-D', data, '-U', 'genkan', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'],
    { ...user, cwd: folder },
  )
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    shared_buffers: '64MB',
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    log_min_messages: 'panic',
    ...more,
  }
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const url = `postgres://genkan@127.0.0.1:${port}/postgres`
  // SIGINT is PostgreSQL's fast shutdown (SIGTERM would wait for every client), SIGQUIT its immediate one.
  return serverProcess(
    url,
    { order: 'SIGINT', kill: 'SIGKILL', abandon: 'SIGQUIT' },
    () => spawn(binary('postgres'), ['-D', data, ...options], spawned(user, folder)),
    () => postgresAnswers(url),
  )
}

/** A Redis with the append-only file and `noeviction`, as README asks of a real one. */
export async function createRedisServer(
  folder: string,
  port: number,
  extra: readonly string[] = [],
): Promise<PrivateServer> {
  const user = await identity()
  ownedFolder(folder, user)
  const settings = ['--port', port, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes']
  const more = [
    '--appendfsync',
    'always',
    '--maxmemory-policy',
    'noeviction',
    '--databases',
    4096,
    '--loglevel',
    'warning',
  ]
  return serverProcess(
    `redis://127.0.0.1:${port}`,
    { order: 'SIGTERM', kill: 'SIGKILL', abandon: 'SIGKILL' },
    () => spawn(binary('redis-server'), [...settings, ...more, ...extra].map(String), spawned(user, folder)),
    () => redisAnswers(port),
  )
}

/** A sentinel that watches the master `mymaster` at `master`; two of three decide, within seconds. */
export async function createSentinelServer(folder: string, port: number, master: number): Promise<PrivateServer> {
  const user = await identity()
  ownedFolder(folder, user)
  const file = join(folder, 'sentinel.conf')
  const lines = [
    ...[`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, 'loglevel warning'],
    ...[`sentinel monitor mymaster 127.0.0.1 ${master} 2`, 'sentinel down-after-milliseconds mymaster 1000'],
    ...['sentinel failover-timeout mymaster 2000', 'sentinel parallel-syncs mymaster 1'],
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  if (user.uid !== undefined && user.gid !== undefined) chownSync(file, user.uid, user.gid)
  return serverProcess(
    `redis://127.0.0.1:${port}`,
    { order: 'SIGTERM', kill: 'SIGKILL', abandon: 'SIGKILL' },
    () => spawn(binary('redis-server'), [file, '--sentinel'], spawned(user, folder)),
    () => redisAnswers(port),
  )
}

/** A Redis Cluster of one node, on `port` and the next: it serves all slots, and refuses what touches two at once as every cluster does. */
export async function createRedisClusterServer(folder: string, port: number): Promise<PrivateServer> {
  const server = await createRedisServer(folder, port, ['--cluster-enabled', 'yes', '--cluster-port', String(port + 1)])
  return {
    ...server,
    async start() {
      await server.start()
      await redisTakesSlots(port)
    },
  }
}

function ownedFolder(folder: string, user: Identity): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid)
}

function spawned(user: Identity, cwd: string): { cwd: string; stdio: ['ignore', 'ignore', 'inherit'] } & Identity {
  return { ...user, cwd, stdio: ['ignore', 'ignore', 'inherit'] }
}

function serverProcess(
  url: string,
  signals: { readonly order: NodeJS.Signals; readonly kill: NodeJS.Signals; readonly abandon: NodeJS.Signals },
  launch: () => ChildProcess,
  answers: () => Promise<boolean>,
): PrivateServer {
  let child: ChildProcess | undefined
  const alive = () => child !== undefined && child.exitCode === null && child.signalCode === null
  return {
    url,
    start: async () => {
      if (alive()) return
      child = launch()
      const until = Date.now() + START_MS
      while (!(await answers())) {
        if (!alive()) throw new Error(`${child.spawnfile} ended at its start (code ${child.exitCode})`)
        if (Date.now() > until) throw new Error(`${child.spawnfile} did not answer within ${START_MS} ms`)
        await sleep(20)
      }
    },
    stop: async (how = 'order') => {
      const running = child
      if (running === undefined || !alive()) return
      const ended = new Promise((resolve) => running.once('exit', resolve))
      running.kill('SIGCONT')
      running.kill(signals[how])
      const force = setTimeout(() => running.kill('SIGKILL'), STOP_MS)
      await ended
      clearTimeout(force)
    },
    signal: (signal) => {
      child?.kill(signal)
    },
  }
}

async function postgresAnswers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 1000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

/** Gives the node all slots (it may have them from before) and waits until it serves them. */
async function redisTakesSlots(port: number): Promise<void> {
  const until = Date.now() + START_MS
  await redisSays(port, 'CLUSTER ADDSLOTSRANGE 0 16383')
  while (!(await redisSays(port, 'CLUSTER INFO')).includes('cluster_state:ok')) {
    if (Date.now() > until) throw new Error('the Redis Cluster does not serve its slots')
    await sleep(20)
  }
}

/** The beginning of the answer to an inline command. */
export function redisSays(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(`${command}\r\n`))
    socket.once('error', reject)
    socket.once('data', (data) => {
      socket.destroy()
      resolve(data.toString())
    })
  })
}

async function redisAnswers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write('PING\r\n'))
    const settle = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1000, () => settle(false))
    socket.once('error', () => settle(false))
    socket.once('data', (data) => settle(data.toString().startsWith('+PONG')))
  })
}
