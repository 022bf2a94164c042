/**
 * Settings: environment variables over an optional `genkan.yaml`, checked by one schema, all problems at once.
 * The only reader of `process.env`. Rows that an administrator may change at run time are not settings.
 *
 * Each part has a file: its shape, what the house receives, how that is made, and problems between its fields. Here they
 * are put together; a new part is a row in each of the lists.
 */
import { z } from 'zod'
import { type BackchannelConfig, backchannelOf, backchannelProblems, backchannelShape } from './backchannel.ts'
import { type CaptchaConfig, captchaOf, captchaProblems, captchaShape } from './captcha.ts'
import {
  type RegistrationConfig,
  registrationOf,
  registrationProblems,
  registrationShape,
} from './client_registration.ts'
import { type ClientConfig, clientProblems, clientShape, clientsOf } from './clients.ts'
import { type FactorConfig, factorShape, factorsOf } from './factors.ts'
import { type LevelConfig, levelProblems, levelShape, levelsOf } from './levels.ts'
import { type LimitConfig, limitShape, limitsOf } from './limits.ts'
import { type LoadConfig, loadOf, loadShape } from './load.ts'
import { type MailConfig, mailOf, mailShape } from './mail.ts'
import { type NetworkConfig, networkOf, networkProblems, networkShape } from './network.ts'
import { type PageConfig, pageProblems, pageShape, pagesOf } from './pages.ts'
import { type PasswordConfig, passwordShape, passwordsOf } from './passwords.ts'
import { describe } from './problems.ts'
import { type ProcessConfig, processesOf, processShape } from './processes.ts'
import { type Environment, readEnvironment, readFileSettings } from './reading.ts'
import { type RetentionConfig, retentionOf, retentionShape } from './retention.ts'
import { type SessionConfig, sessionProblems, sessionShape, sessionsOf } from './sessions.ts'
import { readSecretKeys, type StoreConfig, storeProblems, storeShape, storesOf } from './stores.ts'
import { type SmsConfig, smsOf, smsProblems, smsShape } from './text_messages.ts'
import { type TokenConfig, tokenShape, tokensOf } from './tokens.ts'
import { type UpstreamConfig, upstreamProblems, upstreamShape, upstreamsOf } from './upstreams.ts'

/** Every problem of a configuration, one line each. */
export class ConfigError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

const schema = z.strictObject({
  ...networkShape,
  ...processShape,
  ...storeShape,
  ...mailShape,
  log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  ...passwordShape,
  ...sessionShape,
  ...tokenShape,
  ...limitShape,
  ...loadShape,
  ...levelShape,
  ...factorShape,
  ...smsShape,
  ...captchaShape,
  ...backchannelShape,
  ...retentionShape,
  ...pageShape,
  ...clientShape,
  ...upstreamShape,
  ...registrationShape,
})

type Settings = z.output<typeof schema>

/** The one frozen configuration. Sizes in bytes unless named, times in seconds unless named. */
export interface Config
  extends NetworkConfig,
    ProcessConfig,
    StoreConfig,
    MailConfig,
    PasswordConfig,
    SessionConfig,
    TokenConfig,
    LimitConfig,
    LoadConfig,
    LevelConfig,
    FactorConfig,
    SmsConfig,
    CaptchaConfig,
    BackchannelConfig,
    RetentionConfig,
    PageConfig,
    ClientConfig,
    UpstreamConfig,
    RegistrationConfig {
  readonly production: boolean
  readonly logLevel: Settings['log_level']
}

/**
 * Reads, checks and freezes the configuration. `file` stands in front of GENKAN_CONFIG.
 * @throws {ConfigError} with every problem, each with its path and, for unknown keys, the nearest valid one.
 */
export function loadConfig(given: Environment = process.env, file?: string): Config {
  const env = file === undefined ? given : { ...given, GENKAN_CONFIG: file }
  const problems: string[] = []
  const fromFile = readFileSettings(env, problems)
  const fromEnv = readEnvironment(env, problems)
  const parsed = schema.safeParse({ issuer: 'http://localhost:3000', ...fromFile, ...fromEnv })
  if (!parsed.success) problems.push(...describe(parsed.error, schema))
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems)
  const settings = parsed.data
  problems.push(...problemsBetween(settings, env))
  if (problems.length > 0) throw new ConfigError(problems)
  const keys = readSecretKeys(settings, problems)
  if (problems.length > 0) throw new ConfigError(problems)
  return deepFreeze(build(settings, env, keys))
}

/** What no setting shows by itself. */
function problemsBetween(settings: Settings, env: Environment): string[] {
  return [
    ...storeProblems(settings, env),
    ...sessionProblems(settings),
    ...pageProblems(settings),
    ...backchannelProblems(settings, env),
    ...networkProblems(settings),
    ...levelProblems(settings),
    ...smsProblems(settings, env),
    ...captchaProblems(settings),
    ...registrationProblems(settings),
    ...clientProblems(settings),
    ...upstreamProblems(settings),
  ]
}

function build(settings: Settings, env: Environment, keys: readonly Buffer[]): Config {
  return {
    production: env.NODE_ENV === 'production',
    logLevel: settings.log_level,
    ...networkOf(settings),
    ...processesOf(settings),
    ...storesOf(settings, keys),
    ...mailOf(settings),
    ...passwordsOf(settings, env),
    ...sessionsOf(settings),
    ...tokensOf(settings),
    ...limitsOf(settings),
    ...loadOf(settings),
    ...levelsOf(settings),
    ...factorsOf(settings),
    ...smsOf(settings, env),
    ...captchaOf(settings),
    ...backchannelOf(settings),
    ...retentionOf(settings),
    ...pagesOf(settings, env),
    ...clientsOf(settings),
    ...upstreamsOf(settings),
    ...registrationOf(settings),
  }
}

function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value) || Object.isFrozen(value)) return value
  for (const item of Object.values(value)) deepFreeze(item)
  return Object.freeze(value)
}
