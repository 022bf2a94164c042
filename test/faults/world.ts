/**
 * A small installation to be broken: a PostgreSQL and a Redis of its own, instances of the product in processes of their own,
 * each with its own proxies before the stores, a mail server, and one address in front, where every exchange is looked at.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { type Browser, type BrowserOptions, createBrowser } from '../support/browser.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault_proxy.ts'
import { SETTINGS } from '../support/journeys.ts'
import { type SmtpMailbox, startMailbox } from '../support/mailbox.ts'
import { type Exchange, type ReverseProxy, startReverseProxy } from '../support/reverse_proxy.ts'
import { type Server, startServer } from '../support/server.ts'
import { type BreakableServer, freePort, startBreakable } from '../support/services.ts'

export interface Instance {
  readonly server: Server
  readonly redis: FaultProxy
  readonly postgres: FaultProxy
  readonly smtp: FaultProxy
  /** The balancer sends nobody there while false. */
  up: boolean
  /** Whether it ever was up: nobody is sent to one that has yet to listen. */
  known: boolean
  /** Taken out of the balancer by its operator. */
  held?: boolean
}

export interface World {
  readonly issuer: string
  readonly instances: Instance[]
  readonly redis: BreakableServer
  readonly postgres: BreakableServer
  readonly mailbox: SmtpMailbox
  /** Everything that went through the balancer. */
  readonly exchanges: Exchange[]
  /** One more instance; it gets traffic once it is ready. */
  join(options?: InstanceOptions): Promise<Instance>
  /** Ends an instance and forgets it. */
  leave(instance: Instance): Promise<void>
  /** Leads everybody to one instance, or to all again. */
  route(instance?: Instance): void
  /** Sets a proxy of every instance. */
  all(which: 'redis' | 'postgres' | 'smtp', set: (proxy: FaultProxy) => void): void
  /** Past the product and the proxies. */
  sql<Row extends object>(statement: string, values?: readonly unknown[]): Promise<Row[]>
  command(...words: readonly string[]): Promise<unknown>
  /** A browser at an address that nobody else has. */
  person(options?: BrowserOptions): Browser
  /** Instances, and whether each is ready. */
  ready(): Promise<boolean>
  close(): Promise<void>
}

export interface InstanceOptions {
  readonly settings?: object
  readonly env?: { readonly [name: string]: string | undefined }
  readonly wait?: boolean
  readonly command?: readonly string[]
  /** Another tree of the product. */
  readonly root?: string
}

export interface WorldOptions extends InstanceOptions {
  readonly count?: number
  readonly postgres?: 'postgres_lasting' | 'postgres_narrow'
  /** What only the first instance has. */
  readonly first?: () => InstanceOptions
  /** Neighbours that the settings name, and which know the issuer. */
  readonly neighbours?: (issuer: string) => Promise<{ readonly settings: object; stop(): Promise<unknown> }>
}

/** Like a real one, a balancer asks who is ready, and sends people to anybody when nobody is. */
const CHECK_MS = 200
const LEAVE_MS = 500

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const [postgres, redis, mailbox] = await Promise.all([
    startBreakable(options.postgres ?? 'postgres_lasting'),
    startBreakable('redis'),
    startMailbox(),
  ])
  const instances: Instance[] = []
  const exchanges: Exchange[] = []
  let turn = 0
  let only: Instance | undefined
  const next = () => {
    if (only !== undefined) return only.server.origin
    const there = instances.filter(({ up }) => up)
    const from = there.length > 0 ? there : instances.filter(({ known }) => known)
    turn += 1
    return from[turn % from.length]?.server.origin ?? 'http://127.0.0.1:9'
  }
  const balancer = await startReverseProxy({
    port: await freePort(),
    target: next,
    seen: (exchange) => void exchanges.push(exchange),
  })
  const stores = { postgres, redis, mailbox }
  const neighbours = await options.neighbours?.(balancer.origin)
  const join = async (more: InstanceOptions = {}) => {
    const { settings = options.settings ?? SETTINGS } = neighbours ?? {}
    const instance = await startInstance(stores, balancer, { ...options, settings, ...more })
    instances.push(instance)
    return instance
  }
  const first = await join(options.first?.())
  for (let count = 1; count < (options.count ?? 2); count++) await join({ env: keysOf(first) })
  const checks = watchInstances(instances)
  return {
    ...{ issuer: balancer.origin, instances, redis, postgres, mailbox, exchanges },
    join: (more = {}) => join({ ...more, env: { ...keysOf(first), ...more.env } }),
    leave: async (instance) => {
      instances.splice(instances.indexOf(instance), 1)
      // What it was given before is answered first.
      await sleep(LEAVE_MS)
      await closeInstance(instance)
    },
    route: (instance) => {
      only = instance
    },
    all: (which, set) => {
      for (const instance of instances) set(instance[which])
    },
    ...past(postgres, redis),
    person: (more = {}) => createBrowser({ stopAt: ['https://'], headers: { 'x-forwarded-for': address() }, ...more }),
    ready: async () => (await Promise.all(instances.map(({ server }) => readiness(server)))).every((is) => is === 200),
    close: async () => {
      checks.stop()
      await Promise.all(instances.map(closeInstance))
      await Promise.all([balancer.stop(), mailbox.stop(), redis.stop(), postgres.stop(), neighbours?.stop()])
    },
  }
}

/** All instances share their keys, whatever file started them. */
const keysOf = ({ server }: Instance) => ({ GENKAN_SECRET_KEYS: server.env.GENKAN_SECRET_KEYS })

interface Stores {
  readonly postgres: BreakableServer
  readonly redis: BreakableServer
  readonly mailbox: SmtpMailbox
}

async function startInstance(stores: Stores, balancer: ReverseProxy, options: InstanceOptions): Promise<Instance> {
  const [postgres, redis, smtp] = await Promise.all([
    startFaultProxy(stores.postgres.url),
    startFaultProxy(stores.redis.url),
    startFaultProxy(stores.mailbox.url),
  ])
  const settings: { readonly passwords?: object } = options.settings ?? SETTINGS
  const server = await startServer({
    // Passwords wait as in production: no answer may take more than five seconds.
    settings: { ...settings, passwords: { queue_ms: 800, ...settings.passwords } },
    stores: { databaseUrl: postgres.url, redisUrl: redis.url },
    issuer: balancer.origin,
    env: {
      ...{ TRUSTED_PROXIES: '127.0.0.1', SMTP_URL: smtp.url, GENKAN_OUTBOUND_PRIVATE_NETWORKS: '127.0.0.0/8' },
      ...options.env,
    },
    process: 'own',
    ...(options.command === undefined ? {} : { command: options.command }),
    ...(options.wait === undefined ? {} : { wait: options.wait }),
    ...(options.root === undefined ? {} : { root: options.root }),
  })
  const up = options.wait !== false
  return { server, redis, postgres, smtp, up, known: up }
}

async function closeInstance({ server, redis, postgres, smtp }: Instance): Promise<void> {
  await server.close()
  await Promise.all([redis.stop(), postgres.stop(), smtp.stop()])
}

function watchInstances(instances: readonly Instance[]): { stop(): void } {
  let stopped = false
  const watch = async () => {
    while (!stopped) {
      await Promise.all(
        instances.map(async (instance) => {
          const ready = (await readiness(instance.server)) === 200
          instance.up = ready && instance.held !== true
          instance.known ||= ready
        }),
      )
      await sleep(CHECK_MS)
    }
  }
  void watch()
  return {
    stop: () => {
      stopped = true
    },
  }
}

/** Status of `/readyz`; 0 when nobody answers within two seconds. */
export function readiness(server: Server): Promise<number> {
  return statusOf(`${server.managementOrigin}/readyz`)
}

export async function statusOf(url: string, milliseconds = 3000): Promise<number> {
  try {
    const answer = await fetch(url, {
      signal: AbortSignal.timeout(milliseconds),
      headers: { connection: 'close' },
      redirect: 'manual',
    })
    await answer.body?.cancel()
    return answer.status
  } catch {
    return 0
  }
}

function past(postgres: BreakableServer, redis: BreakableServer): Pick<World, 'sql' | 'command'> {
  return {
    async sql<Row extends object>(statement: string, values: readonly unknown[] = []) {
      const client = new pg.Client({ connectionString: postgres.url, application_name: 'faults' })
      client.on('error', () => {})
      await client.connect()
      try {
        return (await client.query<Row>(statement, [...values])).rows
      } finally {
        await client.end().catch(() => {})
      }
    },
    async command(...words) {
      const client = new Redis(redis.url, { lazyConnect: true, retryStrategy: () => null, connectionName: 'faults' })
      client.on('error', () => {})
      await client.connect()
      try {
        return await client.call(words[0] ?? 'PING', ...words.slice(1))
      } finally {
        client.disconnect()
      }
    },
  }
}

let lastAddress = 0

/** Networks are limited as a whole: each person has one of their own. */
function address(): string {
  lastAddress += 1
  return `10.${(lastAddress >> 8) & 255}.${lastAddress & 255}.7`
}

/** What one process holds: resident memory in MiB, open descriptors. */
export function holdings(pid: number): { readonly memory: number; readonly descriptors: number } {
  const memory = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return { memory: Number(memory ?? 0) / 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length }
}

export async function until(
  what: () => Promise<boolean> | boolean,
  milliseconds: number,
  why: string,
): Promise<number> {
  const start = Date.now()
  for (;;) {
    if (await Promise.resolve(what()).catch(() => false)) return Date.now() - start
    if (Date.now() - start > milliseconds) throw new Error(`${why}: not within ${milliseconds / 1000} s`)
    await sleep(100)
  }
}
