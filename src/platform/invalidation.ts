/**
 * Tells all instances that a cached row has changed. A cache asks `healthy()`: while the channel is away its entries
 * live at most a second, so that "disable" acts in time even when nobody can be told.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'

/** `key` is undefined when messages may have been lost: everything under the topic may have changed. */
export type Listener = (key: string | undefined) => void

export interface Invalidation {
  /**
   * Tells every instance, this one included and first, that `key` has changed. Call it after the commit.
   * Never rejects: resolves to false when the others could not be told (they notice by themselves within the cache's life).
   */
  publish(topic: string, key: string): Promise<boolean>
  subscribe(topic: string, listener: Listener): void
  /** Whether a change made elsewhere would be heard right now. */
  healthy(): boolean
  /** Asks a silent channel whether it is still there; resolves when `healthy` can say so, soon in any case. */
  ask(): Promise<void>
  close(): Promise<void>
}

function createListeners() {
  const listeners = new Map<string, Listener[]>()
  return {
    add: (topic: string, listener: Listener) => listeners.set(topic, [...(listeners.get(topic) ?? []), listener]),
    tell: (topic: string, key: string | undefined) => {
      for (const listener of listeners.get(topic) ?? []) listener(key)
    },
    tellAll: () => {
      for (const group of listeners.values()) for (const listener of group) listener(undefined)
    },
  }
}

/** For one process that owns its data: every change is made here, so the channel is always healthy. */
export function createLocalInvalidation(): Invalidation {
  return createUnsharedInvalidation(true)
}

/** For instances that share PostgreSQL but no Redis: changes made elsewhere are never heard, caches stay short-lived. */
export function createNoInvalidation(): Invalidation {
  return createUnsharedInvalidation(false)
}

function createUnsharedInvalidation(complete: boolean): Invalidation {
  const listeners = createListeners()
  return {
    publish: async (topic, key) => {
      listeners.tell(topic, key)
      return complete
    },
    subscribe: (topic, listener) => {
      listeners.add(topic, listener)
    },
    healthy: () => complete,
    ask: async () => {},
    close: async () => {},
  }
}

const CHANNEL = 'invalidation'
const SEPARATOR = '\n'
/**
 * A half-open connection swallows messages without an error. Answers to these pings arrive behind all messages sent
 * before, so a fresh answer proves that nothing is missing.
 */
const PING_MS = 300
const SILENCE_MS = 900
/** A process that computed for a second has sent no ping for so long; the answer to one is a matter of milliseconds. */
const ASK_MS = 200
const PUBLISH_TRIES = 3
const RETRY_MS = 100

interface Publisher {
  publish(channel: string, message: string): Promise<unknown>
}

export interface RedisInvalidationDeps {
  /** A shared connection: PUBLISH is an ordinary command. In a cluster every node hears it. */
  readonly publisher: Publisher
  /** A connection of its own, closed by `close`: a subscriber cannot send other commands. */
  readonly subscriber: Redis
  /** Milliseconds of a clock that never goes back. */
  readonly monotonic?: () => number
}

/** Redis pub/sub. Unhealthy while its connection is down or silent; when it comes back, every listener forgets everything. */
export function createRedisInvalidation(deps: RedisInvalidationDeps): Invalidation {
  const { publisher, subscriber } = deps
  const monotonic = deps.monotonic ?? (() => performance.now())
  const listeners = createListeners()
  let heardAt = Number.NEGATIVE_INFINITY
  let subscribed = false

  const listen = async () => {
    try {
      await subscriber.subscribe(CHANNEL)
      // What was published while nobody listened is lost.
      listeners.tellAll()
      subscribed = true
      heardAt = monotonic()
    } catch {
      // The next `ready` tries again; until then `healthy` is false.
    }
  }
  const ping = async () => {
    if (!subscribed) return
    const askedAt = monotonic()
    await subscriber.ping().then(
      () => {
        heardAt = Math.max(heardAt, askedAt)
      },
      () => {},
    )
  }
  const lost = () => {
    subscribed = false
  }

  subscriber.on('ready', listen)
  subscriber.on('close', lost)
  subscriber.on('message', (_channel: string, message: string) => {
    const at = message.indexOf(SEPARATOR)
    if (at > 0) listeners.tell(message.slice(0, at), message.slice(at + 1))
  })
  if (subscriber.status === 'ready') void listen()
  const timer = setInterval(ping, PING_MS)
  timer.unref()

  return {
    publish: async (topic, key) => {
      listeners.tell(topic, key)
      return send(publisher, `${topic}${SEPARATOR}${key}`)
    },
    subscribe: (topic, listener) => {
      listeners.add(topic, listener)
    },
    healthy: () => subscribed && monotonic() - heardAt < SILENCE_MS,
    ask: () => Promise.race([ping(), sleep(ASK_MS, undefined, { ref: false })]),
    close: async () => {
      clearInterval(timer)
      subscribed = false
      subscriber.disconnect()
    },
  }
}

async function send(publisher: Publisher, message: string): Promise<boolean> {
  for (let attempt = 1; attempt <= PUBLISH_TRIES; attempt++) {
    try {
      await publisher.publish(CHANNEL, message)
      return true
    } catch {
      if (attempt < PUBLISH_TRIES) await sleep(RETRY_MS * attempt)
    }
  }
  return false
}
