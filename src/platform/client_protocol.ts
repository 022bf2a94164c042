/**
 * What a client says of the protocol it speaks: its profile, and the members of its metadata by which requests, responses
 * and tokens are signed, encrypted, pushed or bound to a key. Shared by the room that keeps clients and the engine's side.
 */
import { isIP } from 'node:net'
import { z } from 'zod'
import { checkedUri, webUriProblem } from './uri_rules.ts'

/**
 * - `oauth21`: code with PKCE, exact redirects, rotation (OAuth 2.1)
 * - `fapi2`: FAPI 2.0 Security Profile
 * - `fapi2-message-signing`: that, and FAPI 2.0 Message Signing: signed requests (JAR) and responses (JARM)
 * - `legacy`: also tokens in the front channel (OpenID Connect Core 1.0 §3.2 and §3.3), where the server allows it
 */
export const PROFILES = ['oauth21', 'fapi2', 'fapi2-message-signing', 'legacy'] as const
export type Profile = (typeof PROFILES)[number]

/** Whether the FAPI 2.0 Security Profile holds for a client of this profile. */
export const isFapi = (profile: unknown): boolean => profile === 'fapi2' || profile === 'fapi2-message-signing'

/** FAPI 2.0 Security Profile §5.4.1: no RSASSA-PKCS1-v1_5. */
export const FAPI_ALGS: readonly string[] = ['PS256', 'ES256', 'EdDSA']

/** Signature algorithms of ID tokens and other answers; keys of all three are published. */
export const SIGNING_ALGS = ['ES256', 'RS256', 'EdDSA'] as const
/** Signature algorithms of what clients send: assertions and request objects. */
export const REQUEST_ALGS = ['ES256', 'RS256', 'PS256', 'EdDSA'] as const
/** Key management and content encryption of answers (RFC 7518 §4.1, §5.1): with the client's public key, never its secret. */
export const ENCRYPTION_ALGS = ['RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A256KW'] as const
export const ENCRYPTION_ENCS = ['A256GCM', 'A128GCM', 'A128CBC-HS256', 'A256CBC-HS512'] as const

/** In the engine's order of words. The first is all that there is without the server's `legacy` switch. */
export const RESPONSE_TYPES = [
  'code',
  'id_token',
  'id_token token',
  'code id_token',
  'code token',
  'code id_token token',
] as const

/** JARM: JWT Secured Authorization Response Mode. */
const SIGNED_MODES = ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'] as const
const RESPONSE_MODES = ['query', 'fragment', 'form_post', ...SIGNED_MODES] as const

const KEY_AUTH_METHODS: readonly string[] = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth']
export const MTLS_AUTH_METHODS: readonly string[] = ['tls_client_auth', 'self_signed_tls_client_auth']

/** By one of these a `tls_client_auth` client names its certificate (RFC 8705 §2.1.2). */
export const CERTIFICATE_SUBJECTS = [
  'tls_client_auth_subject_dn',
  'tls_client_auth_san_dns',
  'tls_client_auth_san_uri',
  'tls_client_auth_san_ip',
  'tls_client_auth_san_email',
] as const

/** Answers that can be encrypted, as the beginning of the two members that say how. */
const ENCRYPTED = ['id_token', 'userinfo', 'introspection', 'authorization'] as const

const subject = z.string().min(1).max(500).optional()
const address = z
  .string()
  .refine((value) => isIP(value) !== 0, 'must be an IP address')
  .optional()
const signing = z.enum(SIGNING_ALGS).optional()
const encryption = z.enum(ENCRYPTION_ALGS).optional()
const content = z.enum(ENCRYPTION_ENCS).optional()

/** Members by their registered names (OpenID Connect Dynamic Registration 1.0 §2, RFC 7591, 8705, 9101, 9126, 9449, JARM). */
export const protocolMembers = {
  profile: z.enum(PROFILES),
  response_types: z
    .array(z.enum(RESPONSE_TYPES))
    .max(RESPONSE_TYPES.length)
    .refine((list) => new Set(list).size === list.length, 'has an entry twice'),
  response_modes: z.array(z.enum(RESPONSE_MODES)).min(1).max(RESPONSE_MODES.length).optional(),
  require_pushed_authorization_requests: z.boolean().optional(),
  require_signed_request_object: z.boolean().optional(),
  request_object_signing_alg: z.enum(REQUEST_ALGS).optional(),
  authorization_signed_response_alg: signing,
  dpop_bound_access_tokens: z.boolean().optional(),
  /** Ours: a DPoP proof without a nonce of this server is refused (RFC 9449 §8). Nonces are offered to everybody. */
  require_dpop_nonce: z.boolean().optional(),
  tls_client_certificate_bound_access_tokens: z.boolean().optional(),
  ...{ tls_client_auth_subject_dn: subject, tls_client_auth_san_dns: subject, tls_client_auth_san_uri: subject },
  ...{ tls_client_auth_san_ip: address, tls_client_auth_san_email: subject },
  subject_type: z.enum(['public', 'pairwise']).optional(),
  sector_identifier_uri: checkedUri(webUriProblem).optional(),
  id_token_signed_response_alg: z.enum(SIGNING_ALGS),
  ...{ id_token_encrypted_response_alg: encryption, id_token_encrypted_response_enc: content },
  userinfo_signed_response_alg: signing,
  ...{ userinfo_encrypted_response_alg: encryption, userinfo_encrypted_response_enc: content },
  introspection_signed_response_alg: signing,
  ...{ introspection_encrypted_response_alg: encryption, introspection_encrypted_response_enc: content },
  ...{ authorization_encrypted_response_alg: encryption, authorization_encrypted_response_enc: content },
}

type Members = z.output<z.ZodObject<typeof protocolMembers>>

/** What the rules look at beside their own members. */
export interface Spoken extends Readonly<Partial<Omit<Members, 'profile' | 'response_types'>>> {
  readonly profile: Profile
  readonly response_types: readonly string[]
  readonly token_endpoint_auth_method: string
  readonly token_endpoint_auth_signing_alg?: string | undefined
  readonly grant_types: readonly string[]
  readonly redirect_uris: readonly string[]
  readonly require_pkce: boolean
  readonly jwks?: { readonly keys: readonly { readonly x5c?: unknown }[] } | undefined
  readonly jwks_uri?: string | undefined
}

type ProtocolProblem = readonly [
  field: keyof Members | 'token_endpoint_auth_method' | 'grant_types' | 'require_pkce' | 'jwks',
  message: string,
]
type Rule = (m: Spoken) => ProtocolProblem | undefined

/** What a profile sets where the metadata say nothing. */
export function profileDefaults(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { profile = 'oauth21' } = given
  if (!isFapi(profile)) return { profile }
  return {
    profile,
    token_endpoint_auth_method: 'private_key_jwt',
    require_pushed_authorization_requests: true,
    ...(given.tls_client_certificate_bound_access_tokens === true ? {} : { dpop_bound_access_tokens: true }),
    ...(profile === 'fapi2-message-signing'
      ? { require_signed_request_object: true, response_modes: [...SIGNED_MODES] }
      : {}),
  }
}

/** Client-Initiated Backchannel Authentication; what is said of it is in `ciba.ts`. */
export const CIBA = 'urn:openid:params:grant-type:ciba'
export const usesCiba = ({ grant_types: grants }: Pick<Spoken, 'grant_types'>): boolean => grants.includes(CIBA)

const inFront = (m: Spoken) => m.response_types.some((type) => type !== 'code')
const isBound = (m: Spoken) =>
  m.dpop_bound_access_tokens === true || m.tls_client_certificate_bound_access_tokens === true
const fapi =
  (rule: Rule): Rule =>
  (m) =>
    isFapi(m.profile) ? rule(m) : undefined
const signed =
  (rule: Rule): Rule =>
  (m) =>
    m.profile === 'fapi2-message-signing' ? rule(m) : undefined

const SIGNED_BY = [
  'id_token_signed_response_alg',
  'userinfo_signed_response_alg',
  'introspection_signed_response_alg',
  'authorization_signed_response_alg',
  'request_object_signing_alg',
  'token_endpoint_auth_signing_alg',
] as const

/** FAPI 2.0 Security Profile §5.3.2, §5.4.1; Message Signing §5.3, §5.4. */
const PROFILE_RULES: readonly Rule[] = [
  (m) =>
    m.profile !== 'legacy' && inFront(m)
      ? ['response_types', 'other than code need profile: legacy: tokens in the front channel leak']
      : undefined,
  fapi((m) =>
    KEY_AUTH_METHODS.includes(m.token_endpoint_auth_method)
      ? undefined
      : ['token_endpoint_auth_method', `must be one of ${KEY_AUTH_METHODS.join(', ')} with profile ${m.profile}`],
  ),
  fapi((m) =>
    m.require_pushed_authorization_requests === true
      ? undefined
      : ['require_pushed_authorization_requests', `must be true with profile ${m.profile}`],
  ),
  fapi((m) =>
    isBound(m)
      ? undefined
      : [
          'dpop_bound_access_tokens',
          `or tls_client_certificate_bound_access_tokens must be true with profile ${m.profile}`,
        ],
  ),
  fapi((m) => (m.require_pkce ? undefined : ['require_pkce', `must be true with profile ${m.profile}`])),
  fapi((m) =>
    SIGNED_BY.some((member) => m[member] === 'RS256')
      ? ['profile', `${m.profile} does not allow RS256, neither for answers nor for what the client signs`]
      : undefined,
  ),
  signed((m) =>
    m.require_signed_request_object === true
      ? undefined
      : ['require_signed_request_object', `must be true with profile ${m.profile}`],
  ),
  signed((m) =>
    m.response_modes?.every((mode) => (SIGNED_MODES as readonly string[]).includes(mode))
      ? undefined
      : ['response_modes', `must be of ${SIGNED_MODES.join(', ')} with profile ${m.profile}`],
  ),
]

const KEY_RULES: readonly Rule[] = [
  (m) => {
    const why = needsKeys(m)
    return why === undefined || m.jwks !== undefined || m.jwks_uri !== undefined
      ? undefined
      : ['jwks', `or jwks_uri is needed for ${why}`]
  },
  (m) =>
    m.token_endpoint_auth_method === 'self_signed_tls_client_auth' && m.jwks?.keys.every(({ x5c }) => x5c === undefined)
      ? ['jwks', 'must have a key with x5c, the certificate, for self_signed_tls_client_auth']
      : undefined,
  (m) =>
    m.dpop_bound_access_tokens === true && m.tls_client_certificate_bound_access_tokens === true
      ? ['dpop_bound_access_tokens', 'cannot be true together with tls_client_certificate_bound_access_tokens']
      : undefined,
  (m) =>
    isBound(m) && m.response_types.some((type) => type.split(' ').includes('token'))
      ? ['response_types', 'must not give tokens in the front channel when tokens are bound to a key']
      : undefined,
  (m) => {
    const names = CERTIFICATE_SUBJECTS.filter((name) => m[name] !== undefined)
    if (m.token_endpoint_auth_method !== 'tls_client_auth') {
      const [name] = names
      return name === undefined ? undefined : [name, 'is for tls_client_auth only']
    }
    return names.length === 1
      ? undefined
      : ['tls_client_auth_subject_dn', `or exactly one other of ${CERTIFICATE_SUBJECTS.join(', ')} is needed`]
  },
  ...ENCRYPTED.map((answer): Rule => {
    const [alg, enc] = [`${answer}_encrypted_response_alg`, `${answer}_encrypted_response_enc`] as const
    return (m) => (m[enc] !== undefined && m[alg] === undefined ? [enc, `needs ${alg}`] : undefined)
  }),
]

/** OpenID Connect Core 1.0 §8.1: people of one sector have one subject. */
const SECTOR_RULES: readonly Rule[] = [
  (m) =>
    m.sector_identifier_uri !== undefined && m.subject_type !== 'pairwise'
      ? ['sector_identifier_uri', 'is for subject_type: pairwise']
      : undefined,
  (m) =>
    m.sector_identifier_uri?.startsWith('http:') === true ? ['sector_identifier_uri', 'must be https'] : undefined,
  (m) =>
    m.subject_type === 'pairwise' &&
    m.sector_identifier_uri === undefined &&
    new Set(m.redirect_uris.map((uri) => new URL(uri).host)).size > 1
      ? ['sector_identifier_uri', 'is needed for pairwise subjects with redirect_uris of several hosts']
      : undefined,
  (m) =>
    m.subject_type === 'pairwise' && m.redirect_uris.length === 0 && !usesCiba(m)
      ? ['subject_type', 'pairwise needs redirect_uris, whose host is the sector']
      : undefined,
]

/** Rules across members; each names the member to mend. */
export const PROTOCOL_RULES: readonly Rule[] = [...PROFILE_RULES, ...KEY_RULES, ...SECTOR_RULES]

/** For what the client needs keys of its own; undefined when it needs none. */
function needsKeys(m: Spoken): string | undefined {
  if (
    m.token_endpoint_auth_method === 'private_key_jwt' ||
    m.token_endpoint_auth_method === 'self_signed_tls_client_auth'
  ) {
    return m.token_endpoint_auth_method
  }
  if (m.require_signed_request_object || m.request_object_signing_alg !== undefined) return 'signed request objects'
  const encrypted = ENCRYPTED.find((answer) => m[`${answer}_encrypted_response_alg`] !== undefined)
  return encrypted === undefined ? undefined : `${encrypted}_encrypted_response_alg`
}

/** What the server must have been set up for. */
export interface Abilities {
  /** `legacy_profile` of the settings. */
  readonly legacy: boolean
  /** `mtls` of the settings. */
  readonly mtls: boolean
  /** `mtls.trusted_ca` of the settings. */
  readonly trustedCa: boolean
  /** The account pages, on which people answer what is asked through the back channel. */
  readonly approvals: boolean
}

/** What the metadata need that this server is not set up for: such a client cannot be served. */
export function lacking(
  metadata: Spoken,
  { legacy, mtls, trustedCa, approvals }: Abilities,
): ProtocolProblem | undefined {
  if (!approvals && usesCiba(metadata)) {
    return ['grant_types', 'backchannel authentication needs the account pages (modules.account_pages)']
  }
  if (!legacy && metadata.profile === 'legacy') return ['profile', 'legacy needs legacy_profile: true in the settings']
  if (mtls) {
    return metadata.token_endpoint_auth_method === 'tls_client_auth' && !trustedCa
      ? ['token_endpoint_auth_method', 'tls_client_auth needs mtls.trusted_ca in the settings']
      : undefined
  }
  if (MTLS_AUTH_METHODS.includes(metadata.token_endpoint_auth_method)) {
    return ['token_endpoint_auth_method', `${metadata.token_endpoint_auth_method} needs mtls in the settings`]
  }
  return metadata.tls_client_certificate_bound_access_tokens
    ? ['tls_client_certificate_bound_access_tokens', 'needs mtls in the settings']
    : undefined
}
