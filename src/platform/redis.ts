/**
 * The Redis connection, to one server, through Sentinel or to a Cluster: fails fast, never queues without bound, heals by
 * itself, and follows its master.
 */
import { Cluster, type Command, Redis, type RedisOptions } from 'ioredis'
import type { RedisAddress, RedisPlace } from '../config/redis_url.ts'
import { createTimeLimit } from './redis_time_limit.ts'
import { writeOnceATurn } from './redis_turns.ts'

/** Whichever it is: the commands are the same. */
export type RedisClient = Redis | Cluster

const COMMAND_MS = 1000
const RECONNECT_MS = 1000
/** A cluster is asked for its slots so often, besides whenever a command meets a node that has gone or moved. */
const SLOTS_MS = 5000
/** A slot that moves twice while a command is under way is left to the next request. */
const REDIRECTIONS = 4

type Options = Omit<RedisOptions, 'replyMapping'>

interface OpenOptions {
  readonly name?: string
}

/**
 * Opens a connection that writes once a turn. A command fails after a second or at once while the connection is down:
 * an offline queue would let requests pile up behind a store that is away.
 */
export function openRedis(place: RedisPlace, { name = 'genkan' }: OpenOptions = {}): RedisClient {
  return place.kind === 'cluster' ? openCluster(place, name) : openMaster(place, name)
}

/** Without a listener ioredis prints; the commands themselves carry the error. */
function quiet<T extends RedisClient>(redis: T): T {
  redis.on('error', () => {})
  return redis
}

/**
 * A connection that only listens. In a cluster every node hears what is published at any, so it is at one of them, and at
 * another when that one goes or is not of the cluster any more.
 */
export function openSubscriber(
  place: RedisPlace,
  publisher: RedisClient,
  { name = 'genkan' }: OpenOptions = {},
): Redis {
  if (place.kind !== 'cluster') return openMaster(place, name)
  const members = () => (publisher instanceof Cluster ? publisher.nodes().map(({ options }) => addressOf(options)) : [])
  let turn = Math.floor(Math.random() * place.nodes.length)
  const next = () => {
    const known = members()
    const nodes = known.length > 0 ? known : place.nodes
    return { ...nodes[turn++ % nodes.length] }
  }
  const redis = new Redis({
    ...common(name),
    ...next(),
    ...login(place),
    retryStrategy: (attempt: number) => {
      // The driver reads the address anew when it connects.
      Object.assign(redis.options, next())
      return delay(attempt)
    },
  })
  const isMember = () => {
    const known = members()
    const here = addressOf(redis.options)
    return known.length === 0 || known.some(({ host, port }) => host === here.host && port === here.port)
  }
  const timer = setInterval(() => {
    if (redis.status === 'ready' && !isMember()) redis.disconnect(true)
  }, SLOTS_MS).unref()
  redis.on('end', () => clearInterval(timer))
  return quiet(redis)
}

function addressOf({ host = '', port = 0 }: Options): RedisAddress {
  return { host, port }
}

/** The servers that are written to: one, or the masters of a cluster. @throws Error while a cluster knows none */
export function mastersOf(redis: RedisClient): readonly Redis[] {
  const masters = redis instanceof Cluster ? redis.nodes('master') : [redis]
  if (masters.length === 0) throw new Error("Cluster isn't ready")
  return masters
}

/** Resolves when all of them answer and are masters: a replica answers too, and takes nothing. */
export async function pingMasters(redis: RedisClient): Promise<void> {
  const told = await Promise.all(mastersOf(redis).map((node) => node.info('replication')))
  if (!told.every((text) => /^role:master\b/m.test(text))) throw new Error('READONLY it is a replica')
}

/** The time of one of the masters. */
export async function timeOf(redis: RedisClient): Promise<Date> {
  const [seconds] = (await mastersOf(redis)[0]?.time()) ?? []
  return new Date(Number(seconds) * 1000)
}

function common(name: string): Options {
  return {
    connectionName: name,
    enableOfflineQueue: false,
    connectTimeout: COMMAND_MS,
    keepAlive: 5000,
    maxRetriesPerRequest: 0,
    // A replica after a failover: reconnect and send again.
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
  }
}

/** Jitter keeps many instances from reconnecting in step. */
function delay(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), RECONNECT_MS) * (0.5 + Math.random() / 2)
}

function login({ username, password, tls }: RedisPlace): Options {
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(tls ? { tls: {} } : {}),
  }
}

function openMaster(place: Exclude<RedisPlace, { kind: 'cluster' }>, name: string): Redis {
  const options = { ...common(name), retryStrategy: delay }
  const redis = place.kind === 'one' ? new Redis(place.url, options) : new Redis(throughSentinels(place, options))
  writeOnceATurn(redis)
  limitTimes(redis)
  comeBack(redis)
  return quiet(redis)
}

/**
 * The driver gives up for ever when a connection fails before it is one, as when the sentinels tell of a new master while it asks
 * them for the old. Only we end it.
 */
function comeBack(redis: Redis): void {
  const disconnect = redis.disconnect.bind(redis)
  let isOver = false
  redis.disconnect = (reconnect = false) => {
    isOver ||= !reconnect
    disconnect(reconnect)
  }
  redis.on('end', () => {
    const again = () => (isOver ? undefined : void redis.connect().catch(() => {}))
    setTimeout(again, delay(0)).unref()
  })
}

/** Also told by the sentinels: a master that hangs closes no connection. */
function throughSentinels(place: RedisPlace & { kind: 'sentinel' }, options: Options): Options {
  const { username, password } = place.sentinelLogin
  return {
    ...options,
    ...login(place),
    ...{ sentinels: [...place.sentinels], name: place.master, db: place.database, failoverDetector: true },
    ...{ sentinelRetryStrategy: delay, sentinelReconnectStrategy: delay, sentinelCommandTimeout: COMMAND_MS },
    ...(username === undefined ? {} : { sentinelUsername: username }),
    ...(password === undefined ? {} : { sentinelPassword: password }),
    ...(place.tls ? { sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
  }
}

/** Commands are not sent again when a connection breaks: nobody knows whether a consumption was carried out. */
function openCluster(place: RedisPlace & { kind: 'cluster' }, name: string): Cluster {
  const cluster = new Cluster([...place.nodes], {
    ...{ enableOfflineQueue: false, maxRedirections: REDIRECTIONS, clusterRetryStrategy: delay },
    ...{ retryDelayOnFailover: 0, retryDelayOnClusterDown: 0 },
    ...{ slotsRefreshTimeout: COMMAND_MS, slotsRefreshInterval: SLOTS_MS },
    // Names stay names: certificates are compared with them, and they may lead elsewhere at the next try.
    dnsLookup: (address, found) => found(null, address),
    redisOptions: { ...common(name), ...login(place) },
  })
  cluster.on('+node', (node: Redis) => {
    writeOnceATurn(node)
    // A first command would wait for the connection, and those beside it fail.
    if (!node.options.readOnly) node.connect().catch(() => {})
  })
  limitTimes(cluster, (error) => {
    if (cluster.status === 'ready' && redisUnavailable(error)) cluster.refreshSlotsCache()
  })
  return quiet(cluster)
}

/** Every command has its second, however often it is sent to another node. */
function limitTimes(redis: RedisClient, failed: (error: unknown) => void = () => {}): void {
  const send = redis.sendCommand.bind(redis) as (...given: unknown[]) => unknown
  const limitTime = createTimeLimit(COMMAND_MS)
  redis.sendCommand = (command: Command, ...more: unknown[]) => {
    const { reject } = command
    const rejectAndNote = (error: Error) => {
      if (isRefusal(error)) refusedAWrite(redis)
      failed(error)
      reject(error)
    }
    // Not made in the assignment: V8 puts functions that are assigned to members among the old objects.
    command.reject = rejectAndNote
    const sent = send(command, ...more)
    limitTime(command)
    return sent
  }
}

/** Too few replicas, a replica, a disk that fails: it answers, but takes nothing, not even an end. */
const REFUSED = /READONLY|NOREPLICAS|MISCONF/
/** Longer than it takes until somebody tries again to write (`untaken_ends.ts`). */
const REFUSED_MS = 12_000
const refusals = new WeakMap<RedisClient, number>()
const healers = new WeakMap<RedisClient, Healer>()

/** Whether Redis answered, and wrote nothing. */
export function isRefusal(error: unknown): boolean {
  return REFUSED.test(messageOf(error))
}

export function refusedAWrite(redis: RedisClient): void {
  refusals.set(redis, performance.now())
  healers.get(redis)?.refused()
}

export interface Healer {
  /** Called at each refusal. */
  refused(): void
  /** Tries to write; resolves when that is known. */
  tryNow(): Promise<void>
}

export function healRefusals(redis: RedisClient, healer: Healer): void {
  healers.set(redis, healer)
}

/** As `refusesWrites`, after it was tried once more. */
export async function stillRefusesWrites(redis: RedisClient): Promise<boolean> {
  if (refusesWrites(redis)) await healers.get(redis)?.tryNow()
  return refusesWrites(redis)
}

export function tookAWrite(redis: RedisClient): void {
  refusals.delete(redis)
}

/** Whether it has lately refused to write. What it holds may have ended then: ends are stated in SQL first. */
export function refusesWrites(redis: RedisClient): boolean {
  return performance.now() - (refusals.get(redis) ?? Number.NEGATIVE_INFINITY) < REFUSED_MS
}

const AWAY_NAMES = ['MaxRetriesPerRequestError', 'ClusterAllFailedError', 'AbortError']
const AWAY_CODES = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|NR_CLOSED)/
const AWAY = new RegExp(
  [
    ...['Command timed out', 'Connection is closed', "Stream isn't writeable", 'READONLY', 'OOM command', 'NOREPLICAS'],
    ...['LOADING', 'MASTERDOWN', 'max number of clients', 'MISCONF', 'NOAUTH', 'WRONGPASS', '^BUSY ', '^UNBLOCKED'],
    ...['^MOVED ', '^ASK ', 'CLUSTERDOWN', 'TRYAGAIN', "Cluster isn't ready", 'Too many Cluster redirections'],
    ...['Cluster is ended', 'startup nodes is available', 'All sentinels are unreachable'],
  ].join('|'),
)

/** Whether the error means that Redis is away, full, moving or read-only, and not that the command is wrong. */
export function redisUnavailable(error: unknown): boolean {
  const { name, code } = (error ?? {}) as { name?: string; code?: string }
  return AWAY_NAMES.includes(name ?? '') || AWAY_CODES.test(code ?? '') || AWAY.test(messageOf(error))
}

function messageOf(error: unknown): string {
  return String((error as { message?: unknown } | undefined)?.message ?? '')
}
