/**
 * Introspection of JWT access tokens (RFC 7662 §2.2, RFC 9068). The engine keeps no record of them and answers 400; a
 * resource server that introspects whatever it is handed would take that for a fault of its own. So they are verified here
 * as their audience would verify them, once the engine has authenticated the asker, and the same rule tells who may ask.
 */
import type { Context, Middleware, Next } from 'koa'
import type { Client, errors, KoaContextWithOIDC } from 'oidc-provider'
import type { AccountState } from './adapter/adapter.ts'
import { createRichRequests, type DetailRules } from './authorization_details.ts'
import { createIntrospectionPolicy, type IntrospectionDenied } from './introspection_policy.ts'
import { accountOf, type OwnTokenDeps, readAccessToken } from './own_tokens.ts'
import type { Pairwise } from './pairwise.ts'

export interface JwtIntrospectionDeps extends OwnTokenDeps, DetailRules {
  readonly findClient: (clientId: string) => Promise<object | undefined>
  readonly pairwise: Pick<Pairwise, 'accountOf'>
  readonly accountState: (accountId: string) => Promise<AccountState | undefined>
  readonly introspectionDenied: IntrospectionDenied
}

const INACTIVE: Told = { active: false }
/** What RFC 7662 §2.2, RFC 8693 §4 and RFC 9470 §6.2 have a member for; nothing else that a token may carry. */
const TOLD = [
  'iss',
  'sub',
  'aud',
  'client_id',
  'scope',
  'exp',
  'iat',
  'jti',
  'cnf',
  'acr',
  'amr',
  'auth_time',
  'act',
  'may_act',
]

/** Builds the middleware in front of the engine: what it refused as a structured token is answered after all. */
export function createJwtIntrospection(deps: JwtIntrospectionDeps): Middleware {
  const allowed = createIntrospectionPolicy(deps.findClient, deps.introspectionDenied)
  return async (ctx: Context, next: Next) => {
    await next()
    const { oidc } = ctx as unknown as KoaContextWithOIDC
    const refused = ctx.status === 400 && (ctx.body as { error?: unknown } | null)?.error === 'unsupported_token_type'
    if (!refused || oidc?.route !== 'introspection' || oidc.client === undefined) return
    ctx.status = 200
    await answer(ctx, oidc, await introspect(deps, allowed, ctx as unknown as KoaContextWithOIDC, oidc.client))
  }
}

const SIGNED = 'application/token-introspection+jwt'

/** As the engine gives its own answers: signed for a client that has said by what and accepts it (RFC 9701 §4 and §5). */
async function answer(ctx: Context, { client, provider }: KoaContextWithOIDC['oidc'], told: Told): Promise<void> {
  const isSigned = client?.introspectionSignedResponseAlg !== undefined
  const isEncrypted = client?.introspectionEncryptedResponseAlg !== undefined
  const accepts = ctx.accepts('json', SIGNED)
  if (isEncrypted && accepts !== SIGNED) {
    ctx.status = 400
    const description = `introspection must be requested with Accept: ${SIGNED} for this client`
    ctx.body = { error: 'invalid_request', error_description: description }
    return
  }
  if (!(isSigned || isEncrypted) || accepts !== SIGNED) {
    ctx.body = told
    return
  }
  const { IdToken } = provider as unknown as {
    IdToken: new (claims: object, options: { ctx: unknown }) => SignedAnswer
  }
  const token = new IdToken({}, { ctx })
  token.extra = { token_introspection: told, aud: told.aud }
  try {
    ctx.body = await token.issue({ use: 'introspection' })
    ctx.type = `${SIGNED}; charset=utf-8`
  } catch (error) {
    // The client has no key that fits what it has said; the engine no longer stands between this and the error page.
    if (!isProtocolError(error)) throw error
    ctx.status = error.statusCode
    ctx.body = { error: error.error, error_description: error.error_description }
  }
}

/** By its members: commands read this file, and none needs the engine. */
function isProtocolError(error: unknown): error is errors.OIDCProviderError {
  return error instanceof Error && 'error_description' in error && 'statusCode' in error
}

interface SignedAnswer {
  extra: object
  issue(options: { use: 'introspection' }): Promise<string>
}

interface Told {
  readonly active: boolean
  readonly [member: string]: unknown
}

async function introspect(
  deps: JwtIntrospectionDeps,
  allowed: ReturnType<typeof createIntrospectionPolicy>,
  ctx: KoaContextWithOIDC,
  asker: Client,
): Promise<Told> {
  const claims = await readAccessToken(deps, ctx.oidc.params?.token)
  const clientId = claims?.client_id
  if (claims === undefined || typeof clientId !== 'string') return INACTIVE
  if (!(await allowed(ctx, asker, { clientId, aud: claims.aud }))) return INACTIVE
  let details: object = {}
  // A machine's token is about the machine itself (RFC 9068 §2.2).
  if (claims.sub !== clientId) {
    const account = await accountOf(deps.pairwise, String(claims.sub), await ctx.oidc.provider.Client.find(clientId))
    if (account === undefined || (await deps.accountState(account))?.active !== true) return INACTIVE
    if (!(await hasGrant(ctx, claims.grant_id, account))) return INACTIVE
    details = await detailsTold(deps, ctx, { accountId: account, clientId, rar: claims.authorization_details })
  }
  const told = TOLD.flatMap((name) => (claims[name] === undefined ? [] : [[name, claims[name]] as const]))
  return { active: true, ...Object.fromEntries(told), ...details, token_type: tokenType(claims.cnf) }
}

/**
 * Whether the grant that a token names is alive, with the client that the person let act. A grant ends by itself, with its
 * sign-in, or with everything of the account: reading it compares the epoch.
 */
async function hasGrant({ oidc }: KoaContextWithOIDC, grantId: unknown, account: string): Promise<boolean> {
  if (typeof grantId !== 'string') return false
  const grant = await oidc.provider.Grant.find(grantId)
  if (grant?.accountId !== account || grant.clientId === undefined) return false
  return (await oidc.provider.Client.find(grant.clientId)) !== undefined
}

/** RFC 9396 §9.2: a token that cannot be taken back still says no more than what counts now. */
async function detailsTold(
  rules: DetailRules,
  ctx: KoaContextWithOIDC,
  { rar, ...of }: { readonly accountId: string; readonly clientId: string; readonly rar: unknown },
): Promise<object> {
  if (!Array.isArray(rar)) return {}
  const details = await createRichRequests(rules).authorizationDetailsForIntrospection(ctx, { ...of, rar })
  return details.length === 0 ? {} : { authorization_details: details }
}

/** A token that is bound to a certificate is a Bearer token that needs more (RFC 8705 §3.2). */
function tokenType(cnf: unknown): 'Bearer' | 'DPoP' {
  return cnf !== null && typeof cnf === 'object' && 'jkt' in cnf ? 'DPoP' : 'Bearer'
}
