/** The Redis connection: fails fast, never queues without bound, heals by itself. */
import type { Socket } from 'node:net'
import { type Command, Redis } from 'ioredis'

const COMMAND_MS = 1000
const RECONNECT_MS = 1000

/**
 * Opens a connection that writes once a turn. A command fails after a second or at once while the connection is down:
 * an offline queue would let requests pile up behind a store that is away.
 */
export function openRedis(url: string, options: { readonly name?: string } = {}): Redis {
  const redis = new Redis(url, {
    connectionName: options.name ?? 'genkan',
    enableOfflineQueue: false,
    connectTimeout: COMMAND_MS,
    keepAlive: 5000,
    maxRetriesPerRequest: 0,
    // Jitter keeps many instances from reconnecting in step.
    retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 5), RECONNECT_MS) * (0.5 + Math.random() / 2),
    // A replica after a failover: reconnect and send again.
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
  })
  writeOnceATurn(redis)
  // Without a listener ioredis prints; the commands themselves carry the error.
  redis.on('error', () => {})
  return redis
}

/**
 * The driver's own limit would refuse answers that are there: a turn that computed for a second (the first password of a
 * process, on a busy machine) runs its timers before it reads. One more turn lets it read first.
 */
function limitTime(command: Command): void {
  const refuse = () => {
    if (!command.isSettled) command.reject(new Error('Command timed out'))
  }
  const timer = setTimeout(() => setImmediate(refuse), COMMAND_MS)
  const done = () => clearTimeout(timer)
  command.promise.then(done, done)
}

/**
 * Sends the commands of one turn of the event loop, whoever asked, in one write. The driver's own auto-pipelining does that
 * too, but at the price of a second command and promise for each.
 */
function writeOnceATurn(redis: Redis): void {
  const send = redis.sendCommand.bind(redis)
  let held: Socket | undefined
  const flush = () => {
    held?.uncork()
    held = undefined
  }
  redis.sendCommand = (command, stream) => {
    const socket = redis.stream as Socket | undefined
    if (held === undefined && socket !== undefined) {
      held = socket
      socket.cork()
      setImmediate(flush)
    }
    const sent = send(command, stream)
    limitTime(command)
    return sent
  }
}

/** Whether the error means that Redis is away, full or read-only, and not that the command is wrong. */
export function redisUnavailable(error: unknown): boolean {
  const { name, message, code } = (error ?? {}) as { name?: string; message?: string; code?: string }
  return (
    name === 'MaxRetriesPerRequestError' ||
    /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|NR_CLOSED)/.test(code ?? '') ||
    /Command timed out|Connection is closed|Stream isn't writeable|READONLY|OOM command|NOREPLICAS|LOADING|MASTERDOWN|max number of clients/.test(
      message ?? '',
    )
  )
}
