/** What profiles and the members of the protocol demand of each other (FAPI 2.0 §5.3 and §5.4, RFC 8705, 9449, OIDC Core §8.1). */
import { describe, expect, it } from '@jest/globals'
import { parseMetadata } from '../../src/features/clients/rules.ts'
import { type Abilities, CIBA, lacking, PROFILES, type Spoken } from '../../src/platform/client_protocol.ts'

const ALL: Abilities = { legacy: true, mtls: true, trustedCa: true, approvals: true }
const NONE: Abilities = { legacy: false, mtls: false, trustedCa: false, approvals: false }
/** Asks people through the back channel. */
const BACKCHANNEL = { grant_types: [CIBA], redirect_uris: [], client_secret: 'k3Jx9-Zq7LmP2sVt8RwY4uBnC6dEfGhA' }
const known = (abilities: Abilities) => ({
  scopes: new Set(['openid', 'profile', 'email', 'offline_access']),
  ...{ resources: new Set<string>(), locales: new Set(['en']), acrs: new Set<string>() },
  ...abilities,
})
const jwks = { keys: [{ kty: 'EC', crv: 'P-256', x: 'a', y: 'b' }] }
const certified = { keys: jwks.keys.map((key) => ({ ...key, x5c: ['MIIB'] })) }
const web = { client_id: 'web', redirect_uris: ['https://web.example/callback'] }

function problems(given: object, abilities = ALL): readonly string[] {
  const parsed = parseMetadata({ ...web, ...given }, known(abilities))
  return parsed.ok ? [] : parsed.problems
}
function metadata(given: object): object {
  const parsed = parseMetadata({ ...web, ...given }, known(ALL))
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'))
  return parsed.metadata
}

const FAPI = { profile: 'fapi2', jwks }
const SIGNED = { profile: 'fapi2-message-signing', jwks }
const BY_CA = { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'web.example' }
const CERT_BOUND = { tls_client_certificate_bound_access_tokens: true }
const IMPLICIT = { response_types: ['id_token'], grant_types: ['implicit'] }
const PAIRWISE = { subject_type: 'pairwise' }
const TWO_HOSTS = { redirect_uris: ['https://a.example/', 'https://b.example/'] }

describe('the profile', () => {
  it('is oauth21 where nothing is said', () => {
    expect(metadata({})).toMatchObject({ profile: 'oauth21', response_types: ['code'], require_pkce: true })
  })

  it('fapi2 sets what it demands', () => {
    expect(metadata(FAPI)).toMatchObject({
      token_endpoint_auth_method: 'private_key_jwt',
      require_pushed_authorization_requests: true,
      dpop_bound_access_tokens: true,
      require_pkce: true,
    })
    expect(metadata({ ...FAPI, ...CERT_BOUND })).not.toHaveProperty('dpop_bound_access_tokens')
    expect(metadata(FAPI)).not.toHaveProperty('require_signed_request_object')
  })

  it('fapi2-message-signing sets signed requests and responses too', () => {
    expect(metadata(SIGNED)).toMatchObject({
      require_pushed_authorization_requests: true,
      require_signed_request_object: true,
      response_modes: ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'],
    })
  })

  it('that is unknown is none', () => {
    expect(problems({ profile: 'fapi1' })).toEqual([expect.stringMatching(/^profile: /)])
    expect(PROFILES).toHaveLength(4)
  })
})

/** What is refused, by which member, and what would have been taken in its place. */
const ROWS: readonly (readonly [string, refused: object, member: string, taken: object])[] = [
  ['implicit needs legacy', IMPLICIT, 'response_types', { ...IMPLICIT, profile: 'legacy' }],
  [
    'hybrid needs legacy',
    { response_types: ['code id_token'], grant_types: ['authorization_code', 'implicit'] },
    'response_types',
    { response_types: ['code id_token'], grant_types: ['authorization_code', 'implicit'], profile: 'legacy' },
  ],
  ['no hybrid with fapi2', { ...FAPI, ...IMPLICIT }, 'response_types', FAPI],
  ['implicit as a grant', { ...IMPLICIT, profile: 'legacy', grant_types: ['authorization_code'] }, 'grant_types', {}],
  [
    'fapi2 with a secret',
    { ...FAPI, token_endpoint_auth_method: 'client_secret_basic' },
    'token_endpoint_auth_method',
    { ...FAPI, ...BY_CA },
  ],
  ['fapi2 as a public client', { ...FAPI, token_endpoint_auth_method: 'none' }, 'token_endpoint_auth_method', FAPI],
  [
    'fapi2 without pushing',
    { ...FAPI, require_pushed_authorization_requests: false },
    'require_pushed_authorization_requests',
    { ...FAPI, require_pushed_authorization_requests: true },
  ],
  [
    'fapi2 with bearer tokens',
    { ...FAPI, dpop_bound_access_tokens: false },
    'dpop_bound_access_tokens',
    { ...FAPI, dpop_bound_access_tokens: false, ...CERT_BOUND },
  ],
  ['fapi2 without PKCE', { ...FAPI, require_pkce: false }, 'require_pkce', { ...FAPI, require_pkce: true }],
  ...(
    [
      'id_token_signed_response_alg',
      'request_object_signing_alg',
      'authorization_signed_response_alg',
      'token_endpoint_auth_signing_alg',
      'userinfo_signed_response_alg',
      'introspection_signed_response_alg',
    ] as const
  ).map(
    (name) =>
      [`fapi2 with RS256 (${name})`, { ...FAPI, [name]: 'RS256' }, 'profile', { ...FAPI, [name]: 'ES256' }] as const,
  ),
  [
    'message signing without signed requests',
    { ...SIGNED, require_signed_request_object: false },
    'require_signed_request_object',
    SIGNED,
  ],
  [
    'message signing with bare responses',
    { ...SIGNED, response_modes: ['jwt', 'query'] },
    'response_modes',
    { ...SIGNED, response_modes: ['jwt'] },
  ],
  ['fapi2 without keys', { profile: 'fapi2' }, 'jwks', { profile: 'fapi2', jwks_uri: 'https://web.example/jwks' }],
  ['self-signed without keys', { token_endpoint_auth_method: 'self_signed_tls_client_auth' }, 'jwks', { ...BY_CA }],
  [
    'self-signed without a certificate',
    { token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks },
    'jwks',
    { token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks: certified },
  ],
  [
    'a certificate that is none',
    { jwks: { keys: [{ ...jwks.keys[0], x5c: [7] }] } },
    'jwks.keys.0.x5c.0',
    { jwks: certified },
  ],
  [
    'signed requests without keys',
    { require_signed_request_object: true },
    'jwks',
    { require_signed_request_object: true, jwks },
  ],
  [
    'encryption without keys',
    { id_token_encrypted_response_alg: 'ECDH-ES' },
    'jwks',
    { id_token_encrypted_response_alg: 'ECDH-ES', jwks },
  ],
  ['both bindings', { dpop_bound_access_tokens: true, ...CERT_BOUND }, 'dpop_bound_access_tokens', CERT_BOUND],
  [
    'bound tokens in the front channel',
    {
      profile: 'legacy',
      response_types: ['id_token token'],
      grant_types: ['implicit'],
      dpop_bound_access_tokens: true,
    },
    'response_types',
    { profile: 'legacy', response_types: ['id_token token'], grant_types: ['implicit'] },
  ],
  [
    'a certificate without a name',
    { token_endpoint_auth_method: 'tls_client_auth' },
    'tls_client_auth_subject_dn',
    BY_CA,
  ],
  ['two names', { ...BY_CA, tls_client_auth_subject_dn: 'CN=a' }, 'tls_client_auth_subject_dn', BY_CA],
  ['a name for nothing', { tls_client_auth_san_dns: 'web.example' }, 'tls_client_auth_san_dns', BY_CA],
  [
    'an address that is none',
    { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_ip: '10.0.0' },
    'tls_client_auth_san_ip',
    { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_ip: '10.0.0.1' },
  ],
  ...(['id_token', 'userinfo', 'introspection', 'authorization'] as const).map((answer) => {
    const [alg, enc] = [`${answer}_encrypted_response_alg`, `${answer}_encrypted_response_enc`]
    const whole = { jwks, [alg]: 'RSA-OAEP-256', [enc]: 'A256GCM' }
    return [`${enc} alone`, { [enc]: 'A256GCM' }, enc, whole] as const
  }),
  ['no RSA1_5', { jwks, id_token_encrypted_response_alg: 'RSA1_5' }, 'id_token_encrypted_response_alg', {}],
  ['no encryption by a secret', { id_token_encrypted_response_alg: 'dir' }, 'id_token_encrypted_response_alg', {}],
  ['no unsigned ID tokens', { id_token_signed_response_alg: 'none' }, 'id_token_signed_response_alg', {}],
  ['no unsigned requests', { request_object_signing_alg: 'none' }, 'request_object_signing_alg', {}],
  ['no requests signed by a secret', { request_object_signing_alg: 'HS256' }, 'request_object_signing_alg', {}],
  [
    'a sector without pairwise subjects',
    { sector_identifier_uri: 'https://web.example/sector' },
    'sector_identifier_uri',
    { ...PAIRWISE, sector_identifier_uri: 'https://web.example/sector' },
  ],
  [
    'a sector by http',
    { ...PAIRWISE, sector_identifier_uri: 'http://localhost/sector' },
    'sector_identifier_uri',
    { ...PAIRWISE, sector_identifier_uri: 'https://localhost/sector' },
  ],
  [
    'redirects of two hosts without a sector',
    { ...PAIRWISE, ...TWO_HOSTS },
    'sector_identifier_uri',
    { ...PAIRWISE, ...TWO_HOSTS, sector_identifier_uri: 'https://a.example/sector' },
  ],
  [
    'a sector of a machine',
    { ...PAIRWISE, redirect_uris: [], grant_types: ['client_credentials'], scope: 'openid' },
    'subject_type',
    PAIRWISE,
  ],
]

describe('a rule', () => {
  it.each(ROWS)('%s', (_name, refused, member, taken) => {
    expect(problems(refused)).toContainEqual(expect.stringMatching(new RegExp(`^${member}:? `)))
    expect(problems(taken)).toEqual([])
  })
})

describe('what the server must be set up for', () => {
  it.each([
    ['profile', { profile: 'legacy' }, { legacy: true }],
    ['token_endpoint_auth_method', BY_CA, { mtls: true, trustedCa: true }],
    [
      'token_endpoint_auth_method',
      { token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks: certified },
      { mtls: true },
    ],
    ['tls_client_certificate_bound_access_tokens', CERT_BOUND, { mtls: true }],
    ['grant_types', BACKCHANNEL, { approvals: true }],
  ])('%s of %j', (member, given, needed) => {
    const enough = { ...NONE, ...needed }
    const without = { ...ALL, ...Object.fromEntries(Object.keys(needed).map((name) => [name, false])) }
    expect(problems(given, enough)).toEqual([])
    expect(problems(given, without)).toEqual([expect.stringMatching(new RegExp(`^${member}: .*needs `))])
    expect(lacking(metadata(given) as Spoken, without)?.[0]).toBe(member)
    expect(lacking(metadata(given) as Spoken, enough)).toBeUndefined()
  })
})
