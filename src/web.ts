/**
 * The chain of middleware that every request walks, ending in the engine. The engine is the Koa application itself: its
 * routes come last and are terminal. Built anew when the signing keys change, since a provider's key set is fixed.
 */
import type { RequestListener } from 'node:http'
import type Router from '@koa/router'
import type { Context, Middleware, Next } from 'koa'
import type Provider from 'oidc-provider'
import type { Preserialised } from './http/preserialised.ts'

/** Documents that are equal for everybody. */
export const DOCUMENTS: ReadonlySet<string> = new Set([
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
  '/jwks',
])

/** Endpoints whose answers browsers of a client's origins may read. */
export const CLIENT_PATHS: ReadonlySet<string> = new Set(['/token', '/me', '/token/revocation', '/token/introspection'])

export interface WebDeps {
  readonly middleware: readonly Middleware[]
  readonly routers: readonly Router[]
  readonly preserialised: Preserialised
  readonly onError: (error: unknown) => void
}

/** Puts the house in front of one provider and returns its request listener. */
export function createWeb(provider: Provider, { middleware, routers, preserialised, onError }: WebDeps): RequestListener {
  for (const layer of middleware) provider.use(layer)
  provider.use(preserialised.keep)
  for (const router of routers) {
    provider.use(router.routes())
    provider.use(router.allowedMethods())
  }
  provider.on('error', onError)
  return preserialised.serve(provider.callback())
}

/** The matched engine route for metrics: a closed set, unlike paths. */
export function routeOf(ctx: Context): string {
  const { oidc, _matchedRoute } = ctx as Context & { oidc?: { route?: string }; _matchedRoute?: string | RegExp }
  return oidc?.route ?? (typeof _matchedRoute === 'string' ? _matchedRoute : 'other')
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
