/** The product: started with settings, watched, stopped, killed and started again. */
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { COMPILE_CACHE } from './node_arguments.ts'
import { startReverseProxy } from './reverse_proxy.ts'
import { createTenancy, type Tenancy } from './server_host.ts'
import { type CommandResult, createProcess, runCommand, type ServerProcess } from './server_process.ts'
import { freePort, freePorts, freshDatabaseUrl, layDatabase, scratchFolder, startRedis } from './services.ts'

const DEEP = process.env.GENKAN_TEST_DEEP === '1'
const READY_MS = 60_000

export interface Stores {
  readonly databaseUrl: string
  readonly redisUrl?: string
}

export interface ServerOptions {
  /** What `genkan.yaml` says. */
  readonly settings?: object
  /** More environment variables; `undefined` takes one away. */
  readonly env?: { readonly [name: string]: string | undefined }
  /** The issuer, when it is not this server's own address (behind a proxy). */
  readonly issuer?: string
  /**
   * What holds the data. Left out, it does not matter: `npm test` takes a PostgreSQL and a Redis, where a statement costs a
   * tenth of PGlite's, and a deep run the embedded default.
   */
  readonly stores?: Stores | 'embedded'
  /** A data directory to use again. Without: a new one, where the embedded database is already migrated. */
  readonly dataDir?: string
  /** Starts in an empty data directory, as a newcomer does (initdb takes seconds). */
  readonly empty?: boolean
  readonly port?: number
  readonly command?: readonly string[]
  /** Another tree of the product, in place of this one. */
  readonly root?: string
  /** File descriptors that its process may have (`ulimit -n`). */
  readonly openFiles?: number
  /** Do not wait until it is ready. */
  readonly wait?: boolean
  /**
   * `own`: a fresh process, as users start it, for what is a process's: signals, a crash, its memory. Left out, it runs in
   * one that served other test files before, which loads nothing anew; from its first restart on in its own.
   */
  readonly process?: 'own'
}

export interface Server {
  readonly issuer: string
  /** Where the process itself listens. */
  readonly origin: string
  readonly managementOrigin: string
  readonly port: number
  readonly dataDir: string
  readonly env: { readonly [name: string]: string }
  pid(): number
  /** Everything written to standard output and error so far, by line. */
  logs(): readonly string[]
  ready(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  /** SIGKILL, as a crash. */
  kill(): Promise<void>
  signal(signal: NodeJS.Signals): void
  /** Starts it again on the same port and data (stops it first when it still runs). */
  restart(env?: { readonly [name: string]: string | undefined }): Promise<void>
  /** Resolves with the exit code when the process ends by itself. */
  exited(): Promise<number | null>
  /** Moves the server's `Date` ahead by so many seconds in all (0: real time). Survives restarts. */
  shiftDate(seconds: number): Promise<void>
  /** Ends the process and removes what the test made for it. */
  close(): Promise<void>
  /** Runs another command of the command line with the same environment. */
  run(...command: string[]): Promise<CommandResult>
}

/** Starts `genkan serve` (or `command`) and waits until it is ready. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const port = options.port ?? (await freePort())
  // A second worker's metrics are at the port after it.
  const managementPort = await freePorts(2)
  const scratch = await scratchFolder('server-')
  const dataDir = options.dataDir ?? join(scratch, 'data')
  const stores = await storesOf(options)
  if (options.dataDir === undefined && stores === undefined && options.empty !== true) await layDatabase(dataDir)
  const clock = join(scratch, 'clock')
  writeFileSync(join(scratch, 'genkan.yaml'), JSON.stringify(withCheapHashes(options)))
  const issuer = options.issuer ?? `http://localhost:${port}`
  const env = withoutUndefined({
    PATH: process.env.PATH,
    HOME: scratch,
    // Another tree is gone after its test.
    NODE_COMPILE_CACHE: options.root === undefined ? COMPILE_CACHE : undefined,
    TZ: 'UTC',
    GENKAN_ISSUER: issuer,
    GENKAN_CONFIG: join(scratch, 'genkan.yaml'),
    PORT: String(port),
    HOST: '127.0.0.1',
    MANAGEMENT_PORT: String(managementPort),
    DATA_DIR: dataDir,
    // A database that is there without its key is refused; only an empty directory makes its own.
    GENKAN_SECRET_KEYS: options.empty === true ? undefined : TEST_KEY,
    DATABASE_URL: stores?.databaseUrl,
    REDIS_URL: stores?.redisUrl,
    GENKAN_TEST_CLOCK: clock,
    ...options.env,
  })
  const own = () => createProcess(options.command ?? ['serve'], env, options)
  const made = needsOwnProcess(options) ? inOwnProcess(own()) : inHost(createTenancy(), own)
  const origin = `http://127.0.0.1:${port}`
  const server: Server = {
    issuer,
    origin,
    managementOrigin: `http://127.0.0.1:${managementPort}`,
    port,
    dataDir,
    env,
    pid: made.pid,
    logs: made.logs,
    ready: () => untilReady(origin, made),
    stop: (signal = 'SIGTERM') => made.end(signal),
    kill: made.kill,
    signal: made.signal,
    restart: async (more = {}) => {
      await made.end('SIGTERM')
      await made.startAgain(withoutUndefined({ ...env, ...more }))
      await untilReady(origin, made)
    },
    exited: made.exited,
    shiftDate: async (seconds) => {
      writeFileSync(clock, String(seconds * 1000))
      // The server reads the file again at most this much later.
      await sleep(30)
    },
    close: async () => {
      await made.end('SIGKILL')
      rmSync(scratch, { recursive: true, force: true })
    },
    run: async (...command) => {
      const result = await made.run(command, env)
      // Redis answers who publishes before it tells who listens: an instance hears of a change a moment after the command ends.
      if (stores !== undefined) await sleep(50)
      return result
    },
  }
  await made.start(env)
  if (options.wait !== false)
    await server.ready().catch((error: unknown) => server.close().then(() => Promise.reject(error)))
  return server
}

interface Runner extends ServerProcess {
  startAgain(env: { readonly [name: string]: string }): Promise<void>
  kill(): Promise<void>
  run(command: readonly string[], env: { readonly [name: string]: string }): Promise<CommandResult>
}

function inOwnProcess(made: ServerProcess): Runner {
  return { ...made, startAgain: made.start, kill: async () => void (await made.end('SIGKILL')), run: runCommand }
}

/** Until it starts again: what a process kept in memory is to be gone then. */
function inHost(tenancy: Tenancy, own: () => ServerProcess): Runner {
  let now: ServerProcess = tenancy
  const isHosted = () => now === tenancy
  return {
    start: (env) => now.start(env),
    async startAgain(env) {
      now = own()
      await now.start(env)
    },
    pid: () => now.pid(),
    logs: () => (isHosted() ? tenancy.logs() : [...tenancy.logs(), ...now.logs()]),
    signal: (signal) => now.signal(signal),
    end: (signal) => now.end(signal),
    async kill() {
      if (isHosted()) throw new Error("a crash needs a process of its own: startServer({ process: 'own' })")
      await now.end('SIGKILL')
    },
    exited: () => now.exited(),
    running: () => now.running(),
    run: (command, env) => (isHosted() && tenancy.running() ? tenancy.run(command, env) : runCommand(command, env)),
  }
}

function needsOwnProcess({ process, command, root, openFiles, wait, empty }: ServerOptions): boolean {
  const named = [command, root, openFiles].some((option) => option !== undefined)
  return process === 'own' || named || wait === false || empty === true
}

/** The key that all servers of a test file share, so that a second one can open what the first one sealed. */
const TEST_KEY = randomBytes(32).toString('base64')

export interface Pair {
  readonly issuer: string
  readonly servers: readonly [Server, Server]
  readonly stores: Stores
  /** Which instance gets the next requests; `both` (the default) alternates from request to request. */
  route(which: 0 | 1 | 'both'): void
  close(): Promise<void>
}

/** An empty database of the run's PostgreSQL and a keyspace of its Redis. */
export async function realStores(): Promise<Required<Stores>> {
  return { databaseUrl: await freshDatabaseUrl(), redisUrl: (await startRedis()).url }
}

/** Undefined for the embedded default. A data directory that is laid out by the test, or stays empty, is for that. */
async function storesOf({ stores, dataDir, empty }: ServerOptions): Promise<Stores | undefined> {
  if (stores !== undefined) return stores === 'embedded' ? undefined : stores
  return DEEP || dataDir !== undefined || empty === true ? undefined : realStores()
}

/**
 * The cheapest hash that the product takes: thousands of passwords are shown in a run, and only their limits are tested. Nobody is
 * turned away for a busy machine, unless the test is about that: test runs make it as busy as they can.
 */
function withCheapHashes({ settings: given = {}, root }: ServerOptions): object {
  const { passwords, ...settings } = given as { passwords?: object }
  // No balancer has to hear that a server stops, and tests move its clock by days.
  return {
    // An older version refuses settings that it does not know.
    ...(root === undefined ? { drain_seconds: 0, overload: false, clock_tolerance_seconds: 1_000_000_000 } : {}),
    ...settings,
    passwords: { memory_kib: 7168, passes: 1, queue_ms: 10_000, ...passwords },
  }
}

/** Two instances on one PostgreSQL and one Redis behind one address. */
export async function startPair(options: ServerOptions & { readonly stores?: Stores } = {}): Promise<Pair> {
  const stores = options.stores ?? (await realStores())
  let which: 0 | 1 | 'both' = 'both'
  let turn = 0
  const origins: string[] = []
  const balancer = await startReverseProxy({
    port: await freePort(),
    target: () => origins[which === 'both' ? turn++ % 2 : which] ?? '',
  })
  const issuer = options.issuer ?? balancer.origin
  const env = { TRUSTED_PROXIES: '127.0.0.1', ...options.env }
  const start = () => startServer({ ...options, stores, issuer, env })
  const servers = await Promise.all([start(), start()])
  origins.push(...servers.map(({ origin }) => origin))
  return {
    issuer,
    servers,
    stores,
    route: (next) => {
      which = next
    },
    close: async () => {
      await Promise.all([balancer.stop(), ...servers.map((server) => server.close())])
    },
  }
}

async function untilReady(origin: string, server: ServerProcess): Promise<void> {
  const until = Date.now() + READY_MS
  for (;;) {
    try {
      const answer = await fetch(`${origin}/readyz`, { headers: { connection: 'close' } })
      await answer.body?.cancel()
      if (answer.status === 200) return
    } catch {}
    if (!server.running()) throw new Error(`the server ended at its start:\n${tail(server)}`)
    if (Date.now() > until) throw new Error(`the server was not ready after ${READY_MS} ms:\n${tail(server)}`)
    await sleep(50)
  }
}

function tail(server: ServerProcess): string {
  return server.logs().slice(-30).join('\n')
}

function withoutUndefined(env: { readonly [name: string]: string | undefined }): { [name: string]: string } {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined))
}
