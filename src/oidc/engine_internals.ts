/**
 * What we use of the engine's inside: our own grants, so that they bind and answer as its grants do, and those who wait for what
 * all grants write. None of it is published: a test pins the engine's exact version and the shape of what is used, and whoever
 * updates the engine reads this file again.
 */
import { hash, type X509Certificate } from 'node:crypto'
import type { KoaContextWithOIDC, Provider } from 'oidc-provider'
import * as grants from 'oidc-provider/lib/helpers/grants.js'
import { sign } from 'oidc-provider/lib/helpers/jwt.js'
import { get as internals } from 'oidc-provider/lib/helpers/weak_cache.js'

/** The keys that the client has shown with its request. */
export interface ShownKeys {
  /** By a DPoP proof (RFC 9449). */
  readonly jkt: string | undefined
  /** By mutual TLS (RFC 8705); of whoever shows one, asked for or not. */
  readonly x5t: string | undefined
  readonly proof: grants.DpopProof | undefined
  readonly certificate: X509Certificate | undefined
}

/** Reads and checks them, and refuses a client that must show one and does not. A proof is not spent by it. */
export async function shownKeys(ctx: KoaContextWithOIDC): Promise<ShownKeys> {
  const { provider } = ctx.oidc
  const proof = await grants.validateDpop(provider, ctx)
  grants.checkDpopRequired(provider, ctx, proof)
  const { mTLS } = internals(provider).configuration.features
  const demanded = grants.checkMtlsCert(provider, ctx)
  const certificate = demanded ?? (mTLS.enabled ? mTLS.getCertificate(ctx) : undefined)
  const x5t = certificate === undefined ? undefined : hash('sha256', certificate.raw, 'base64url')
  return { jkt: proof?.thumbprint, x5t, proof, certificate }
}

/** Spends the DPoP proof: the second request with it is refused, on whichever instance (RFC 9449 §11.1). */
export function spendProof(ctx: KoaContextWithOIDC, { proof }: ShownKeys): Promise<void> {
  const { provider, client } = ctx.oidc
  return grants.checkDpopReplay(provider, ctx, proof, String(client?.clientId))
}

/** Seconds by which clocks may differ. */
export function clockTolerance({ oidc }: KoaContextWithOIDC): number {
  return internals(oidc.provider).configuration.clockTolerance
}

/** The body of a token response (RFC 6749 §5.1, RFC 8693 §2.2.1). */
export function tokenResponse({ oidc }: KoaContextWithOIDC, response: TokenResponse): object {
  return grants.buildTokenResponse(oidc.provider, response)
}

export interface TokenResponse {
  readonly accessToken: string
  readonly issuedTokenType?: string
  readonly tokenType: string
  readonly expiresIn: number
  readonly scope?: string | undefined
}

/** Signs claims with the key that signs access tokens, under a `typ` of their own (RFC 8725 §3.11). */
export function signJwt({ oidc }: KoaContextWithOIDC, claims: object, typ: string): Promise<string> {
  const { keystore } = internals(oidc.provider)
  const [key] = keystore.selectForSign({ alg: 'ES256', use: 'sig' })
  if (key === undefined) throw new Error('there is no ES256 key')
  return sign(claims, keystore.getKeyObject(key), 'ES256', { typ, fields: { kid: key.kid } })
}

export type GrantHandler = (ctx: KoaContextWithOIDC) => Promise<void>

/** What answers each grant type, where the engine looks for it. */
export function grantHandlers(provider: Provider): Map<string, GrantHandler> {
  return internals(provider).grantTypeHandlers
}
