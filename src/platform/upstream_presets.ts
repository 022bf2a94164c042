/**
 * Providers that many people have, with what their own documents say filled in. A preset is settings and nothing else: what
 * it says can be said of any provider. Unproven until a person signed in with it; the documents are as of 2026-11.
 */
import type { OAuth2UpstreamSettings } from './upstream_oauth2.ts'
import type { OidcUpstreamSettings, UpstreamTenant } from './upstream_oidc_settings.ts'

interface SecretClient {
  readonly clientId: string
  readonly clientSecret: string
}

/**
 * developers.google.com/identity/openid-connect/openid-connect and …/reference: discovery at the issuer (tokens once said
 * `accounts.google.com` without a scheme; new ones do not), profile in the ID token, `email_verified` a boolean. Knows no `max_age`: it cannot be
 * asked to let the person show it again.
 */
export function google({ clientId, clientSecret }: SecretClient): OidcUpstreamSettings {
  return {
    issuer: 'https://accounts.google.com',
    clientId,
    clientAuthentication: { method: 'client_secret_post', secret: clientSecret },
    scopes: ['openid', 'email', 'profile'],
    algorithms: ['RS256'],
    provesFreshness: false,
  }
}

/**
 * developer.apple.com/documentation/signinwithapplerestapi ("Request an authorization", "Generate and validate tokens",
 * "Authenticating users with Sign in with Apple"): the secret is an ES256 JWT; with scopes the answer is a form_post; the
 * name comes once, in the form and not in the token; `email_verified` is "String or Boolean"; neither `max_age` nor `auth_time` is
 * documented.
 */
export function apple(own: {
  /** The Services ID. */
  readonly clientId: string
  readonly teamId: string
  readonly keyId: string
  /** Contents of the .p8 file. */
  readonly privateKey: string
}): OidcUpstreamSettings {
  const { clientId, teamId, keyId, privateKey } = own
  return {
    issuer: 'https://appleid.apple.com',
    clientId,
    clientAuthentication: { method: 'apple_client_secret', teamId, key: { keyId, privateKey, algorithm: 'ES256' } },
    scopes: ['openid', 'email', 'name'],
    algorithms: ['RS256'],
    responseMode: 'form_post',
    provesFreshness: false,
    emailRule: 'claim_or_text',
    userParameter: true,
  }
}

/** Whose accounts come: anybody's, those of work and school, personal ones, or one directory's (its id). */
export type MicrosoftAccounts = 'common' | 'organizations' | 'consumers' | { readonly tenantId: string }

/** The tenant of all personal accounts. */
const CONSUMERS = '9188040d-6c67-4c5b-b112-36a304b66dad'

/**
 * learn.microsoft.com/entra/identity-platform: v2-protocols-oidc (metadata of `common` and `organizations` has `{tenantid}` for an
 * issuer), id-token-claims-reference (`tid`; `preferred_username` may change and proves nothing), optional-claims-reference
 * (`xms_edov`, `auth_time` must be switched on in the app), migrate-off-email-claim-authorization (nOAuth: anybody's
 * administrator writes any `email`).
 */
export function microsoft(
  own: SecretClient & {
    readonly accounts: MicrosoftAccounts
    /** Demanded by `common` and `organizations`. */
    readonly tenants?: readonly UpstreamTenant[] | 'any' | undefined
    /** The optional claim `auth_time` is switched on in the app. */
    readonly authTime?: boolean | undefined
  },
): OidcUpstreamSettings {
  const { clientId, clientSecret, accounts, tenants, authTime = false } = own
  const host = 'https://login.microsoftonline.com'
  const many = accounts === 'common' || accounts === 'organizations'
  const tenantId = typeof accounts === 'object' ? accounts.tenantId : CONSUMERS
  const path = typeof accounts === 'object' ? accounts.tenantId : accounts
  return {
    issuer: `${host}/${many ? '{tenantid}' : tenantId}/v2.0`,
    discoveryUrl: `${host}/${path}/v2.0/.well-known/openid-configuration`,
    clientId,
    clientAuthentication: { method: 'client_secret_post', secret: clientSecret },
    scopes: ['openid', 'email', 'profile'],
    algorithms: ['RS256'],
    freshParameters: { prompt: 'login' },
    provesFreshness: authTime,
    emailRule: 'domain_owner',
    tenants,
  }
}

/**
 * developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow, …/docs/graph-api/guides/secure-requests
 * (`appsecret_proof`), …/docs/graph-api/reference/user (`id` is of this app; `email` has no mark of being verified, so it never
 * is), …/guides/advanced/oidc-token (PKCE; its OpenID Connect "is still in testing" and not used here). Without a version in the path it is the oldest that the app may use (…/docs/graph-api/guides/versioning):
 * none to expire here.
 */
export function facebook({ clientId, clientSecret }: SecretClient): OAuth2UpstreamSettings {
  return {
    issuer: 'https://www.facebook.com',
    clientId,
    clientSecret,
    clientAuthentication: 'client_secret_post',
    authorizationEndpoint: 'https://www.facebook.com/dialog/oauth',
    tokenEndpoint: 'https://graph.facebook.com/oauth/access_token',
    pkce: true,
    scopes: ['public_profile', 'email'],
    profileEndpoint: 'https://graph.facebook.com/me?fields=id,name,first_name,last_name,email,picture',
    subject: 'id',
    claims: {
      name: 'name',
      given_name: 'first_name',
      family_name: 'last_name',
      email: 'email',
      picture: 'picture.data.url',
    },
    appSecretProof: true,
  }
}

/**
 * docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps,
 * …/troubleshooting-oauth-app-access-token-request-errors (errors with status 200), github.blog/changelog/2025-07-14 (PKCE, S256),
 * docs.github.com/rest/users/emails (`primary`, `verified`). `iss` in answers is `https://github.com/login/oauth` where it
 * is sent (tried in 2026-04, langfuse issue 13091).
 */
export function github({ clientId, clientSecret }: SecretClient): OAuth2UpstreamSettings {
  return {
    issuer: 'https://github.com/login/oauth',
    clientId,
    clientSecret,
    clientAuthentication: 'client_secret_post',
    authorizationEndpoint: 'https://github.com/login/oauth/authorize',
    tokenEndpoint: 'https://github.com/login/oauth/access_token',
    pkce: true,
    scopes: ['read:user', 'user:email'],
    profileEndpoint: 'https://api.github.com/user',
    headers: { accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' },
    subject: 'id',
    claims: { name: 'name', preferred_username: 'login', picture: 'avatar_url', profile: 'html_url' },
    emails: {
      endpoint: 'https://api.github.com/user/emails',
      address: 'email',
      primary: 'primary',
      verified: 'verified',
    },
  }
}

/**
 * learn.microsoft.com/linkedin/consumer/integrations/self-serve/sign-in-with-linkedin-v2: OpenID Connect by name, but ID tokens
 * hold no nonce (authlib issue 763, social-core pull request 833) and a `code_verifier` beside a secret is `invalid_client`
 * (next-auth issue 8831). So its UserInfo endpoint is asked as a plain API, over the same issuer.
 */
export function linkedin({ clientId, clientSecret }: SecretClient): OAuth2UpstreamSettings {
  return {
    issuer: 'https://www.linkedin.com/oauth',
    clientId,
    clientSecret,
    clientAuthentication: 'client_secret_post',
    authorizationEndpoint: 'https://www.linkedin.com/oauth/v2/authorization',
    tokenEndpoint: 'https://www.linkedin.com/oauth/v2/accessToken',
    pkce: false,
    scopes: ['openid', 'profile', 'email'],
    profileEndpoint: 'https://api.linkedin.com/v2/userinfo',
    subject: 'sub',
    claims: {
      name: 'name',
      given_name: 'given_name',
      family_name: 'family_name',
      email: 'email',
      email_verified: 'email_verified',
      picture: 'picture',
      locale: 'locale',
    },
  }
}
