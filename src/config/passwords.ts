/** How passwords are hashed and judged, and whether a new account needs one. */
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { besideSettings, type Environment } from './reading.ts'
import type { Parsed } from './values.ts'

/** Have I Been Pwned, by ranges of five hex digits. */
const RANGE_API = 'https://api.pwnedpasswords.com/range/'

export const passwordShape = {
  passwords: z
    .strictObject({
      memory_kib: z.coerce.number().int().min(7168).max(1_048_576).default(19_456),
      passes: z.coerce.number().int().min(1).max(20).default(2),
      parallelism: z.coerce.number().int().min(1).max(16).default(1),
      min_length: z.coerce.number().int().min(8).max(64).default(8),
      max_concurrent: z.coerce.number().int().min(1).max(64).optional(),
      queue_ms: z.coerce.number().int().min(10).max(10_000).default(1000),
      breached_file: z.string().min(1).optional(),
      breached_api: z.union([z.boolean(), z.url({ protocol: /^https?$/ })]).default(false),
    })
    .prefault({}),
  registration: z.strictObject({ password: z.enum(['optional', 'required']).default('optional') }).prefault({}),
}

type Settings = Parsed<typeof passwordShape>

export interface PasswordConfig {
  readonly passwords: {
    readonly memoryKib: number
    readonly passes: number
    readonly parallelism: number
    readonly minLength: number
    readonly maxConcurrent: number
    readonly queueMs: number
    /** Sorted SHA-1 hashes of passwords that were breached elsewhere. */
    readonly breachedFile?: string | undefined
    /** Base address of a range API for such hashes. */
    readonly breachedApi?: string | undefined
  }
  readonly registration: Settings['registration']
}

export function passwordsOf({ passwords, registration }: Settings, env: Environment): PasswordConfig {
  const { breached_file: file, breached_api: api } = passwords
  return {
    passwords: {
      memoryKib: passwords.memory_kib,
      passes: passwords.passes,
      parallelism: passwords.parallelism,
      minLength: passwords.min_length,
      // Signing and DNS share the thread pool with hashing: leave two threads and one core to them.
      maxConcurrent: passwords.max_concurrent ?? Math.max(1, Math.min(availableParallelism() - 1, threads(env) - 2)),
      queueMs: passwords.queue_ms,
      breachedFile: file === undefined ? undefined : besideSettings(file, env),
      breachedApi: api === true ? RANGE_API : api || undefined,
    },
    registration,
  }
}

/** With every thread of the pool at a hash, RS256, proofs of clients and DNS would wait for hashes. */
export function passwordProblems({ passwords: { max_concurrent: most = 1 } }: Settings, env: Environment): string[] {
  const free = Math.max(1, threads(env) - 2)
  if (most <= free) return []
  return [
    `passwords.max_concurrent: ${most} hashes at once need UV_THREADPOOL_SIZE=${most + 2} or more in the environment`,
  ]
}

/** Threads of the pool that hashing shares (libuv's default is four). */
function threads(env: Environment): number {
  return Number(env.UV_THREADPOOL_SIZE) || 4
}
