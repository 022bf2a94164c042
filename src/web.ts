/**
 * The chain of middleware that every request walks, ending in the engine. The engine is the Koa application itself: its
 * routes come last and are terminal. Built anew when the signing keys change, since a provider's key set is fixed.
 */
import type { RequestListener } from 'node:http'
import type Router from '@koa/router'
import type Koa from 'koa'
import type { Context, Middleware, Next } from 'koa'
import type { Preserialised } from './http/preserialised.ts'
import type { Engine } from './oidc/provider.ts'

/** Documents that are equal for everybody. */
export const DOCUMENTS: ReadonlySet<string> = new Set([
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
  '/jwks',
])

/** Endpoints whose answers browsers of a client's origins may read. */
export const CLIENT_PATHS: ReadonlySet<string> = new Set(['/token', '/me', '/token/revocation', '/token/introspection'])

/** Endpoints that a client's page may post a form to, and that answer people. */
export const FORM_PATHS: ReadonlySet<string> = new Set(['/auth', '/session/end'])

export interface WebDeps {
  readonly middleware: readonly Middleware[]
  readonly routers: readonly Router[]
  readonly preserialised: Preserialised
  /** What is told in documents beside the engine's own words. */
  readonly documented: Middleware
  readonly onError: (error: unknown) => void
}

/** Puts the house in front of one provider and returns its request listener. */
export function createWeb(
  provider: Engine,
  { middleware, routers, preserialised, documented, onError }: WebDeps,
): RequestListener {
  // The engine's types name another release of Koa's; it is the same application.
  const app = provider as unknown as Koa
  for (const layer of middleware) app.use(layer)
  app.use(preserialised.keep)
  app.use(documented)
  app.use(ownRoutes(routers))
  app.on('error', onError)
  return preserialised.serve(app.callback())
}

/**
 * The routers as one layer, passed by where the path begins as none of their routes does: the engine's endpoints are most
 * of the traffic.
 */
function ownRoutes(routers: readonly Router[]): Middleware {
  const beginnings = new Set(routers.flatMap(({ stack }) => stack.map(({ path }) => segmentOf(String(path)))))
  if ([...beginnings].some((segment) => !/^[\w.-]*$/.test(segment))) throw new Error('a route must begin with a word')
  const layers = routers.flatMap((router) => [router.routes(), router.allowedMethods()] as unknown as Middleware[])
  const own = layers.reduceRight<Middleware>(
    (rest, layer) => (ctx, next) => layer(ctx, () => rest(ctx, next)),
    (_ctx, next) => next(),
  )
  return (ctx, next) => (beginnings.has(segmentOf(ctx.path)) ? own(ctx, next) : next())
}

function segmentOf(path: string): string {
  const end = path.indexOf('/', 1)
  return path.slice(1, end < 0 ? undefined : end).toLowerCase()
}

/** Names of routes in metrics: a closed set, unlike paths (A107). Ours by their first segment. */
const OWN_ROUTES = [
  'interaction',
  'account',
  'upstream',
  'proofings',
  'conformance',
  'reg',
  'language',
  'assets',
  'brands',
  'livez',
  'readyz',
  'metrics',
]
const ENGINE_ROUTES = [
  'authorization',
  'resume',
  'userinfo',
  'token',
  'jwks',
  'discovery',
  'pushed_authorization_request',
  'revocation',
  'introspection',
  'global_token_revocation',
  'end_session',
  'device_authorization',
  'backchannel_authentication',
  'code_verification',
  'device_resume',
  'end_session_confirm',
  'end_session_success',
]
export const ROUTES: readonly string[] = [...OWN_ROUTES, ...ENGINE_ROUTES, 'other']
const KNOWN = new Set(ROUTES)

function routeOf(ctx: Context): string {
  const engine = (ctx as { oidc?: { route?: string } }).oidc?.route
  const name = (ctx.state as { endpoint?: string }).endpoint ?? engine ?? segmentOf(ctx.path)
  return KNOWN.has(name) ? name : 'other'
}

/** Counts and times each request. */
export function createObserver(
  observe: (route: string, method: string, status: number, seconds: number) => void,
): Middleware {
  return async (ctx: Context, next: Next) => {
    const start = performance.now()
    try {
      await next()
    } finally {
      observe(routeOf(ctx), ctx.method, ctx.status, (performance.now() - start) / 1000)
    }
  }
}
