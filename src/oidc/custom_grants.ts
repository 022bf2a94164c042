/**
 * Grants beside the engine's own, registered with it: token exchange (RFC 8693) and assertions (RFC 7523). The engine has
 * authenticated the client and looked whether it may use the grant before either is called.
 */
import type { JWTVerifyGetKey } from 'jose'
import type Provider from 'oidc-provider'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { Config } from '../config/config.ts'
import type { TrustedIssuer } from '../platform/assertion_issuers.ts'
import { JWT_BEARER, TOKEN_EXCHANGE } from '../platform/grant_policies.ts'
import { hangOnRoots } from './delegation.ts'
import { refusal } from './grant_refusals.ts'
import { ACCESS_TOKEN, textOf } from './grant_requests.ts'
import { ID_JAG, type IdJagDeps, issueIdJag, nameSessions } from './id_jag.ts'
import { grantByAssertion, type JwtBearerDeps } from './jwt_bearer.ts'
import { exchangeAccessToken } from './token_exchange.ts'

export type CustomGrantDeps = Omit<IdJagDeps & JwtBearerDeps, 'issuer'> & {
  readonly config: Pick<Config, 'issuer' | 'resources' | 'tokens'>
  readonly assertionIssuers: ReadonlyMap<string, { readonly trusted: TrustedIssuer; readonly keys: JWTVerifyGetKey }>
}

const TARGETS = ['resource', 'audience']
const EXCHANGE_PARAMETERS = [
  ...['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type', 'scope'],
  ...TARGETS,
]

/** Registers them. Only targets may come twice; what we do with several is ours to say (RFC 8693 §2.1). */
export function registerCustomGrants(provider: Provider, given: CustomGrantDeps): void {
  const deps = { ...given, issuer: given.config.issuer }
  hangOnRoots(provider)
  nameSessions(provider.Client)
  const exchange = (ctx: KoaContextWithOIDC): Promise<void> => {
    const requested = textOf(ctx, 'requested_token_type') ?? ACCESS_TOKEN
    if (requested === ACCESS_TOKEN) return exchangeAccessToken(deps, ctx)
    if (requested === ID_JAG) return issueIdJag(deps, ctx)
    return Promise.reject(refusal('requested_token_type'))
  }
  const assertion = (ctx: KoaContextWithOIDC): Promise<void> => grantByAssertion(deps, ctx)
  provider.registerGrantType(TOKEN_EXCHANGE, exchange, EXCHANGE_PARAMETERS, TARGETS)
  provider.registerGrantType(JWT_BEARER, assertion, ['assertion', 'scope', 'resource'], ['resource'])
}
