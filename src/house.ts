/**
 * The house: rooms, conversation, engine and the work that goes on behind them. The server puts HTTP in front of it, the
 * command line asks it for services.
 */
import type Router from '@koa/router'
import { detailTypesOf } from './admission.ts'
import { verifiedMetadata } from './byoi.ts'
import { createConversation } from './conversation.ts'
import { createEngine, globalRevocationOf, introspectionOf } from './engine.ts'
import type { Feature, Job } from './feature.ts'
import { PERSONAL as ACCOUNT_PERSONAL } from './features/accounts/types.ts'
import { ACCOUNT_CLIENT_ID } from './features/clients/types.ts'
import { createDevPages } from './features/dev_pages/index.ts'
import { deviceOf } from './features/sessions/types.ts'
import { createRooms } from './features.ts'
import type { Foundation } from './foundation.ts'
import { createCsrf } from './http/csrf.ts'
import { createOAuthErrorPage } from './http/error_handler.ts'
import { createLanguageRouter, createLanguages } from './http/language.ts'
import { createPages, type Pages } from './http/page.ts'
import { createInteractionHints } from './interaction/hints.ts'
import { createLevels } from './interaction/levels.ts'
import { cookies } from './oidc/cookies.ts'
import { createDeviceFlow } from './oidc/device_flow.ts'
import { createDiscovery } from './oidc/discovery.ts'
import { createRedeemCode } from './oidc/first_party_code.ts'
import { createEngineInteractions } from './oidc/interactions.ts'
import { createEnginePages } from './oidc/pages.ts'
import type { Engine } from './oidc/provider.ts'
import { createAuditRetention } from './platform/audit_retention.ts'
import { levelsOfDetails } from './platform/authorization_details.ts'
import { createDeliveries } from './platform/deliveries.ts'
import { createDispatcher } from './platform/dispatcher.ts'
import { newId } from './platform/ids.ts'
import { createJobs } from './platform/jobs.ts'
import { createLedger } from './platform/ledger.ts'
import { migrate, pendingMigrations } from './platform/migrate.ts'
import type { Tx } from './platform/postgres.ts'
import { createRetention } from './platform/retention.ts'
import { createSealing } from './sealing.ts'

export type House = ReturnType<typeof createHouse>

/** Builds the house on an opened foundation. Nothing runs before `start`. */
export function createHouse(foundation: Foundation) {
  const { config, secretBox, views, keyValue, clock } = foundation
  let engine: Engine | undefined
  const current = () => {
    if (engine === undefined) throw new Error('the engine is not built yet')
    return engine
  }
  const pages = createPages({ views })
  const csrf = createCsrf({
    issuer: config.issuer,
    mac: (value) => secretBox.mac(value, 'csrf'),
    macMatches: (value, mac) => secretBox.macMatches(value, 'csrf', mac),
  })
  const { locales, pickLocale } = views
  const languages = createLanguages({ issuer: config.issuer, locales, pickLocale })
  const brandOf = (id: string | undefined) => rooms.brands.service.page(id)
  const interactions = createEngineInteractions(
    current,
    cookies(config.https),
    brandOf,
    config.tokens.interactionSeconds,
  )
  const hints = createInteractionHints({ kv: keyValue, clock })
  const rooms = createRooms(foundation, interactions, current)
  const levels = createLevels(config.levels, config.scopeLevels, levelsOfDetails(detailTypesOf(config)))
  const redeem = createRedeemCode(current, ACCOUNT_CLIENT_ID)
  const features = [
    ...rooms.all,
    ...createConversation(foundation, rooms, { engine: interactions, pages, csrf, hints, languages, levels, redeem }),
    ...(config.devPages ? [devPages(foundation, rooms, pages)] : []),
  ]
  const sealing = createSealing(foundation, rooms, features)
  const work = createWork(foundation, features, sealing)

  return {
    pages,
    csrf,
    languages,
    ...{ clients: rooms.clients.service, findClient: rooms.findClient, keys: rooms.keys.service },
    ...endpointsOf(foundation, rooms),
    rooms,
    sealing,
    routers: [
      createLanguageRouter({ languages, csrf }),
      ...features.flatMap(({ router }) => (router === undefined ? [] : [router])),
    ] as readonly Router[],
    /** Brings schema, declared clients and keys up to date, or refuses when it may not. */
    async prepare(options: { readonly migrate: boolean }): Promise<void> {
      await prepare(foundation, rooms, options)
    },
    /** Builds the engine for the present keys; requests under way finish on the one before. */
    async buildEngine(): Promise<Engine> {
      engine = await createEngine(foundation, rooms, {
        keys: await rooms.keys.service.current(clock.now()),
        ...{ levels, interactionOpened: hints.opened },
        deviceFlow: deviceFlowOf(foundation, { pages, languages, brandOf }),
        ...createEnginePages({
          pages,
          issuer: config.issuer,
          home: config.home,
          languages,
          languageOf: async (accountId) => (await rooms.accounts.service.view(accountId))?.locale,
          brandOf,
          renderOAuthError: createOAuthErrorPage({ ...foundation, pages }),
        }),
      })
      return engine
    },
    ...work,
  }
}

/** What stands in front of the engine's endpoints, or beside them. */
function endpointsOf(foundation: Foundation, rooms: Rooms) {
  return {
    introspectJwt: introspectionOf(foundation, rooms),
    revokeGlobally: globalRevocationOf(foundation, rooms),
    documented: discoveryOf(foundation, rooms),
  }
}

function discoveryOf({ config: { issuer, mtls, ...config } }: Foundation, rooms: Rooms) {
  const admits = {
    registration: config.clientRegistration !== undefined,
    documents: config.clientDocuments !== undefined,
  }
  return createDiscovery({ issuer, mtlsOrigin: mtls?.origin, admits, verified: () => verifiedMetadata(rooms) })
}

function deviceFlowOf(
  { config, clock, secretBox }: Foundation,
  parts: Pick<Parameters<typeof createDeviceFlow>[0], 'pages' | 'languages' | 'brandOf'>,
) {
  const mac = (value: string) => secretBox.mac(value, 'device_network')
  return createDeviceFlow({ ...parts, home: config.home, clock, deviceOf, mac })
}

/** For people who work on pages. */
function devPages({ views }: Foundation, rooms: Rooms, pages: Pages): Feature {
  const { locales, mail } = views
  return createDevPages({ fixtures: views.fixtures, locales, brands: rooms.brands.service, pages, mail })
}

type Rooms = ReturnType<typeof createRooms>

/** Migrations, declared brands and clients, and first keys are one transaction under the migration lock. */
async function prepare(foundation: Foundation, rooms: Rooms, options: { readonly migrate: boolean }): Promise<void> {
  const { database, config, personal, outbox } = foundation
  if (!options.migrate) {
    const pending = await pendingMigrations(database)
    if (pending.length > 0) throw new Error(`the database lacks ${pending.join(', ')}: run genkan migrate`)
  }
  let changed: string[] = []
  let brands = { changed: [] as string[], warnings: [] as string[] }
  let upstreams: string[] = []
  let realms: string[] = []
  const dataKeys: string[] = []
  const sealing = async (tx: Tx) => {
    dataKeys.push(...(await personal.ensure(tx)))
    return personal
  }
  const afterwards = async (tx: Tx) => {
    await sealing(tx)
    await personal.check(ACCOUNT_PERSONAL, tx)
    if (dataKeys.length > 0) await outbox.record([{ type: 'key.created', actor: 'system', data: { dataKeys } }], tx)
    brands = await rooms.brands.service.syncDeclared(config.brands, tx)
    upstreams = await rooms.upstreams.service.syncDeclared(config.upstreams, tx)
    realms = await rooms.realms.service.syncDeclared(config.realms, tx)
    changed = await rooms.clients.service.syncDeclared(config.clients, tx)
    await rooms.keys.service.ensure(tx)
  }
  await migrate(database, { sealing, afterwards })
  for (const warning of brands.warnings) foundation.logger.warn(warning)
  await rooms.brands.service.announce(brands.changed)
  await rooms.clients.service.announce(changed)
  await rooms.upstreams.service.announce(upstreams)
  await rooms.realms.service.announce(realms)
  for (const warning of await rooms.realms.service.syncBreakGlass(config.realms)) foundation.logger.warn(warning)
}

const ANCHOR_LOG_MS = 60_000

/** Kept outside of the database, an anchor convicts whoever cuts off the ledger's end. One a minute is enough. */
function anchorLog({ clock, logger }: Foundation) {
  let loggedAt = 0
  return ({ seq, hash }: { seq: number; hash: string }) => {
    const now = clock.now().getTime()
    if (now - loggedAt < ANCHOR_LOG_MS) return
    loggedAt = now
    logger.info({ seq, head: hash }, 'ledger anchored')
  }
}

const WATCH_SECONDS = 5

function storeJobs({ redisWatch, clockWatch }: Foundation): Job[] {
  const clock = { name: 'clock', everySeconds: WATCH_SECONDS, run: clockWatch.look }
  return redisWatch === undefined ? [clock] : [clock, { ...clock, name: 'redis', run: redisWatch.look }]
}

/** What goes on behind requests: sealing, deliveries, the rooms' jobs and clean-up. */
function createWork(foundation: Foundation, features: readonly Feature[], sealing: { readonly jobs: readonly Job[] }) {
  const { database, secretBox, personal, clock, logger, outbox, metrics, config, keyValue, oidcStore } = foundation
  const subscriptions = features.flatMap(({ subscribe = [] }) => subscribe)
  const ledger = createLedger({
    database,
    personal,
    secretBox,
    clock,
    subscriptions,
    anchored: anchorLog(foundation),
  })
  const mayClaim = foundation.clockWatch.mayTake
  const deliveries = createDeliveries({ database, personal, secretBox, clock, subscriptions, logger, mayClaim })
  const dispatcher = createDispatcher({ seal: ledger.seal, deliveries, logger })
  outbox.onWake(dispatcher.wake)
  for (const reaction of features.flatMap(({ reacts = [] }) => reacts)) outbox.onRecord(reaction)
  const retention = createRetention({
    database,
    deliveryDays: config.retention.deliveryDays,
    ipDays: config.retention.ipDays,
    purges: [keyValue.purge, oidcStore.purge, ...(foundation.revocations ? [foundation.revocations.purge] : [])],
  })
  const auditRetention = createAuditRetention({ database, outbox, personal, newId, days: config.retention.audit })
  const jobs = createJobs({
    jobs: [
      { name: 'facts', everySeconds: 1, run: dispatcher.run },
      { name: 'outbox_lag', everySeconds: 10, run: async () => metrics.outboxLag(await ledger.lag()) },
      { name: 'retention', everySeconds: 60, run: async (now) => void (await retention(now)) },
      { name: 'audit_retention', everySeconds: 600, run: async (now) => void (await auditRetention(now)) },
      ...storeJobs(foundation),
      ...sealing.jobs,
      ...features.flatMap((feature) => feature.jobs ?? []),
    ],
    logger,
    clock,
    failed: metrics.jobFailed,
  })
  return {
    ledger,
    deliveries,
    start(): void {
      if (config.embedded) deliveries.resume().catch((error: unknown) => logger.warn({ err: error }, 'resume failed'))
      jobs.start()
    },
    async stop(): Promise<void> {
      await Promise.all([jobs.stop(), dispatcher.stop()])
    },
  }
}
