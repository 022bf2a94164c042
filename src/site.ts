/** What stands in front of the engine: the middleware of every request, the features' routers, and the engine's own pages. */
import type { RequestListener } from 'node:http'
import Router from '@koa/router'
import type { Context, Next } from 'koa'
import { UPSTREAMS_TOPIC } from './features/upstreams/types.ts'
import type { Foundation } from './foundation.ts'
import type { House } from './house.ts'
import { createAssets } from './http/assets.ts'
import { createCors } from './http/cors.ts'
import { createDeviceGuard } from './http/device_guard.ts'
import { createErrorHandler } from './http/error_handler.ts'
import { createHealth, type Readiness } from './http/health.ts'
import { createPostAsGet } from './http/post_as_get.ts'
import { createPreserialised } from './http/preserialised.ts'
import { createRequestContext, refuseStrangeTarget } from './http/request_context.ts'
import { createSecurityHeaders } from './http/security_headers.ts'
import type { Engine } from './oidc/provider.ts'
import { explainResponseType } from './oidc/response_type_errors.ts'
import { hostMatches } from './platform/client_admission.ts'
import { CLIENT_PATHS, createObserver, createWeb, DOCUMENTS, FORM_PATHS } from './web.ts'

const DOCUMENT_SECONDS = 300
/** What only programs ask for waits for no brand. */
const PROGRAM_PATHS: ReadonlySet<string> = new Set([...CLIENT_PATHS, ...DOCUMENTS])

/** Returns what turns an engine into the site's request listener. */
export function createSite(foundation: Foundation, house: House, readiness: Readiness) {
  const { config, logger, views, metrics, unavailable, readOnly } = foundation
  const { issuer } = config
  const preserialised = createPreserialised(DOCUMENTS, DOCUMENT_SECONDS)
  foundation.invalidation.subscribe(UPSTREAMS_TOPIC, () => preserialised.clear())
  const middleware = [
    createRequestContext({ ...config, issuer, languages: house.languages }),
    createObserver(metrics.request),
    createSecurityHeaders({ issuer }),
    createErrorHandler({ pages: house.pages, logger, unavailable, readOnly }),
    refuseStrangeTarget,
    createHealth(readiness),
    createAssets({ assets: views.assets }),
    house.rooms.brands.offer(PROGRAM_PATHS),
    house.csrf.offer,
    createPostAsGet({ paths: FORM_PATHS, keyValue: foundation.sealedKeyValue }),
    createDeviceGuard({
      keyValue: foundation.keyValue,
      mac: (value) => foundation.secretBox.mac(value, 'device_codes'),
    }),
    noTypeWithoutContent,
    createCors({ paths: CLIENT_PATHS, ...originsOf(foundation, house) }),
    house.revokeGlobally,
    house.introspectJwt,
    explainResponseType,
  ]
  return (provider: Engine): RequestListener => {
    preserialised.clear()
    return createWeb(provider, {
      middleware,
      routers: [...house.routers, frontRouter(house, views.asset('favicon.svg'))],
      preserialised,
      documented: house.documented,
      onError: (error) => logger.error({ err: error }, 'request failed'),
    })
  }
}

/** The engine calls its empty answers text; strict clients refuse a type there (RFC 7009 §2.2: no content). */
async function noTypeWithoutContent(ctx: Context, next: Next): Promise<void> {
  await next()
  if (ctx.body === '') ctx.remove('Content-Type')
}

/** Origins of clients. While the store is away, those last seen: a browser app must be able to read the 503. */
function originsOf({ config, unavailable }: Foundation, { clients, findClient }: House) {
  let known: ReadonlySet<string> = new Set()
  // A client that is a document may be a page of the same origin; a preflight names no client.
  const { hosts = [] } = config.clientDocuments ?? {}
  const isOfDocument = (origin: string) => URL.canParse(origin) && hostMatches(hosts, new URL(origin).host)
  const knownOrigin = async (origin: string) => {
    try {
      known = await clients.origins()
    } catch (error) {
      if (!unavailable(error)) throw error
    }
    return known.has(origin) || isOfDocument(origin)
  }
  const clientOrigin = async (clientId: string, origin: string) => {
    try {
      const { cors_origins: origins } = (await findClient(clientId)) ?? {}
      return Array.isArray(origins) && origins.includes(origin)
    } catch (error) {
      if (!unavailable(error)) throw error
      return known.has(origin)
    }
  }
  return { knownOrigin, clientOrigin }
}

/** The issuer's root, where no account pages have it; the icon's old address; crawlers have no business on any page. */
function frontRouter({ pages }: Pick<House, 'pages'>, icon: string): Router {
  const router = new Router()
  router.get('/', (ctx: Context) => pages.render(ctx, 'front', {}))
  router.get('/favicon.ico', (ctx: Context) => {
    ctx.redirect(icon)
  })
  router.get('/robots.txt', (ctx: Context) => {
    ctx.type = 'text/plain'
    ctx.body = 'User-agent: *\nDisallow: /\n'
  })
  return router
}
