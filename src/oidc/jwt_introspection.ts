/**
 * Introspection of JWT access tokens (RFC 7662 §2.2, RFC 9068). The engine keeps no record of them and answers 400; a
 * resource server that introspects whatever it is handed would take that for a fault of its own. So they are verified here
 * as their audience would verify them, once the engine has authenticated the asker, and the same rule tells who may ask.
 */
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'
import type { Context, Middleware, Next } from 'koa'
import type { Client, KoaContextWithOIDC } from 'oidc-provider'
import type { AccountState } from './adapter/adapter.ts'
import { isCompactJws } from './compact_jws.ts'
import { createIntrospectionPolicy } from './introspection_policy.ts'

export interface JwtIntrospectionDeps {
  readonly issuer: string
  readonly now: () => Date
  /** Every key that is published now. */
  readonly publicKeys: () => Promise<
    readonly { readonly kid: string; readonly alg: string; readonly publicJwk: object }[]
  >
  readonly findClient: (clientId: string) => Promise<object | undefined>
  readonly accountState: (accountId: string) => Promise<AccountState | undefined>
}

const INACTIVE = { active: false }
/** What RFC 7662 §2.2 and RFC 9470 §6.2 have a member for; nothing else that a token may carry. */
const TOLD = ['iss', 'sub', 'aud', 'client_id', 'scope', 'exp', 'iat', 'jti', 'cnf', 'acr', 'amr', 'auth_time']

/** Builds the middleware in front of the engine: what it refused as a structured token is answered after all. */
export function createJwtIntrospection(deps: JwtIntrospectionDeps): Middleware {
  const allowed = createIntrospectionPolicy(deps.findClient)
  return async (ctx: Context, next: Next) => {
    await next()
    const { oidc } = ctx as unknown as KoaContextWithOIDC
    const refused = ctx.status === 400 && (ctx.body as { error?: unknown } | null)?.error === 'unsupported_token_type'
    if (!refused || oidc?.route !== 'introspection' || oidc.client === undefined) return
    ctx.status = 200
    ctx.body = await introspect(deps, allowed, ctx as unknown as KoaContextWithOIDC, oidc.client)
  }
}

async function introspect(
  deps: JwtIntrospectionDeps,
  allowed: ReturnType<typeof createIntrospectionPolicy>,
  ctx: KoaContextWithOIDC,
  asker: Client,
): Promise<object> {
  const claims = await verified(deps, ctx.oidc.params?.token)
  const clientId = claims?.client_id
  if (claims === undefined || typeof clientId !== 'string') return INACTIVE
  if (!(await allowed(ctx, asker, { clientId, aud: claims.aud }))) return INACTIVE
  // A machine's token is about the machine itself (RFC 9068 §2.2).
  const isPerson = claims.sub !== clientId
  if (isPerson && (await deps.accountState(String(claims.sub)))?.active !== true) return INACTIVE
  const told = TOLD.flatMap((name) => (claims[name] === undefined ? [] : [[name, claims[name]] as const]))
  return { active: true, ...Object.fromEntries(told), token_type: claims.cnf === undefined ? 'Bearer' : 'DPoP' }
}

/** The claims of one of our access tokens that is good now; undefined for everything else (A68, A69). */
async function verified(
  { issuer, now, publicKeys }: JwtIntrospectionDeps,
  token: unknown,
): Promise<JWTPayload | undefined> {
  if (typeof token !== 'string' || !isCompactJws(token)) return undefined
  const keys = (await publicKeys()).map(({ kid, alg, publicJwk }) => ({ ...publicJwk, kid, alg, use: 'sig' }))
  const requirements = {
    ...{ issuer, typ: 'at+jwt', algorithms: ['ES256', 'RS256', 'EdDSA'], currentDate: now() },
    requiredClaims: ['sub', 'aud', 'exp', 'client_id'],
  }
  try {
    return (await jwtVerify(token, createLocalJWKSet({ keys } as JSONWebKeySet), requirements)).payload
  } catch {
    return undefined
  }
}
