/**
 * An OpenID provider as somewhere to come from: authorization code with PKCE and nonce (OIDC Core §3.1, RFC 9700), pushed
 * where it is offered (RFC 9126), signed where it is asked for (RFC 9101). Requests are made by openid-client; what comes
 * back is read in upstream_exchange.ts and upstream_tokens.ts.
 */
import type { JWTPayload } from 'jose'
import * as client from 'openid-client'
import {
  type Arrival,
  type Departed,
  type Departure,
  type Upstream,
  UpstreamError,
  type UpstreamIdentity,
} from './upstream.ts'
import { boundedClaims, type Claims, withVerifiedEmail } from './upstream_claims.ts'
import { createClientProof, signingKeyOf } from './upstream_client_proof.ts'
import { createDiscovery } from './upstream_discovery.ts'
import {
  codeOf,
  createUpstreamRequests,
  exchangeCode,
  failureOf,
  type UpstreamDeps,
  type UpstreamRequests,
} from './upstream_exchange.ts'
import {
  createProviderKeys,
  DECRYPTION_ALGORITHMS,
  type ProviderKeys,
  publicKeySet,
  type ReadyKey,
  readyKey,
  SIGNING_ALGORITHMS,
} from './upstream_keys.ts'
import { oidcReport } from './upstream_oidc_report.ts'
import { DEFAULT_ALGORITHMS, type OidcUpstreamSettings } from './upstream_oidc_settings.ts'
import { createIssuers, type Issuers, ownedDomains } from './upstream_tenants.ts'
import { readIdToken, readLogoutToken, type TokenRules } from './upstream_tokens.ts'

/** What both legs use. */
interface Provider {
  readonly settings: OidcUpstreamSettings
  readonly requests: UpstreamRequests
  readonly issuers: Issuers
  readonly now: () => Date
  readonly clientProof: () => Promise<client.ClientAuth>
  readonly signingKey: () => Promise<ReadyKey>
  readonly discover: () => Promise<client.ServerMetadata>
  readonly tokenRules: (metadata: client.ServerMetadata) => Promise<TokenRules>
}

/** @throws {UpstreamError} `misconfigured` for settings under which nobody, or anybody, could come. */
export function createOidcUpstream(settings: OidcUpstreamSettings, deps: UpstreamDeps): Upstream {
  const { issuer, clientId, decryptionKeys = [], signingKeys = [], algorithms = DEFAULT_ALGORITHMS } = settings
  assertAlgorithms(algorithms, SIGNING_ALGORITHMS)
  assertAlgorithms(
    decryptionKeys.map(({ algorithm }) => algorithm),
    DECRYPTION_ALGORITHMS,
  )
  const { clock } = deps
  const requests = createUpstreamRequests(deps)
  const url = settings.discoveryUrl ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const discover = createDiscovery({ issuer, url }, requests, clock)
  const signingKey = signingKeyOf(settings)
  const issuers = createIssuers(settings)
  let providerKeys: { readonly uri: string; readonly keys: ProviderKeys } | undefined
  let ourKeys: Promise<ReadyKey[]> | undefined

  const keysAt = (uri: string): ProviderKeys => {
    if (providerKeys?.uri !== uri) providerKeys = { uri, keys: createProviderKeys(uri, requests, clock) }
    return providerKeys.keys
  }
  const tokenRules = async ({ jwks_uri: uri = '' }: client.ServerMetadata): Promise<TokenRules> => {
    ourKeys ??= Promise.all(decryptionKeys.map(readyKey))
    const common = { keys: keysAt(uri), clientId, issuer: issuers.ofClaims, now: clock.now() }
    return { ...common, algorithms, decryptionKeys: await ourKeys }
  }
  const clientProof = createClientProof(settings, signingKey, clock)
  const now = () => clock.now()
  const publish = async () => {
    const body = JSON.stringify(await publicKeySet(signingKeys, decryptionKeys))
    return { type: 'application/jwk-set+json', body }
  }
  const provider: Provider = { settings, requests, issuers, now, clientProof, signingKey, discover, tokenRules }

  return {
    provesFreshness: settings.provesFreshness ?? true,
    depart: (departure) => requests.leg(() => depart(provider, departure)),
    finish: (arrival) => requests.leg(() => finish(provider, arrival)),
    readLogout: (token) => requests.leg(async () => readLogoutToken(token, await tokenRules(await discover()))),
    ...(signingKeys.length + decryptionKeys.length > 0 ? { publish } : {}),
    inspect: () => requests.leg(() => oidcReport(settings, discover, (uri) => keysAt(uri).load())),
  }
}

function assertAlgorithms(used: readonly string[], known: readonly string[]): void {
  if (!used.every((algorithm) => known.includes(algorithm)))
    throw new UpstreamError('misconfigured', 'algorithm_refused')
}

/** openid-client's view of the provider, for one leg. */
async function configurationOf({ settings, requests, discover, clientProof }: Provider): Promise<client.Configuration> {
  const configuration = new client.Configuration(await discover(), settings.clientId, {}, await clientProof())
  configuration[client.customFetch] = (target, init) => requests.fetch(target, init as RequestInit)
  // Which requests may go in clear, the guarded client decides.
  client.allowInsecureRequests(configuration)
  return configuration
}

/** What `finish` needs of `depart`. */
type Kept = { readonly nonce: string; readonly verifier: string; readonly authenticatedSince?: number }

async function depart(provider: Provider, departure: Departure): Promise<Departed> {
  const { settings } = provider
  const configuration = await configurationOf(provider)
  const since = departure.fresh === true ? { authenticatedSince: Math.floor(provider.now().getTime() / 1000) } : {}
  const kept: Kept = { nonce: client.randomNonce(), verifier: client.randomPKCECodeVerifier(), ...since }
  let parameters = await authorizationParameters(settings, departure, kept)
  try {
    if (settings.signedRequests === true) {
      const key = await provider.signingKey()
      parameters = (await client.buildAuthorizationUrlWithJAR(configuration, parameters, key)).searchParams
    }
    const { pushed_authorization_request_endpoint: pushed } = configuration.serverMetadata()
    const url =
      pushed === undefined
        ? client.buildAuthorizationUrl(configuration, parameters)
        : await client.buildAuthorizationUrlWithPAR(configuration, parameters)
    return { url: url.href, kept }
  } catch (error) {
    throw requestFailure(error)
  }
}

async function authorizationParameters(
  settings: OidcUpstreamSettings,
  { redirectUri, state, locale, loginHint, acrValues = [], fresh }: Departure,
  { nonce, verifier }: Kept,
): Promise<URLSearchParams> {
  const optional = {
    ...(settings.responseMode === 'form_post' ? { response_mode: 'form_post' } : {}),
    ...(locale === undefined ? {} : { ui_locales: locale }),
    ...(loginHint === undefined ? {} : { login_hint: loginHint }),
    ...(acrValues.length === 0 ? {} : { acr_values: acrValues.join(' ') }),
    ...(fresh === true ? { ...settings.freshParameters, max_age: '0' } : {}),
  }
  return new URLSearchParams({
    ...settings.parameters,
    ...optional,
    response_type: 'code',
    client_id: settings.clientId,
    redirect_uri: redirectUri,
    scope: [...new Set(['openid', ...settings.scopes])].join(' '),
    ...{ state, nonce, code_challenge_method: 'S256' },
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
  })
}

async function finish(provider: Provider, arrival: Arrival): Promise<UpstreamIdentity> {
  const { settings, requests, issuers } = provider
  const kept = keptIn(arrival)
  const configuration = await configurationOf(provider)
  const metadata = configuration.serverMetadata()
  const issuerDemanded = metadata.authorization_response_iss_parameter_supported === true
  const code = codeOf(arrival, { issuer: issuers.ofAnswer, issuerDemanded })
  const auth = await provider.clientProof()
  const prove = (body: URLSearchParams, headers: Headers) =>
    auth(metadata, configuration.clientMetadata(), body, headers)
  const endpoint = metadata.token_endpoint ?? ''
  const tokens = await exchangeCode({ requests, endpoint, prove, arrival, code, verifier: kept.verifier })
  const claims = await readIdToken(tokens.idToken, { ...(await provider.tokenRules(metadata)), ...kept })
  const { iss = claims.iss, user } = arrival.parameters
  if (iss !== claims.iss) throw new UpstreamError('answer_refused', 'iss_mismatch')
  const profile = settings.userinfo === true ? await userinfo(configuration, tokens.accessToken, claims.sub) : {}
  const { accessToken, refreshToken } = tokens
  return {
    ...identityOf(settings, claims, profile),
    ...(settings.userParameter === true && user !== undefined ? { suggested: suggestedName(user) } : {}),
    ...(settings.keepTokens === true ? { tokens: { accessToken, refreshToken } } : {}),
  }
}

function keptIn({ kept }: Arrival): Kept {
  const { nonce, verifier, authenticatedSince } = (kept ?? {}) as { readonly [name: string]: unknown }
  if (typeof nonce !== 'string' || typeof verifier !== 'string')
    throw new UpstreamError('answer_refused', 'not_departed')
  return { nonce, verifier, ...(typeof authenticatedSince === 'number' ? { authenticatedSince } : {}) }
}

async function userinfo(configuration: client.Configuration, accessToken: string, sub: string) {
  try {
    return await client.fetchUserInfo(configuration, accessToken, sub)
  } catch (error) {
    throw withinUpstreamError(error) ?? new UpstreamError('answer_refused', 'userinfo_invalid', { cause: error })
  }
}

/** Of the protocol itself, and no facts about the person. */
const PROTOCOL_CLAIMS = new Set([
  ...['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'azp', 'nonce', 'sid', 'acr', 'amr', 'auth_time'],
  ...['at_hash', 'c_hash', 's_hash', 'nonce_supported'],
])
/** What is said about another claim belongs to that claim of the same document: mixed, it would vouch for a stranger's. */
const VOUCHED = { email: 'email_verified', phone_number: 'phone_number_verified' }

function identityOf(settings: OidcUpstreamSettings, token: JWTPayload & { iss: string; sub: string }, profile: object) {
  const { acr, amr, auth_time: authTime, sid } = token
  const said: { [name: string]: unknown } = Object.assign(Object.create(null), profile)
  for (const [claim, voucher] of Object.entries(VOUCHED)) if (claim in token) delete said[voucher]
  const all = [...Object.entries(said), ...Object.entries(token)].filter(([name]) => !PROTOCOL_CLAIMS.has(name))
  const claims: Claims = boundedClaims(Object.fromEntries(all))
  return {
    issuer: token.iss,
    subject: token.sub,
    claims: withVerifiedEmail(claims, settings.emailRule ?? 'claim', ownedDomains(settings, token)),
    ...(typeof acr === 'string' ? { acr: acr.slice(0, TEXT) } : {}),
    ...(Array.isArray(amr) ? { amr: amr.filter((value) => typeof value === 'string').slice(0, TEXT) } : {}),
    ...(typeof authTime === 'number' ? { authenticatedAt: authTime * 1000 } : {}),
    ...(typeof sid === 'string' && sid.length <= TEXT ? { sessionId: sid } : {}),
  }
}

/** Longest text, and longest list, beside the claims. */
const TEXT = 255

/** Apple's `user` (`{ name: { firstName, lastName }, email }`): typed by whoever holds the browser; its e-mail is nobody's (A04). */
function suggestedName(user: string): { readonly [claim: string]: string } {
  let parsed: unknown
  try {
    parsed = JSON.parse(user)
  } catch {
    return {}
  }
  const name = (parsed as { readonly name?: { readonly [part: string]: unknown } } | null)?.name
  const { given_name, family_name } = boundedClaims({ given_name: name?.firstName, family_name: name?.lastName })
  return {
    ...(typeof given_name === 'string' ? { given_name } : {}),
    ...(typeof family_name === 'string' ? { family_name } : {}),
  }
}

/** Why no authorization request came about. */
function requestFailure(error: unknown): UpstreamError {
  const within = withinUpstreamError(error)
  if (within !== undefined) return within
  const said = error instanceof client.ResponseBodyError ? failureOf(error.error) : undefined
  // Nobody has been anywhere yet: what a pushed request is refused for is the operator's to mend.
  if (said?.failure === 'unavailable') return said
  return new UpstreamError('misconfigured', said?.reason ?? 'request_refused', { cause: error })
}

/** openid-client wraps what its fetch threw. */
function withinUpstreamError(error: unknown): UpstreamError | undefined {
  if (error instanceof UpstreamError) return error
  return error instanceof Error && error.cause !== undefined ? withinUpstreamError(error.cause) : undefined
}
