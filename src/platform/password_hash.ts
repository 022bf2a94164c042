/**
 * Password hashing: argon2id (RFC 9106), few at a time. Hashes take memory and all of a core, so a login flood must queue
 * in front of them, in turns of networks, and leave the queue before a person gives up waiting.
 */
import { randomBytes } from 'node:crypto'
import { AppError } from '../errors.ts'
import { HASH_BYTES, type HashParameters } from './argon2id.ts'
import { networkOf } from './client_network.ts'
import { createFairQueue, type FairQueueOptions, type Priority, type QueueStats } from './fair_queue.ts'
import type { Hashing } from './hashing.ts'
import { networkOfRequest } from './request_scope.ts'

export interface PasswordHash {
  /** An encoded argon2id hash (PHC string) with a random salt. It waits behind those who sign in, unless it belongs to that. */
  hash(password: string, share?: Share & { readonly priority?: Priority }): Promise<string>
  /** Whether the password belongs to the hash. Throws Error when the stored hash is malformed: that is corruption. */
  verify(hash: string, password: string, share?: Share): Promise<boolean>
  /** The work of `verify` for an account that is not there, so that time does not tell who has one (CWE-208). */
  verifyDummy(password: string, share?: Share): Promise<false>
  /** Whether the hash was made with a smaller parameter than today's. Throws Error when it is malformed. */
  needsRehash(hash: string): boolean
  /** Hashes running and waiting now. */
  stats(): QueueStats
  /** Whether a sign-in from this address would find no place in the queue now. */
  turnsAway(ip: string): boolean
  /** One was let in, and counts until the returned function is called. */
  enter(ip: string): () => void
}

/** Whose place in the queue it takes, beside that of the network of the running request. */
export interface Share {
  /** Names the account, or what was typed for one: known and unknown ones have equal shares. */
  readonly account?: string | undefined
}

export interface PasswordHashOptions extends HashParameters {
  /** Hashes at once. */
  readonly maxConcurrent: number
  /** Longest wait for a turn, in milliseconds. */
  readonly queueMs: number
}

/** A long password costs memory and time before any limit counts it (A102); policy refuses earlier and kinder. */
const MAX_BYTES = 1024
const SALT_BYTES = 16

/** What a core does in a millisecond: KiB times passes. A first guess, until hashes are measured. */
const KIB_A_MS = 1300

/**
 * Hashes with the given parameters; verifies with those of the stored hash. All but `needsRehash` throw AppError
 * `temporarily_unavailable` when the queue is too long or who hashes is gone, `too_many_requests` when a network or an account
 * has its share of it, and `payload_too_large` over 1,024 bytes.
 */
export function createPasswordHash(
  options: PasswordHashOptions,
  hashing: Hashing,
  watch?: FairQueueOptions['watch'],
): PasswordHash {
  const { memoryKib, passes, parallelism } = options
  const queue = createFairQueue({
    ...{ width: options.maxConcurrent, deadlineMs: options.queueMs, watch },
    guessMs: guessMs(options),
  })
  const dummy = dummyHash(options)

  async function verify(hash: string, password: string, { account }: Share = {}): Promise<boolean> {
    const expectedMs = guessMs(parse(hash))
    guardLength(password)
    return queue.run(ticketOf('sign_in', account), () => hashing.verify(hash, password, expectedMs))
  }

  return {
    verify,
    async hash(password, { account, priority = 'sign_up' } = {}) {
      guardLength(password)
      const parameters = { memoryKib, passes, parallelism }
      const work = () => hashing.hash(password, parameters, guessMs(options))
      return queue.run(ticketOf(priority, account), work)
    },
    async verifyDummy(password, share) {
      await verify(dummy, password, share)
      return false
    },
    needsRehash(hash) {
      const stored = parse(hash)
      return stored.memoryKib < memoryKib || stored.passes < passes || stored.parallelism < parallelism
    },
    stats: queue.stats,
    turnsAway: (ip) => queue.turnsAway({ priority: 'sign_in', network: networkOf(ip) }),
    enter: (ip) => queue.enter({ priority: 'sign_in', network: networkOf(ip) }),
  }
}

function guessMs({ memoryKib, passes }: HashParameters): number {
  return (memoryKib * passes) / KIB_A_MS
}

/** The network is the request's own, whoever calls: nobody can forget to count it. */
function ticketOf(priority: Priority, account: string | undefined) {
  return { priority, account, network: networkOfRequest() }
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
function parse(hash: string): HashParameters {
  const parts = ENCODED.exec(hash)
  // The hash itself stays out of the message, and so out of the logs.
  if (parts === null || Number(parts[1]) > MAX_MEMORY_KIB) throw new Error('stored password hash: malformed')
  return { memoryKib: Number(parts[1]), passes: Number(parts[2]), parallelism: Number(parts[3]) }
}
