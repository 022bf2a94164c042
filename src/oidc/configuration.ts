/** The engine's configuration: everything that differs from its defaults, and why. */
import {
  type Adapter,
  type Client,
  type Configuration,
  type ErrorOut,
  errors,
  type FindAccount,
  type Grant,
  type KoaContextWithOIDC,
} from 'oidc-provider'
import type { Config } from '../config/config.ts'
import type { SessionLimits } from '../interaction/step.ts'
import {
  ENCRYPTION_ALGS,
  ENCRYPTION_ENCS,
  FAPI_ALGS,
  isFapi,
  MTLS_AUTH_METHODS,
  REQUEST_ALGS,
  RESPONSE_TYPES,
  SIGNING_ALGS,
} from '../platform/client_protocol.ts'
import { createRichRequests } from './authorization_details.ts'
import { type CibaDeps, createCiba, requestSeconds } from './ciba.ts'
import { CLAIMS, SCOPES } from './claims.ts'
import { assertClaims } from './claims_parameter.ts'
import { isCompactJws } from './compact_jws.ts'
import { cookies } from './cookies.ts'
import { type IssuedToken, personClaims } from './delegation.ts'
import type { createDeviceFlow } from './device_flow.ts'
import { idJagMetadata } from './id_jag.ts'
import { createIntrospectionPolicy, type IntrospectionDenied } from './introspection_policy.ts'
import { type SigningKey, toEngineKeys } from './keys.ts'
import { createMutualTls } from './mutual_tls.ts'
import { type Pairwise, sectorOf } from './pairwise.ts'
import { createPolicy, extraPrompts, type LevelDeps } from './policy.ts'
import { assertRequestObject } from './request_objects.ts'
import { createResourceServers } from './resource_servers.ts'
import { mayRevoke } from './revocation_policy.ts'

export interface ConfigurationDeps extends CibaDeps {
  readonly config: Config
  readonly keys: readonly SigningKey[]
  readonly levels: LevelDeps['levels']
  readonly now: LevelDeps['now']
  readonly accountState: LevelDeps['accountState']
  readonly wantsSecondFactor: LevelDeps['wantsSecondFactor']
  readonly confinedTo: LevelDeps['confinedTo']
  readonly detailTypes: LevelDeps['detailTypes']
  readonly findDetails: LevelDeps['findDetails']
  /** Languages of the pages. */
  readonly locales: readonly string[]
  readonly adapter: (model: string) => Adapter
  readonly findAccount: FindAccount
  readonly loadExistingGrant: (ctx: KoaContextWithOIDC) => Promise<Grant | undefined>
  readonly findClient: (clientId: string) => Promise<object | undefined>
  /** Told before the browser is sent to an interaction. */
  readonly interactionOpened: (uid: string, clientId: string) => Promise<void>
  readonly introspectionDenied: IntrospectionDenied
  readonly renderError: (ctx: KoaContextWithOIDC, out: ErrorOut, error: Error) => Promise<void>
  readonly renderLogout: (ctx: KoaContextWithOIDC, form: string) => Promise<void>
  readonly renderLoggedOut: (ctx: KoaContextWithOIDC) => Promise<void>
  readonly deviceFlow: ReturnType<typeof createDeviceFlow>
  /** The same bytes on every instance. */
  readonly dpopNonceSecret: Buffer
  readonly pairwise: Pairwise
  /** Guarded outbound fetch for `jwks_uri` and back-channel logout. */
  readonly fetch: (url: URL | string, options?: RequestInit) => Promise<Response>
}

/** Our metadata beside the registered ones; validated when a client is written. */
const CLIENT_METADATA = [
  'profile',
  'require_dpop_nonce',
  'first_party',
  'unverified',
  'brand',
  'upstreams',
  'verified_claims',
  'require_pkce',
  'resources',
  'resource_scopes',
  'start_uri',
  'registration_fields',
  'default_locale',
  'resource_server_for',
  'organization_id',
  'token_exchange',
  'identity_assertions',
  'assertion_issuers',
  'may_act',
  'agent',
  'rate_limit',
  'quota',
  'global_revocation',
  'minimum_acr',
  'second_factor',
  'second_factor_grace',
  'cors_origins',
  'access_token_format',
  'access_token_seconds',
  'jwt_access_token_seconds',
  'refresh_idle_seconds',
  'refresh_absolute_seconds',
  'refresh_grace_seconds',
]

/** RFC 7523bis §3; a request object or a proof of the same key is no assertion (A27). */
const ASSERTION_TYPES = ['jwt', 'client-authentication+jwt', 'application/client-authentication+jwt']

const number = (client: Client | undefined, name: string) => client?.[name] as number | undefined

/** Builds the engine's configuration. */
export function createConfiguration(deps: ConfigurationDeps): Configuration {
  const { config, keys } = deps
  const prompts = extraPrompts(config.modules)
  return {
    adapter: deps.adapter as never,
    jwks: { keys: toEngineKeys(keys) as never },
    findAccount: deps.findAccount,
    loadExistingGrant: deps.loadExistingGrant,
    renderError: deps.renderError,
    fetch: deps.fetch as never,
    fetchResponseBodyLimits: { jwks_uri: 65_536, sector_identifier_uri: 65_536 } as never,
    cookies: cookies(config.https),
    claims: CLAIMS as never,
    scopes: [...SCOPES],
    acrValues: [...deps.levels.acrs],
    // `prompt_values_supported` is how a client learns of `create` (Initiating User Registration 1.0 §4.1).
    discovery: {
      prompt_values_supported: ['none', 'login', 'consent', ...prompts],
      ui_locales_supported: [...deps.locales],
      ...idJagMetadata(config),
    },
    // Our own pages ask with it for the conversation to begin at another part (`recover`).
    extraParams: ['genkan_begin'],
    ...clientRules(deps),
    ...tokenRules(config),
    interactions: {
      policy: createPolicy(prompts, deps),
      url: async (_ctx, { uid, params }) => {
        await deps.interactionOpened(uid, String(params.client_id))
        return `/interaction/${uid}`
      },
    },
    features: features(deps),
  } as Configuration
}

/** What clients may be (OAuth 2.1): code only, PKCE for everybody, exact redirects; the rest by their profile. */
function clientRules({ config, pairwise }: ConfigurationDeps) {
  const mtls = MTLS_AUTH_METHODS.filter((name) => config.mtls?.trustedCa.length !== 0 || name !== 'tls_client_auth')
  return {
    responseTypes: config.legacyProfile ? [...RESPONSE_TYPES] : ['code'],
    clientAuthMethods: [
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      ...(config.mtls ? mtls : []),
      'none',
    ],
    clientDefaults: {
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      id_token_signed_response_alg: 'ES256',
      authorization_signed_response_alg: 'ES256',
      introspection_signed_response_alg: 'ES256',
      token_endpoint_auth_method: 'client_secret_basic',
    },
    enabledJWA: algorithms(),
    extraClientMetadata: { properties: CLIENT_METADATA },
    allowOmittingSingleRegisteredRedirectUri: false,
    pkce: { required: (_ctx: KoaContextWithOIDC, client: Client) => client.require_pkce !== false },
    clientBasedCORS: (_ctx: KoaContextWithOIDC, origin: string, client: Client) =>
      ((client.cors_origins ?? []) as readonly string[]).includes(origin),
    subjectTypes: ['public', 'pairwise'],
    pairwiseIdentifier: (_ctx: unknown, accountId: string, client: Client) =>
      pairwise.subjectOf(accountId, sectorOf(client)),
    // The issuer is the audience of a client assertion (RFC 7523bis), or by the older rule the token endpoint (RFC 7523 §3):
    // one that is meant for another endpoint, or for somebody else as well, is refused.
    assertJwtClientAuthClaimsAndHeader: async (
      ctx: KoaContextWithOIDC,
      { aud }: { aud?: unknown },
      { alg, typ }: { alg?: unknown; typ?: unknown },
      client: Client,
    ) => {
      if (!isCompactJws(ctx.oidc.params?.client_assertion)) throw new errors.InvalidClientAuth('not a compact JWS')
      if (typ !== undefined && !ASSERTION_TYPES.includes(String(typ).toLowerCase()))
        throw new errors.InvalidClientAuth('the typ of another kind of token')
      if (isFapi(client.profile) && !FAPI_ALGS.includes(String(alg))) {
        throw new errors.InvalidClientAuth(`${alg} is not allowed with profile ${client.profile}`)
      }
      if (aud === config.issuer) return
      if (isFapi(client.profile)) throw new errors.InvalidClientAuth('the assertion audience must be the issuer alone')
      if (aud === `${config.issuer}/token`) return
      if (Array.isArray(aud) && aud.length === 1 && aud[0] === config.issuer) return
      throw new errors.InvalidClientAuth('the assertion audience must be the issuer')
    },
  }
}

/** No algorithm with a shared secret: ours are kept as hashes, and the engine knows none. */
function algorithms() {
  const signing = [...SIGNING_ALGS]
  const encryption = [...ENCRYPTION_ALGS]
  const content = [...ENCRYPTION_ENCS]
  return {
    idTokenSigningAlgValues: signing,
    userinfoSigningAlgValues: signing,
    introspectionSigningAlgValues: signing,
    authorizationSigningAlgValues: signing,
    clientAuthSigningAlgValues: [...REQUEST_ALGS],
    requestObjectSigningAlgValues: [...REQUEST_ALGS],
    dPoPSigningAlgValues: ['ES256', 'EdDSA'],
    ...{ idTokenEncryptionAlgValues: encryption, idTokenEncryptionEncValues: content },
    ...{ userinfoEncryptionAlgValues: encryption, userinfoEncryptionEncValues: content },
    ...{ introspectionEncryptionAlgValues: encryption, introspectionEncryptionEncValues: content },
    ...{ authorizationEncryptionAlgValues: encryption, authorizationEncryptionEncValues: content },
    // Requests are encrypted by nobody: TLS ends at us, and what must stay out of the browser is pushed (RFC 9126).
    ...{ requestObjectEncryptionAlgValues: [], requestObjectEncryptionEncValues: [] },
  }
}

/** Lifetimes, rotation, and what dies with the session. */
function tokenRules(config: Config) {
  const { tokens, sessions } = config
  return {
    extraTokenClaims: async ({ oidc }: KoaContextWithOIDC, token: IssuedToken) =>
      token.kind === 'ClientCredentials'
        ? machineClaims(oidc)
        : personClaims(token, oidc.client, authenticationClaims(oidc)),
    // FAPI 2.0 Security Profile §5.3.2.1: no rotation; their refresh tokens are bound to a key, or to one who has one.
    rotateRefreshToken: ({ oidc }: KoaContextWithOIDC) => !isFapi(oidc.client?.profile),
    // Revoking one access token leaves the grant; everything else ends it whole.
    revokeGrantPolicy: (ctx: KoaContextWithOIDC) =>
      !(ctx.oidc.route === 'revocation' && ctx.oidc.entities.AccessToken !== undefined),
    issueRefreshToken: async (_ctx: KoaContextWithOIDC, client: Client, code: { scopes: Set<string> }) =>
      client.grantTypeAllowed('refresh_token') &&
      (code.scopes.has('offline_access') || client.clientAuthMethod === 'none'),
    // Without offline_access a token lives no longer than the sign-in it came from.
    expiresWithSession: async (_ctx: KoaContextWithOIDC, code: { scopes: Set<string> }) =>
      !code.scopes.has('offline_access'),
    ttl: {
      AccessToken: (_ctx: unknown, token: { resourceServer?: { accessTokenTTL?: number } }, client: Client) =>
        token.resourceServer?.accessTokenTTL ?? number(client, 'access_token_seconds') ?? tokens.accessTokenSeconds,
      ClientCredentials: (_ctx: unknown, token: { resourceServer?: { accessTokenTTL?: number } }, client: Client) =>
        token.resourceServer?.accessTokenTTL ?? number(client, 'access_token_seconds') ?? tokens.accessTokenSeconds,
      // FAPI 2.0 Security Profile §5.3.2.1: a minute at the most.
      AuthorizationCode: (_ctx: unknown, _code: unknown, client: Client) =>
        isFapi(client.profile) ? Math.min(60, tokens.codeSeconds) : tokens.codeSeconds,
      IdToken: 3600,
      Interaction: tokens.interactionSeconds,
      DeviceCode: 600,
      BackchannelAuthenticationRequest: requestSeconds,
      Grant: sessions.absoluteSeconds + tokens.refreshAbsoluteSeconds,
      RefreshToken: (_ctx: unknown, token: { totalLifetime(): number }, client: Client) => {
        const idle = number(client, 'refresh_idle_seconds') ?? tokens.refreshIdleSeconds
        const absolute = number(client, 'refresh_absolute_seconds') ?? tokens.refreshAbsoluteSeconds
        // It is never given anew, so there is no use by which it could be told to be idle.
        if (isFapi(client.profile)) return absolute
        return Math.max(1, Math.min(idle, absolute - token.totalLifetime()))
      },
      Session: (_ctx: unknown, { startedAt, limits }: { startedAt?: number; limits?: SessionLimits }) => {
        const idle = Math.min(sessions.idleSeconds, limits?.idleSeconds ?? Number.POSITIVE_INFINITY)
        const absolute = Math.min(sessions.absoluteSeconds, limits?.absoluteSeconds ?? Number.POSITIVE_INFINITY)
        if (startedAt === undefined) return idle
        return Math.max(1, Math.min(idle, startedAt + absolute - Math.floor(Date.now() / 1000)))
      },
    },
  }
}

/** A machine's token names the organization it acts for; what the client says of itself never does. */
function machineClaims({ client }: KoaContextWithOIDC['oidc']) {
  return client?.organization_id === undefined ? undefined : { org_id: client.organization_id }
}

/**
 * How the person signed in, for the resource server to judge (RFC 9068 §2.2.1, RFC 9470 §6). A refreshed token repeats the
 * authentication that its family began with; it never becomes newer or stronger.
 */
function authenticationClaims({ entities }: KoaContextWithOIDC['oidc']) {
  const { AuthorizationCode, RefreshToken, BackchannelAuthenticationRequest } = entities
  const { acr, amr, authTime } = AuthorizationCode ?? BackchannelAuthenticationRequest ?? RefreshToken ?? {}
  return { ...(acr && { acr }), ...(amr && { amr }), ...(authTime && { auth_time: authTime }) }
}

function features(deps: ConfigurationDeps) {
  return {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    ciba: createCiba(deps, deps.config.modules.accountPages),
    claimsParameter: { enabled: true, assertClaimsParameter: assertClaims },
    clientCredentials: { enabled: true },
    dPoP: {
      enabled: true,
      nonceSecret: deps.dpopNonceSecret,
      // The engine asks here before it reads a proof, so another spelling of one is refused here (A68).
      requireNonce: (ctx: KoaContextWithOIDC) => {
        if (!isCompactJws(ctx.get('DPoP'))) throw new errors.InvalidDpopProof('the DPoP proof is not a compact JWS')
        return ctx.oidc.client?.require_dpop_nonce === true
      },
    },
    deviceFlow: deps.deviceFlow,
    encryption: { enabled: true },
    fapi: { enabled: true, profile: (_ctx: unknown, client?: Client) => (isFapi(client?.profile) ? '2.0' : undefined) },
    jwtIntrospection: { enabled: true },
    jwtResponseModes: { enabled: true },
    jwtUserinfo: { enabled: true },
    mTLS: createMutualTls(deps.config.mtls, deps.now),
    requestObjects: { enabled: true, assertJwtClaimsAndHeader: assertRequestObject },
    externalSigningSupport: { enabled: true, ack: 'experimental-01' },
    introspection: {
      enabled: true,
      allowedPolicy: createIntrospectionPolicy(deps.findClient, deps.introspectionDenied),
    },
    revocation: { enabled: true, allowedPolicy: mayRevoke },
    resourceIndicators: createResourceServers(deps.config, deps.detailTypes),
    richAuthorizationRequests: createRichRequests(deps),
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: deps.renderLogout,
      postLogoutSuccessSource: deps.renderLoggedOut,
    },
  }
}
