/**
 * Cross-origin reading of protocol answers: only by origins that clients registered, on errors too (a browser client that
 * cannot read `invalid_grant` or a 503 cannot act on it), never with credentials (A101).
 */
import type { Context, Middleware, Next } from 'koa'

export interface CorsDeps {
  /** Paths whose answers a client's own origins may read. */
  readonly paths: ReadonlySet<string>
  /** Whether any client registered the origin; for preflights, which name no client. */
  readonly knownOrigin: (origin: string) => Promise<boolean>
  /** Whether this client registered the origin. */
  readonly clientOrigin: (clientId: string, origin: string) => Promise<boolean>
}

const SECONDS = '3600'
const EXPOSED = 'WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy, DPoP-Nonce, X-Request-Id'

/** Builds the middleware; it stands in front of the engine and has the last word on its headers. */
export function createCors({ paths, knownOrigin, clientOrigin }: CorsDeps): Middleware {
  return async (ctx: Context, next: Next) => {
    const origin = ctx.get('Origin')
    if (!paths.has(ctx.path)) return next()
    ctx.vary('Origin')
    if (origin === '') {
      await next()
      // The engine answers "*" to whoever names no origin.
      return ctx.remove('Access-Control-Allow-Origin')
    }
    if (ctx.method === 'OPTIONS') return preflight(ctx, origin, await knownOrigin(origin))
    await next()
    const clientId = (ctx as { oidc?: { client?: { clientId: string } } }).oidc?.client?.clientId
    const allowed = clientId === undefined ? await knownOrigin(origin) : await clientOrigin(clientId, origin)
    if (!allowed) return ctx.remove('Access-Control-Allow-Origin')
    ctx.set('Access-Control-Allow-Origin', origin)
    ctx.set('Access-Control-Expose-Headers', EXPOSED)
  }
}

function preflight(ctx: Context, origin: string, allowed: boolean): void {
  ctx.status = 204
  if (!allowed) return
  ctx.set('Access-Control-Allow-Origin', origin)
  ctx.set('Access-Control-Allow-Methods', 'GET, POST')
  ctx.set('Access-Control-Allow-Headers', 'Authorization, Content-Type, DPoP')
  ctx.set('Access-Control-Max-Age', SECONDS)
}
