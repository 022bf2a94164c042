/**
 * The server: HTTP in front of the house. It listens before the stores answer, so that a store that comes late makes it
 * ready without a restart; it swaps the engine when keys change; and it drains before it ends.
 */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import Koa from 'koa'
import type { Foundation } from './foundation.ts'
import { createHouse, type House } from './house.ts'
import { createHealth, type Readiness } from './http/health.ts'
import { pendingMigrations } from './platform/migrate.ts'
import { createSite } from './site.ts'

export interface App {
  /** Opens both ports; resolves before the house is ready. */
  listen(): Promise<{ readonly port: number; readonly managementPort: number }>
  /** Migrations, keys and jobs. Retries while a store is away; rejects on what no retry can mend. */
  prepare(options?: { readonly migrate?: boolean }): Promise<void>
  /** Not ready at once, finishes what is in flight (25 s at the most), closes the stores. */
  close(): Promise<void>
  readonly house: House
}

const DRAIN_MS = 25_000
const RETRY_MS = 1000
/** Whole headers and whole bodies must arrive in these times, or a slow sender would hold a socket for ever. */
const HEADERS_MS = 10_000
const REQUEST_MS = 15_000
/** How often slow senders are looked for; Node's own half minute would give them that much more. */
const CHECK_MS = 1000

/** Builds the server on an opened foundation. */
export function createApp(foundation: Foundation): App {
  const { config, logger } = foundation
  const house = createHouse(foundation)
  const state: { listener: RequestListener | undefined; draining: boolean } = { listener: undefined, draining: false }
  const readiness = createReadiness(foundation, state)
  const early = new Koa().use(createHealth(readiness)).use(notReadyYet).callback()
  const site = createSite(foundation, house, readiness)
  const checked = { connectionsCheckingInterval: CHECK_MS }
  const main = tune(createServer(checked, (req, res) => (state.listener ?? early)(req, res)))
  const management = tune(createServer(checked, createManagement(foundation, readiness)))

  return {
    house,
    async listen() {
      await Promise.all([
        open(main, config.port, config.host),
        open(management, config.managementPort, config.managementHost),
      ])
      return { port: portOf(main), managementPort: portOf(management) }
    },
    async prepare({ migrate = true } = {}) {
      await whenReachable(foundation, () => house.prepare({ migrate }))
      const rebuild = async () => {
        state.listener = site(await house.buildEngine())
      }
      house.keys.onChange(() => {
        rebuild().catch((error: unknown) => logger.error({ err: error }, 'the new keys could not be taken up'))
      })
      await rebuild()
      house.start()
    },
    async close() {
      state.draining = true
      // The management port answers 503 on /readyz until everything in flight is done.
      await drain(main)
      await house.stop()
      await drain(management)
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
  const { database, redis } = foundation
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
      redis === undefined ? [] : answers('redis', () => redis.ping()),
    ])
    const missing = stores.flat()
    if (missing.length > 0) return missing
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

function tune(server: Server): Server {
  server.headersTimeout = HEADERS_MS
  server.requestTimeout = REQUEST_MS
  server.keepAliveTimeout = 65_000
  return server
}

function open(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

/** Takes no new connections, lets requests end, and closes idle keep-alive sockets as they fall idle. */
async function drain(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  const idle = setInterval(() => server.closeIdleConnections(), 50)
  const late = sleep(DRAIN_MS, undefined, { ref: false }).then(() => server.closeAllConnections())
  await Promise.race([closed, late])
  clearInterval(idle)
}
