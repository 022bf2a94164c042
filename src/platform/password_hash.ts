/**
 * Password hashing: argon2id (RFC 9106), few at a time. Hashing and token signing share the thread pool of the process,
 * so a login flood must queue in front of the pool, and leave the queue with a 503 before a person gives up waiting.
 */
import { randomBytes } from 'node:crypto'
import { hash as argon2Hash, argon2id, verify as argon2Verify } from 'argon2'
import { AppError } from '../errors.ts'

export interface PasswordHash {
  /** An encoded argon2id hash (PHC string) with a random salt. */
  hash(password: string): Promise<string>
  /** Whether the password belongs to the hash. Throws Error when the stored hash is malformed: that is corruption. */
  verify(hash: string, password: string): Promise<boolean>
  /** The work of `verify` for an account that is not there, so that time does not tell who has one (CWE-208). */
  verifyDummy(password: string): Promise<false>
  /** Whether the hash was made with a smaller parameter than today's. Throws Error when it is malformed. */
  needsRehash(hash: string): boolean
  /** Hashes running and waiting now. */
  stats(): { running: number; queued: number }
}

export interface PasswordHashOptions {
  readonly memoryKib: number
  readonly passes: number
  readonly parallelism: number
  /** Hashes at once in this process: max(1, min(cores - 1, UV_THREADPOOL_SIZE - 2)) leaves threads to signing and DNS. */
  readonly maxConcurrent: number
  /** Longest wait for a turn, in milliseconds. */
  readonly queueMs: number
}

/** A long password costs memory and time before any limit counts it (A102); policy refuses earlier and kinder. */
const MAX_BYTES = 1024
const SALT_BYTES = 16
const HASH_BYTES = 32

/**
 * Hashes with the given parameters; verifies with those of the stored hash. All but `needsRehash` throw AppError
 * `temporarily_unavailable` when the queue is too long, and `payload_too_large` over 1,024 bytes.
 */
export function createPasswordHash(options: PasswordHashOptions): PasswordHash {
  const { memoryKib, passes, parallelism } = options
  const queue = createQueue(options.maxConcurrent, options.queueMs)
  const dummy = dummyHash(options)

  async function verify(hash: string, password: string): Promise<boolean> {
    parse(hash)
    guardLength(password)
    return queue.run(() => argon2Verify(hash, password))
  }

  return {
    verify,
    async hash(password) {
      guardLength(password)
      const parameters = {
        type: argon2id,
        memoryCost: memoryKib,
        timeCost: passes,
        parallelism,
        hashLength: HASH_BYTES,
      }
      return queue.run(() => argon2Hash(password, parameters))
    },
    async verifyDummy(password) {
      await verify(dummy, password)
      return false
    },
    needsRehash(hash) {
      const stored = parse(hash)
      return stored.memoryKib < memoryKib || stored.passes < passes || stored.parallelism < parallelism
    },
    stats: queue.stats,
  }
}

/** Random bytes in the shape of a hash: verifying against them is the same work, and no password belongs to them. */
function dummyHash({ memoryKib, passes, parallelism }: PasswordHashOptions): string {
  const random = (bytes: number) => randomBytes(bytes).toString('base64').replace(/=+$/, '')
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${random(SALT_BYTES)}$${random(HASH_BYTES)}`
}

function guardLength(password: string): void {
  if (Buffer.byteLength(password) > MAX_BYTES) throw new AppError('payload_too_large')
}

const ENCODED = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/

/** A damaged or imported row must not ask for all memory. */
const MAX_MEMORY_KIB = 1024 * 1024

/** The parameters of a stored hash. */
function parse(hash: string): { memoryKib: number; passes: number; parallelism: number } {
  const parts = ENCODED.exec(hash)
  // The hash itself stays out of the message, and so out of the logs.
  if (parts === null || Number(parts[1]) > MAX_MEMORY_KIB) throw new Error('stored password hash: malformed')
  return { memoryKib: Number(parts[1]), passes: Number(parts[2]), parallelism: Number(parts[3]) }
}

interface Queue {
  run<T>(work: () => Promise<T>): Promise<T>
  stats(): { running: number; queued: number }
}

/** First come, first served, at most `width` at once. */
function createQueue(width: number, deadlineMs: number): Queue {
  const waiting: { start(): void }[] = []
  let running = 0
  /** How long one piece of work takes, as a moving mean; unknown until the first is done. */
  let meanMs = 0

  async function turn(): Promise<void> {
    if (running < width) {
      running += 1
      return
    }
    // When the queue is longer than the deadline, waiting is in vain: a flood is answered at once, not after the deadline.
    if ((waiting.length * meanMs) / width > deadlineMs) throw busy()
    await new Promise<void>((resolve, reject) => {
      const entry = {
        start() {
          clearTimeout(timer)
          resolve()
        },
      }
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(entry), 1)
        reject(busy())
      }, deadlineMs)
      waiting.push(entry)
    })
  }

  /** Hands the turn to the next in line, or gives it back. */
  function leave(): void {
    const next = waiting.shift()
    if (next === undefined) running -= 1
    else next.start()
  }

  return {
    stats: () => ({ running, queued: waiting.length }),
    async run(work) {
      await turn()
      const began = performance.now()
      try {
        return await work()
      } finally {
        const took = performance.now() - began
        meanMs = meanMs === 0 ? took : meanMs * 0.8 + took * 0.2
        leave()
      }
    },
  }
}

function busy(): AppError {
  return new AppError('temporarily_unavailable', { retryAfter: 1 })
}
