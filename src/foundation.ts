/** The ground of the house: opened stores and the platform parts that every feature is given slices of. */
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import type { Config } from './config/config.ts'
import { suggestion } from './config/problems.ts'
import { createRedisOidcStore } from './oidc/adapter/redis_store.ts'
import { createSqlOidcStore } from './oidc/adapter/sql_store.ts'
import type { OidcStore } from './oidc/adapter/store.ts'
import { type Clock, systemClock } from './platform/clock.ts'
import { createHttpClient } from './platform/http_client.ts'
import {
  createLocalInvalidation,
  createNoInvalidation,
  createRedisInvalidation,
  type Invalidation,
} from './platform/invalidation.ts'
import type { KeyValue } from './platform/key_value.ts'
import { withLocalLimits } from './platform/key_value_local.ts'
import { createRedisKeyValue } from './platform/key_value_redis.ts'
import { createSealedKeyValue } from './platform/key_value_sealed.ts'
import { createSqlKeyValue } from './platform/key_value_sql.ts'
import type { Logger } from './platform/logger.ts'
import { createMailer } from './platform/mailer.ts'
import { createMetrics } from './platform/metrics.ts'
import { createOutbox } from './platform/outbox.ts'
import { createPasswordHash } from './platform/password_hash.ts'
import { createPersonalData } from './platform/personal_columns.ts'
import { type Database, databaseReadOnly, databaseUnavailable, openDatabase } from './platform/postgres.ts'
import { openRedis, redisUnavailable } from './platform/redis.ts'
import { createSecretBox } from './platform/secret_box.ts'
import { createFileTextSender, createHttpTextSender, type TextSender } from './platform/text_sender.ts'
import { createViews } from './platform/views.ts'
import { ROUTES } from './web.ts'

const VIEWS = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../views' : '../../views', import.meta.url))

export type Foundation = Awaited<ReturnType<typeof layFoundation>>

/** Opens the stores and builds the platform. Nothing is migrated and nothing runs yet. */
export async function layFoundation(config: Config, logger: Logger, clock: Clock = systemClock) {
  const database = await openDatabase({
    databaseUrl: config.databaseUrl,
    dataDir: config.dataDir,
    pool: config.databasePool,
  })
  const redis = config.redisUrl === undefined ? undefined : openRedis(config.redisUrl)
  const secretBox = createSecretBox(config.secretKeys)
  const invalidation = createInvalidation(config, redis)
  const mailer = createMailer({ smtpUrl: config.smtpUrl, from: config.mailFrom, dataDir: config.dataDir })
  const passwordHash = createPasswordHash(config.passwords)
  const personal = createPersonalData({ database, secretBox, invalidation, clock })
  const outbox = createOutbox({ secretBox, personal, clock })
  const stores = stateStores(database, redis, clock)
  return {
    config,
    logger,
    clock,
    database,
    redis,
    secretBox,
    personal,
    invalidation,
    outbox,
    ...stores,
    /** For records that hold data of people. */
    sealedKeyValue: createSealedKeyValue(stores.keyValue, personal),
    metrics: createMetrics({ routes: ROUTES, passwordHash: () => passwordHash.stats() }),
    views: createViews({
      viewsDir: VIEWS,
      overrides: config.templatesDir === undefined ? undefined : { directory: config.templatesDir, suggestion },
    }),
    mailer,
    textSender: createTextSender(config),
    passwordHash,
    http: createHttpClient({ allowedNetworks: config.outboundPrivateNetworks }),
    unavailable,
    readOnly,
    async close() {
      mailer.close()
      await Promise.allSettled([invalidation.close(), database.close()])
      redis?.disconnect()
    },
  }
}

function createTextSender({ sms, dataDir, outboundPrivateNetworks }: Config): TextSender | undefined {
  if (sms === undefined) return undefined
  const { provider } = sms
  if (provider === undefined) return createFileTextSender(dataDir)
  const timeoutMs = provider.timeoutSeconds * 1000
  return createHttpTextSender(provider, createHttpClient({ allowedNetworks: outboundPrivateNetworks, timeoutMs }))
}

/** Whether a store is away or busy. Where our own routes ask the engine for a record, the driver's error is the cause of its. */
function unavailable(error: unknown): boolean {
  const { cause } = (error ?? {}) as { cause?: unknown }
  return databaseUnavailable(error) || redisUnavailable(error) || (cause !== undefined && unavailable(cause))
}

/** Whether reading goes on and changes do not. */
function readOnly(error: unknown): boolean {
  const { cause } = (error ?? {}) as { cause?: unknown }
  return databaseReadOnly(error) || (cause !== undefined && readOnly(cause))
}

/** With Redis, short-lived state goes there; without, into the database. */
function stateStores(
  database: Database,
  redis: Redis | undefined,
  clock: Clock,
): { keyValue: KeyValue; oidcStore: OidcStore } {
  if (redis === undefined) {
    return {
      keyValue: createSqlKeyValue(database, clock),
      oidcStore: createSqlOidcStore(database, () => clock.now()),
    }
  }
  const keyValue = withLocalLimits(createRedisKeyValue(redis, clock), clock, redisUnavailable)
  return { keyValue, oidcStore: createRedisOidcStore(redis) }
}

function createInvalidation(config: Config, redis: Redis | undefined): Invalidation {
  if (config.embedded) return createLocalInvalidation()
  if (redis === undefined || config.redisUrl === undefined) return createNoInvalidation()
  const subscriber = openRedis(config.redisUrl, { name: 'genkan-invalidation' })
  return createRedisInvalidation({ publisher: redis, subscriber })
}
