/** What an operator says of an OpenID provider: plain data, defaults filled in by presets. */
import type { EmailRule } from './upstream_claims.ts'
import type { UpstreamKey } from './upstream_keys.ts'

/** How we prove to be the client at the token endpoint (OIDC Core §9). */
export type UpstreamClientAuthentication =
  | { readonly method: 'client_secret_basic' | 'client_secret_post'; readonly secret: string }
  /** Signed by the first of `signingKeys`. */
  | { readonly method: 'private_key_jwt' }
  /** A secret that is a JWT, made anew each hour (Apple). The key is ES256. */
  | { readonly method: 'apple_client_secret'; readonly teamId: string; readonly key: UpstreamKey }
  | { readonly method: 'none' }

/** A Microsoft tenant whose people may come. */
export interface UpstreamTenant {
  /** Directory (tenant) id: a UUID in small letters. */
  readonly id: string
  /** E-mail domains that the operator knows to be this tenant's own: addresses there count as verified. */
  readonly ownedDomains?: readonly string[] | undefined
}

export interface OidcUpstreamSettings {
  /** As the discovery document says it, to the character. `{tenantid}` in it is filled by the ID token's `tid` (Microsoft). */
  readonly issuer: string
  /** Where the discovery document is, when not at `<issuer>/.well-known/openid-configuration`. */
  readonly discoveryUrl?: string | undefined
  readonly clientId: string
  readonly clientAuthentication: UpstreamClientAuthentication
  /** Always with `openid`. */
  readonly scopes: readonly string[]
  /** Signature algorithms of ID and logout tokens that are taken; asymmetric ones only. Default: RS256, PS256, ES256, EdDSA. */
  readonly algorithms?: readonly string[] | undefined
  /** `form_post`: the answer comes as a cross-site POST (Apple demands it with scopes). Default: `query`. */
  readonly responseMode?: 'query' | 'form_post' | undefined
  /** More parameters of the authorization request, `prompt` among them. Ours cannot be replaced. */
  readonly parameters?: { readonly [name: string]: string } | undefined
  /** More parameters when the person must show it again now, beside `max_age=0`: `prompt: login` where it is needed. */
  readonly freshParameters?: { readonly [name: string]: string } | undefined
  /** Takes `max_age` and answers it with `auth_time`. Default: true. */
  readonly provesFreshness?: boolean | undefined
  /** Our keys for `private_key_jwt` and request objects; the first signs, all are published. */
  readonly signingKeys?: readonly UpstreamKey[] | undefined
  /** Our keys that ID tokens are encrypted to; all of them decrypt, all are published. */
  readonly decryptionKeys?: readonly UpstreamKey[] | undefined
  /** Authorization requests are signed request objects (RFC 9101). */
  readonly signedRequests?: boolean | undefined
  /** Asks the UserInfo endpoint too, for providers whose ID tokens hold no profile. */
  readonly userinfo?: boolean | undefined
  /** Default: `claim`. */
  readonly emailRule?: EmailRule | undefined
  /** Which tenants may come, with an issuer that has `{tenantid}`: a list, or everybody's, said in so many words. */
  readonly tenants?: readonly UpstreamTenant[] | 'any' | undefined
  /** The answer's `user` parameter may suggest a name (Apple, first login only). */
  readonly userParameter?: boolean | undefined
  /** Hands the access and refresh token on. */
  readonly keepTokens?: boolean | undefined
}

/** Default of `algorithms`. */
export const DEFAULT_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA']
