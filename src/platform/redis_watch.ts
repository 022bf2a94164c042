/**
 * Watches what the answers to commands do not tell: whether Redis would throw records away when its memory is full, and
 * whether its data have another history.
 */
import { Redis } from 'ioredis'
import type { Logger } from './logger.ts'
import type { Once } from './once.ts'
import { mastersOf, type RedisClient, refusesWrites } from './redis.ts'
import { whyRefused } from './redis_refusal.ts'
import type { UntakenEnds } from './untaken_ends.ts'

const SAFE_POLICY = 'noeviction'

export interface RedisWatchDeps {
  readonly redis: RedisClient
  readonly once: Pick<Once, 'begin'>
  readonly untakenEnds: Pick<UntakenEnds, 'apply'>
  readonly logger: Pick<Logger, 'error' | 'warn'>
  /** Told at each look whether records may be evicted, for the metric. */
  readonly evicting: (isEvicting: boolean) => void
}

export interface RedisWatch {
  /**
   * Why an instance must not begin to serve on this Redis; undefined once it was found as it should be. What changes later
   * raises an alarm but stops nobody: every instance would go at once.
   */
  objection(): Promise<string | undefined>
  /** Looks, and says what has changed. Rejects when Redis is away. */
  look(): Promise<void>
}

export function createRedisWatch({ redis, once, untakenEnds, logger, evicting }: RedisWatchDeps): RedisWatch {
  let isAccepted = false
  let wasEvicting = false
  let wasRefusing = false
  const histories = new Map<string, string>()

  async function look(): Promise<string | undefined> {
    const policy = await evictionPolicy(redis)
    evicting(policy !== undefined)
    if (policy !== undefined && !wasEvicting)
      logger.error(
        { policy },
        `Redis evicts (maxmemory-policy ${policy}): sessions and limits may vanish; set noeviction`,
      )
    wasEvicting = policy !== undefined
    return policy
  }

  /** Whether one of them was not known. */
  async function compareHistories(): Promise<boolean> {
    const known = [...histories.values()]
    const now = await Promise.all(mastersOf(redis).map(async (node) => ({ node, id: await historyOf(node) })))
    const fresh = now.filter(({ id }) => !known.includes(id))
    if (fresh.length === 0) return false
    histories.clear()
    for (const { node, id } of now) histories.set(nameOf(node), id)
    if (known.length > 0)
      logger.warn(
        { nodes: fresh.map(({ node }) => nameOf(node)) },
        'Redis has another master or was started again: what was under way there begins anew',
      )
    return true
  }

  tellTroubles(redis, logger)
  // At once, or whoever asks first would be refused for longer.
  const again = () => void once.begin().catch(() => {})
  redis.on('ready', again)
  redis.on('+node', (node: Redis) => void node.once('ready', again))

  return {
    async objection() {
      if (isAccepted) return undefined
      const policy = await look()
      isAccepted = policy === undefined
      return policy && `redis evicts: maxmemory-policy is ${policy}, set ${SAFE_POLICY}`
    },
    async look() {
      await look()
      if (await compareHistories()) await once.begin()
      await untakenEnds.apply()
      const isRefusing = refusesWrites(redis)
      if (isRefusing !== wasRefusing)
        logger.warn({}, isRefusing ? 'Redis refuses writes: what ends meanwhile is kept in SQL' : 'Redis writes again')
      wasRefusing = isRefusing
    },
  }
}

const SAME_TROUBLE_MS = 30_000
const ASK_AGAIN_MS = 2000

/** Says why the connection fails (the password, too many clients, nobody there): once in a while, and not at each attempt. */
function tellTroubles(redis: RedisClient, logger: Pick<Logger, 'warn'>): void {
  const told = new Map<string, number>()
  const isNews = (reason: string) => {
    const now = performance.now()
    if (now - (told.get(reason) ?? Number.NEGATIVE_INFINITY) < SAME_TROUBLE_MS) return false
    if (told.size > 20) told.clear()
    told.set(reason, now)
    return true
  }
  const tell = ({ message }: Error) => {
    if (isNews(message)) logger.warn({ reason: message }, 'Redis cannot be used')
  }
  redis.on('error', tell)
  redis.on('node error', tell)
  if (!(redis instanceof Redis) || redis.options.sentinels) return
  let askedAt = Number.NEGATIVE_INFINITY
  redis.on('reconnecting', async () => {
    if (performance.now() - askedAt < ASK_AGAIN_MS) return
    askedAt = performance.now()
    const message = await whyRefused(redis.options)
    if (message !== undefined) tell({ name: 'Error', message })
  })
}

export interface RedisReport {
  readonly masters: number
  /** The policy by which records are thrown away, when there is one. */
  readonly policy: string | undefined
  /** Whether what it is told is kept on its disk; undefined when it does not say. */
  readonly appendsOnly: boolean | undefined
}

/** How Redis is set up, for an operator. Rejects when it is away. */
export async function redisReport(redis: RedisClient): Promise<RedisReport> {
  return {
    masters: mastersOf(redis).length,
    policy: await evictionPolicy(redis),
    appendsOnly: await appendsOnly(redis),
  }
}

/** The policy by which records may be thrown away; undefined when there is none. INFO is allowed where CONFIG is not. */
async function evictionPolicy(redis: RedisClient): Promise<string | undefined> {
  const all = await Promise.all(mastersOf(redis).map((node) => field(node, 'memory', 'maxmemory_policy')))
  return all.find((policy) => policy !== SAFE_POLICY && policy !== '')
}

/** Whether every master keeps what it is told on its disk; undefined when it does not say. */
async function appendsOnly(redis: RedisClient): Promise<boolean | undefined> {
  const all = await Promise.all(mastersOf(redis).map((node) => field(node, 'persistence', 'aof_enabled')))
  return all.includes('') ? undefined : all.every((enabled) => enabled === '1')
}

function historyOf(node: Redis): Promise<string> {
  return field(node, 'replication', 'master_replid')
}

async function field(node: Redis, section: string, name: string): Promise<string> {
  return new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(await node.info(section))?.[1] ?? ''
}

function nameOf({ options: { host, port } }: Redis): string {
  return `${host}:${port}`
}
