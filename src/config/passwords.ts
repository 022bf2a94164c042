/** How passwords are hashed and judged, and whether a new account needs one. */
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { besideSettings, type Environment } from './reading.ts'
import type { Parsed } from './values.ts'

/** Have I Been Pwned, by ranges of five hex digits. */
const RANGE_API = 'https://api.pwnedpasswords.com/range/'

const MOST_UNASKED = 4

export const passwordShape = {
  passwords: z
    .strictObject({
      memory_kib: z.coerce.number().int().min(7168).max(1_048_576).default(19_456),
      passes: z.coerce.number().int().min(1).max(20).default(2),
      parallelism: z.coerce.number().int().min(1).max(16).default(1),
      min_length: z.coerce.number().int().min(8).max(64).default(8),
      max_concurrent: z.coerce.number().int().min(1).max(64).optional(),
      queue_ms: z.coerce.number().int().min(10).max(10_000).default(800),
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
      // A core is left to the event loop. A container may see all cores of its machine, and each hash takes 19 MB.
      maxConcurrent: passwords.max_concurrent ?? Math.max(1, Math.min(availableParallelism() - 1, MOST_UNASKED)),
      queueMs: passwords.queue_ms,
      breachedFile: file === undefined ? undefined : besideSettings(file, env),
      breachedApi: api === true ? RANGE_API : api || undefined,
    },
    registration,
  }
}
