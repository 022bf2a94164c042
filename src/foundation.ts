/** The ground of the house: opened stores and the platform parts that every feature is given slices of. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Config } from './config/config.ts'
import { suggestion } from './config/problems.ts'
import { redisPlace } from './config/redis_url.ts'
import { createRedisOidcStore } from './oidc/adapter/redis_store.ts'
import { createSqlOidcStore } from './oidc/adapter/sql_store.ts'
import type { OidcStore } from './oidc/adapter/store.ts'
import { type Clock, systemClock } from './platform/clock.ts'
import { createClockWatch } from './platform/clock_watch.ts'
import { createHashingProcess } from './platform/hashing.ts'
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
import { createKeptOnce, createRedisOnce, type Once } from './platform/once.ts'
import { createOutbox } from './platform/outbox.ts'
import { createPasswordHash } from './platform/password_hash.ts'
import { createPasswordJudge } from './platform/password_judge.ts'
import { createPersonalData } from './platform/personal_columns.ts'
import { type Database, databaseReadOnly, databaseUnavailable, openDatabase } from './platform/postgres.ts'
import { openRedis, openSubscriber, type RedisClient, redisUnavailable, timeOf } from './platform/redis.ts'
import { createRedisWatch } from './platform/redis_watch.ts'
import { createSecretBox } from './platform/secret_box.ts'
import { createFileTextSender, createHttpTextSender, type TextSender } from './platform/text_sender.ts'
import { createUntakenEnds, type UntakenEnds } from './platform/untaken_ends.ts'
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
  const redis = config.redisUrl === undefined ? undefined : openRedis(redisPlace(config.redisUrl))
  const secretBox = createSecretBox(config.secretKeys)
  const invalidation = createInvalidation(config, redis)
  const mailer = createMailer({ smtpUrl: config.smtpUrl, from: config.mailFrom, dataDir: config.dataDir })
  const metrics = createMetrics({ routes: ROUTES, hashQueue: () => passwordHash.stats() })
  const hashing = createHashingProcess({ width: config.passwords.maxConcurrent, logger })
  const passwordHash = createPasswordHash(config.passwords, hashing, metrics.hashQueue)
  const judgePassword = createPasswordJudge(hashing, config.passwords.queueMs, metrics.hashQueue.refused)
  const personal = createPersonalData({ database, secretBox, invalidation, clock })
  const outbox = createOutbox({ secretBox, personal, clock })
  const untakenEnds = redis && createUntakenEnds({ database, redis, invalidation, clock })
  const stores = stateStores(database, clock, redis, untakenEnds)
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
    metrics,
    clockWatch: createClockWatch({
      ...{ clock, logger, toleranceSeconds: config.clockToleranceSeconds },
      databaseTime: database.ping,
      redisTime: redis && (() => timeOf(redis)),
    }),
    redisWatch:
      redis &&
      untakenEnds &&
      createRedisWatch({ redis, once: stores.once, untakenEnds, logger, evicting: metrics.redisEvicting }),
    views: createViews({
      viewsDir: VIEWS,
      overrides: config.templatesDir === undefined ? undefined : { directory: config.templatesDir, suggestion },
    }),
    mailer,
    textSender: createTextSender(config),
    hashing,
    passwordHash,
    judgePassword,
    http: createHttpClient({ allowedNetworks: config.outboundPrivateNetworks }),
    beginUses: () => beginUses(stores),
    unavailable,
    readOnly,
    async close() {
      mailer.close()
      await Promise.allSettled([invalidation.close(), database.close(), hashing.close()])
      redis?.disconnect()
    },
  }
}

/** A thousand years. */
const FOR_EVER_SECONDS = 31_536_000_000
const BEGIN_TRIES = 40
const BEGIN_MS = 50

/**
 * Before the first request: from when on Redis knows what was used once. That an installation is new is in SQL: an emptied
 * Redis looks like a new one. A Redis that is away is not waited for long; it will know nothing of before it came.
 */
async function beginUses({ once, revocations }: ReturnType<typeof stateStores>): Promise<void> {
  if (revocations === undefined) return
  const isNew = (await revocations.get('uses_begun')) === undefined
  for (let attempt = 1; attempt <= BEGIN_TRIES; attempt++) {
    try {
      await once.begin(isNew)
      break
    } catch (error) {
      if (!redisUnavailable(error)) throw error
      await sleep(BEGIN_MS)
    }
  }
  if (isNew) await revocations.add('uses_begun', '1', FOR_EVER_SECONDS)
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

/**
 * With Redis, short-lived state goes there; without, into the database. What was revoked by itself is kept in SQL as well
 * where the other store may lose it (`revocations`).
 */
function stateStores(
  database: Database,
  clock: Clock,
  redis: RedisClient | undefined,
  untakenEnds: UntakenEnds | undefined,
): { keyValue: KeyValue; oidcStore: OidcStore; once: Once; revocations: KeyValue | undefined } {
  if (redis === undefined) {
    const keyValue = createSqlKeyValue(database, clock)
    const oidcStore = createSqlOidcStore(database, () => clock.now())
    return { keyValue, oidcStore, once: createKeptOnce(keyValue), revocations: undefined }
  }
  return {
    keyValue: withLocalLimits(createRedisKeyValue(redis, clock, untakenEnds), clock, redisUnavailable),
    oidcStore: createRedisOidcStore(redis, untakenEnds),
    once: createRedisOnce(redis, clock),
    revocations: createSqlKeyValue(database, clock),
  }
}

function createInvalidation(config: Config, redis: RedisClient | undefined): Invalidation {
  if (config.embedded) return createLocalInvalidation()
  if (redis === undefined || config.redisUrl === undefined) return createNoInvalidation()
  const subscriber = openSubscriber(redisPlace(config.redisUrl), redis, { name: 'genkan-invalidation' })
  return createRedisInvalidation({ publisher: redis, subscriber })
}
