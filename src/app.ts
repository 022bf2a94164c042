/**
 * The server: HTTP in front of the house. It listens before the stores answer, so that a store that comes late makes it
 * ready without a restart; it swaps the engine when keys change; and it drains before it ends.
 */
import type { RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import Koa from 'koa'
import type { Foundation } from './foundation.ts'
import { createHouse, type House } from './house.ts'
import { createHealth, type Readiness } from './http/health.ts'
import { createListener } from './http/listener.ts'
import { createLoadControl } from './load.ts'
import { pendingMigrations } from './platform/migrate.ts'
import { pingMasters } from './platform/redis.ts'
import { createSite } from './site.ts'

export interface App {
  /** Opens both ports; resolves before the house is ready. */
  listen(): Promise<{ readonly port: number; readonly managementPort: number }>
  /** Migrations, keys and jobs. Retries while a store is away; rejects on what no retry can mend. */
  prepare(options?: { readonly migrate?: boolean }): Promise<void>
  /** Takes no more, finishes what is in flight (25 s at the most from now on), closes the stores. */
  close(why?: Ending): Promise<void>
  readonly house: House
}

/**
 * `stopped`: not ready at once, but answering for `drain_seconds` more, in which balancers learn of it. `interrupted`: not ready,
 * and nobody is waited for. `replaced`: another process has the ports already, so it is ready to the end, and only kept connections are waited for.
 */
export type Ending = 'stopped' | 'interrupted' | 'replaced'

const DRAIN_MS = 25_000
const RETRY_MS = 1000
/** An answer of the management port takes milliseconds. */
const MANAGEMENT_MS = 1000

/** Builds the server on an opened foundation. */
export function createApp(foundation: Foundation): App {
  const { config, logger } = foundation
  const house = createHouse(foundation)
  const state: { listener: RequestListener | undefined; draining: boolean } = { listener: undefined, draining: false }
  const readiness = createReadiness(foundation, state)
  const early = new Koa().use(createHealth(readiness)).use(notReadyYet).callback()
  const site = createSite(foundation, house, readiness)
  const load = createLoadControl(foundation, house)
  let stopLoad = () => {}
  const guarded = load.guard((req, res) => (state.listener ?? early)(req, res))
  const main = createListener(guarded, {
    perAddress: config.connectionsPerAddress,
    proxies: config.trustedProxies,
    refused: (limit) => logger.warn({ limit }, 'connections were refused'),
  })
  const management = createListener(createManagement(foundation, readiness))

  return {
    house,
    async listen() {
      const [port, managementPort] = await Promise.all([
        main.open(config.port, config.host),
        management.open(config.managementPort, config.managementHost),
      ])
      return { port, managementPort }
    },
    async prepare({ migrate = true } = {}) {
      const stores = whenReachable(foundation, () => house.prepare({ migrate }))
      await Promise.all([foundation.hashing.begin(), stores])
      await whenReachable(foundation, foundation.beginUses)
      const rebuild = async () => {
        state.listener = site(await house.buildEngine())
      }
      house.keys.onChange(() => {
        rebuild().catch((error: unknown) => logger.error({ err: error }, 'the new keys could not be taken up'))
      })
      await rebuild()
      house.start()
      stopLoad = load.start()
    },
    async close(why = 'interrupted') {
      const end = Date.now() + DRAIN_MS
      state.draining = why !== 'replaced'
      if (why === 'replaced') for (const listener of [main, management]) listener.leave()
      else main.wane()
      if (why !== 'interrupted' && state.listener !== undefined) await sleep(config.drainMs)
      // The management port answers 503 on /readyz until everything in flight is done.
      await main.drain(end - Date.now())
      stopLoad()
      await house.stop()
      await management.drain(MANAGEMENT_MS)
      await foundation.close()
    },
  }
}

/** Waits for stores that are away at start; a wrong schema, key or declaration is not waited for. */
async function whenReachable({ unavailable, logger }: Foundation, work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (!unavailable(error)) throw error
      if (Number.isInteger(Math.log2(attempt))) logger.warn({ err: error, attempt }, 'waiting for the stores')
      await sleep(RETRY_MS)
    }
  }
}

function createReadiness(foundation: Foundation, state: { listener: unknown; draining: boolean }): Readiness {
  const { database, redis, redisWatch, clockWatch } = foundation
  const answers = async (name: string, ask: () => Promise<unknown>) => {
    try {
      await Promise.race([ask(), sleep(1500).then(() => Promise.reject(new Error('too slow')))])
      return []
    } catch {
      return [name]
    }
  }
  return async () => {
    if (state.draining) return ['draining']
    const stores = await Promise.all([
      answers('database', () => database.ping()),
      redis === undefined ? [] : answers('redis', () => pingMasters(redis)),
    ])
    const missing = stores.flat()
    if (missing.length > 0) return missing
    await clockWatch.look().catch(() => {})
    if (clockWatch.isWrong()) return ['clock']
    const objection = await redisWatch?.objection().catch(() => 'redis')
    if (objection !== undefined) return [objection]
    const pending = await pendingMigrations(database).catch(() => undefined)
    if (pending === undefined) return ['database']
    if (pending.length > 0) return ['migrations']
    return state.listener === undefined ? ['keys'] : []
  }
}

/** `/metrics` and health on a port of their own, which the public never reaches. */
function createManagement({ metrics }: Foundation, readiness: Readiness): RequestListener {
  const app = new Koa()
  app.use(createHealth(readiness))
  app.use(async (ctx) => {
    if (ctx.path !== '/metrics') return
    ctx.type = metrics.registry.contentType
    ctx.body = await metrics.registry.metrics()
  })
  return app.callback()
}

function notReadyYet(ctx: Koa.Context): void {
  ctx.status = 503
  ctx.set('Retry-After', '2')
  ctx.set('Cache-Control', 'no-store')
  ctx.body = { error: 'temporarily_unavailable', error_description: 'the server is starting' }
}
