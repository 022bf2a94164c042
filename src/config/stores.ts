/** Where state is kept, and the keys that seal it. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import type { Environment } from './reading.ts'
import { redisUrlProblem } from './redis_url.ts'
import { csv, type Parsed } from './values.ts'

const secretKey = z.string().transform((value, context) => {
  const key = Buffer.from(value.trim(), /^[0-9a-f]{64,}$/i.test(value.trim()) ? 'hex' : 'base64')
  if (key.length < 32) {
    context.addIssue({ code: 'custom', message: 'each key must be at least 32 bytes, in base64 or hex' })
    return z.NEVER
  }
  return key
})

const redisUrl = z.string().superRefine((value, context) => {
  const problem = redisUrlProblem(value)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

export const storeShape = {
  data_dir: z.string().default('.data'),
  database_url: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
  database_pool: z.coerce.number().int().min(1).max(200).default(10),
  redis_url: redisUrl.optional(),
  secret_keys: csv(secretKey),
  clock_tolerance_seconds: z.coerce.number().int().min(10).default(120),
}

type Settings = Parsed<typeof storeShape>

export interface StoreConfig {
  readonly dataDir: string
  readonly databaseUrl: string | undefined
  readonly databasePool: number
  readonly redisUrl: string | undefined
  /** No `DATABASE_URL`: PGlite in the data directory. */
  readonly embedded: boolean
  /** Newest first: the first seals, all open. */
  readonly secretKeys: readonly Buffer[]
  /** An instance whose clock differs by more from those of both stores is not ready and delivers nothing. */
  readonly clockToleranceSeconds: number
}

export function storesOf(settings: Settings, keys: readonly Buffer[]): StoreConfig {
  return {
    dataDir: resolve(settings.data_dir),
    databaseUrl: settings.database_url,
    databasePool: settings.database_pool,
    redisUrl: settings.redis_url,
    embedded: settings.database_url === undefined,
    secretKeys: keys,
    clockToleranceSeconds: settings.clock_tolerance_seconds,
  }
}

export function storeProblems(settings: Settings, env: Environment): string[] {
  const problems: string[] = []
  const embedded = settings.database_url === undefined
  if (embedded && env.NODE_ENV === 'production' && env.GENKAN_EMBEDDED !== '1') {
    problems.push(
      'DATABASE_URL: production needs PostgreSQL (GENKAN_EMBEDDED=1 runs the embedded database all the same)',
    )
  }
  if (embedded && settings.redis_url !== undefined) problems.push('REDIS_URL: needs DATABASE_URL too')
  if (!embedded && settings.secret_keys.length === 0) {
    problems.push('GENKAN_SECRET_KEYS: PostgreSQL needs at least one key (openssl rand -base64 32)')
  }
  return problems
}

/** On the embedded default the first start makes a key; data without its key is refused, never re-keyed. */
export function readSecretKeys(settings: Settings, problems: string[]): readonly Buffer[] {
  if (settings.secret_keys.length > 0) return settings.secret_keys
  const directory = resolve(settings.data_dir)
  const path = join(directory, 'secret.key')
  if (!existsSync(path)) {
    if (existsSync(join(directory, 'db'))) {
      problems.push(`${path}: the data directory has data but its key is missing; restore it, or start empty`)
      return []
    }
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    writeFileSync(path, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx' })
  }
  const keys = readFileSync(path, 'utf8')
    .split(/\s+/)
    .filter(Boolean)
    .map((line) => Buffer.from(line, 'base64'))
  if (keys.length === 0 || keys.some((key) => key.length < 32)) {
    problems.push(`${path}: holds no key of at least 32 bytes in base64; restore it from a backup`)
  }
  return keys
}
