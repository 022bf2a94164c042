/** What is measured: the bare provider and Genkan, each as a process with stores of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, startRedis } from '../support/services.ts'
import { setup } from './clients.ts'
import { startProcess } from './started.ts'
import { createStores, DEFAULT_HASH, type HashParameters, type Stores } from './stores.ts'
import { postgresReader, type Relay, redisReader, startRelay } from './wire.ts'

export interface Subject {
  readonly name: string
  readonly issuer: string
  /** Where it is reached: instances share the issuer, not the port. */
  readonly origin: string
  readonly pid: number
  readonly storePids: readonly number[]
  readonly readyMs: number
  /** E-mail address of an account that exists and was not used before. */
  nextAccount(): string
  /** Commands and statements sent since the last call; empty unless started with `count`. */
  taken(): { readonly redis: readonly string[]; readonly sql: readonly string[] }
  stop(): Promise<void>
}

export interface Genkan extends Subject {
  readonly stores: Stores
  /** A figure of `/metrics`, by its name, with labels where several have it; undefined when there is none. */
  metric(name: string): Promise<number | undefined>
}

/** Starts the bare provider; with `count` its Redis is behind a relay. */
export async function startBare({ count = false } = {}): Promise<Subject> {
  const redis = await behindRelay((await startRedis()).url, count, redisReader)
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const env = { ISSUER: issuer, PORT: String(port), REDIS_URL: redis.url, BENCH_SETUP: JSON.stringify(setup) }
  const args = ['test/bench/bare/server.ts']
  const started = await startProcess({ name: 'bare', args, env, readyUrl: `${issuer}/jwks` })
  let last = 0
  return {
    ...{ name: 'bare', issuer, origin: issuer, pid: started.pid, readyMs: started.readyMs, storePids: [] },
    nextAccount: () => `person${++last}@bench.example`,
    taken: () => ({ redis: redis.relay?.take() ?? [], sql: [] }),
    stop: async () => {
      await started.stop()
      await redis.relay?.close()
    },
  }
}

export interface GenkanOptions {
  readonly count?: boolean
  readonly accounts?: number
  readonly hash?: HashParameters
  /** Stores that are there already, instead of new ones with `accounts` of `hash`. */
  readonly stores?: Stores
  /** Of the first instance, for those beside it. */
  readonly issuer?: string
  /** For `taskset`. */
  readonly cpus?: string | undefined
  /** Longest wait for a hash: closed loops wait longer than people may. */
  readonly queueMs?: number
  readonly nodeFlags?: readonly string[]
}

/** Nobody who measures is held back. The limits are counted as ever but not reached. */
const UNREACHED = Object.fromEntries(
  ['address', 'identifier', 'device', 'subnet', 'asn', 'client']
    .map((layer) => `sign_in_per_${layer}`)
    .concat('sign_in_in_all')
    .map((name) => [name, 1_000_000_000]),
)

/** Each background job runs for the first time within five seconds of a start, and would be counted with the flows. */
const FIRST_JOBS_MS = 6000

/** Starts Genkan on PostgreSQL and Redis with everything on. */
export async function startGenkan(options: GenkanOptions = {}): Promise<Genkan> {
  const { count = false, accounts = 3000, hash = DEFAULT_HASH, cpus, queueMs = 10_000 } = options
  const stores = options.stores ?? (await createStores({ accounts, hash }))
  const redis = await behindRelay(stores.redisUrl, count, redisReader)
  const postgres = await behindRelay(stores.databaseUrl, count, postgresReader)
  const [port, managementPort] = [await freePort(), await freePort()]
  const origin = `http://127.0.0.1:${port}`
  const management = `http://127.0.0.1:${managementPort}`
  const folder = mkdtempSync(join(tmpdir(), 'genkan-bench-'))
  const { memoryKib, passes } = stores.hash
  // JSON is YAML.
  const settings = {
    ...setup,
    passwords: { memory_kib: memoryKib, passes, queue_ms: queueMs },
    limits: UNREACHED,
    // Whoever measures stands for the load balancer: one address holds the connections of everybody.
    trusted_proxies: ['127.0.0.1'],
  }
  writeFileSync(join(folder, 'genkan.yaml'), JSON.stringify(settings))
  const env = {
    GENKAN_ISSUER: options.issuer ?? origin,
    GENKAN_CONFIG: join(folder, 'genkan.yaml'),
    GENKAN_SECRET_KEYS: stores.secretKey.toString('base64'),
    PORT: String(port),
    HOST: '127.0.0.1',
    MANAGEMENT_PORT: String(managementPort),
    DATA_DIR: folder,
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
  }
  const command = { name: 'genkan', args: ['src/main.ts', 'serve'], env, readyUrl: `${management}/readyz` }
  const started = await startProcess({ ...command, cpus, flags: options.nodeFlags }).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true })
    throw error
  })
  if (count) await sleep(FIRST_JOBS_MS)
  const addresses = [...stores.addresses].reverse()
  return {
    ...{ name: 'genkan', issuer: options.issuer ?? origin, origin, pid: started.pid, readyMs: started.readyMs, stores },
    storePids: stores.pids,
    metric: (name) => readMetric(`${management}/metrics`, name),
    nextAccount: () => {
      const address = addresses.pop()
      if (address === undefined) throw new Error(`all ${stores.addresses.length} accounts are used up`)
      return address
    },
    taken: () => ({ redis: redis.relay?.take() ?? [], sql: postgres.relay?.take() ?? [] }),
    stop: async () => {
      await started.stop()
      await Promise.all([redis.relay?.close(), postgres.relay?.close()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function readMetric(url: string, name: string): Promise<number | undefined> {
  const text = await (await fetch(url)).text()
  const line = text.split('\n').find((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ')))
}

async function behindRelay(
  url: string,
  count: boolean,
  reader: Parameters<typeof startRelay>[1],
): Promise<{ url: string; relay?: Relay }> {
  if (!count) return { url }
  const relay = await startRelay(url, reader)
  return { url: relay.url, relay }
}

type Start<Kind extends Subject = Subject> = () => Promise<Kind>

/** Starts the subjects one after the other and stops whatever was started, also when a later one does not start. */
export async function withSubjects<Kinds extends readonly Subject[], T>(
  starts: { readonly [Index in keyof Kinds]: Start<Kinds[Index]> },
  work: (...subjects: Kinds) => Promise<T>,
): Promise<T> {
  const started: Subject[] = []
  try {
    for (const start of starts) started.push(await start())
    return await work(...(started as unknown as Kinds))
  } finally {
    await Promise.all(started.map((subject) => subject.stop()))
  }
}
