/** What metadata may say of the custom grants: nothing unless it is said, and nothing that is not there. */
import { describe, expect, it } from '@jest/globals'
import { parseMetadata } from '../../../src/features/clients/rules.ts'
import { readAssertionIssuers } from '../../../src/platform/assertion_issuers.ts'
import { JWT_BEARER, TOKEN_EXCHANGE } from '../../../src/platform/grant_policies.ts'

const API = 'https://api.example.com'
const IDP = 'https://idp.example.com'
const PLATFORM = 'https://platform.example.com'
const jwks = { keys: [{ kty: 'EC', crv: 'P-256', x: 'a', y: 'b' }] }
const declared = readAssertionIssuers(
  [
    { issuer: IDP, jwks, upstream: 'idp' },
    { issuer: PLATFORM, jwks },
  ],
  'https://id.example.com',
)
const known = {
  scopes: new Set(['openid', 'orders:read', 'orders:write']),
  resources: new Set([API]),
  locales: new Set(['en']),
  acrs: new Set<string>(),
  ...{ legacy: false, mtls: false, trustedCa: false, approvals: true },
  scopesOf: new Map([[API, ['orders:read', 'orders:write']]]),
  assertionIssuers: 'issuers' in declared ? declared.issuers : new Map<string, never>(),
}
const service = { client_id: 'service', scope: 'orders:read', grant_types: ['client_credentials', TOKEN_EXCHANGE] }
const shop = { client_id: 'shop', redirect_uris: ['https://shop.example.com/'], scope: 'openid' }
const bearer = { client_id: 'partner', scope: 'orders:read', grant_types: [JWT_BEARER] }
const row = { resource: API, scopes: ['orders:read'] }
const fieldsOf = (given: object) => {
  const parsed = parseMetadata(given as Record<string, unknown>, known)
  return parsed.ok ? [] : parsed.problems.map((problem) => problem.split(': ')[0])
}

describe('tables of the custom grants', () => {
  it('have safe defaults', () => {
    expect(parseMetadata({ ...service, token_exchange: [row] }, known)).toMatchObject({
      ok: true,
      metadata: { token_exchange: [{ ...row, max_seconds: 300, own_key: false, public: false }] },
    })
    const vouched = {
      ...{ ...shop, grant_types: ['authorization_code', TOKEN_EXCHANGE] },
      identity_assertions: [{ audience: 'https://chat.example.com/' }],
    }
    expect(parseMetadata(vouched, known)).toMatchObject({
      metadata: { identity_assertions: [{ subject_token_types: ['id_token'], scopes: [], resources: [] }] },
    })
    expect(fieldsOf({ ...bearer, assertion_issuers: [{ ...row, issuer: IDP }] })).toEqual([])
    expect(fieldsOf({ ...bearer, assertion_issuers: [{ ...row, issuer: PLATFORM, subjects: ['job'] }] })).toEqual([])
    expect(fieldsOf({ ...shop, may_act: ['service'] })).toEqual([])
    const agent = { owner: 'Billing', purpose: 'pays', expires_at: '2030-01-01T00:00:00+02:00' }
    expect(fieldsOf({ ...service, token_exchange: [row], agent })).toEqual([])
    // On somebody's machine there are no secrets.
    expect(fieldsOf({ ...shop, token_endpoint_auth_method: 'none', agent })).toEqual([])
  })

  const agent = { owner: 'Billing', purpose: 'pays', expires_at: '2030-01-01T00:00:00Z' }
  it.each([
    ['grant_types', service],
    ['grant_types', { ...service, grant_types: ['client_credentials'], token_exchange: [row] }],
    ['grant_types', bearer],
    ['grant_types', { ...bearer, grant_types: ['client_credentials'], assertion_issuers: [{ ...row, issuer: IDP }] }],
    ['token_exchange', { ...service, token_exchange: [] }],
    ['token_exchange.0.resource', { ...service, token_exchange: [{ ...row, resource: 'https://x.example' }] }],
    ['token_exchange.0.scopes', { ...service, token_exchange: [{ ...row, scopes: ['openid'] }] }],
    ['token_exchange.0.scopes', { ...service, token_exchange: [{ ...row, scopes: [] }] }],
    ['token_exchange.0.scopes.0', { ...service, token_exchange: [{ ...row, scopes: ['a b'] }] }],
    ['token_exchange.0.max_seconds', { ...service, token_exchange: [{ ...row, max_seconds: 301 }] }],
    ['token_exchange.0.actors.0', { ...service, token_exchange: [{ ...row, actors: ['not an id'] }] }],
    ['token_exchange.0', { ...service, token_exchange: [{ ...row, actor: ['service'] }] }],
    ['token_exchange.1', { ...service, token_exchange: [row, row] }],
    [
      'token_exchange.0.public',
      {
        ...shop,
        token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code', TOKEN_EXCHANGE],
        token_exchange: [row],
      },
    ],
    [
      'identity_assertions',
      {
        ...{ ...shop, token_endpoint_auth_method: 'none', grant_types: ['authorization_code', TOKEN_EXCHANGE] },
        identity_assertions: [{ audience: IDP }],
      },
    ],
    ['identity_assertions', { ...service, identity_assertions: [{ audience: IDP }] }],
    [
      'identity_assertions',
      {
        ...{ ...shop, grant_types: ['authorization_code', TOKEN_EXCHANGE] },
        identity_assertions: [{ audience: IDP, subject_token_types: ['refresh_token'] }],
      },
    ],
    [
      'identity_assertions.0.audience',
      {
        ...shop,
        grant_types: ['authorization_code', TOKEN_EXCHANGE],
        identity_assertions: [{ audience: 'http://x.example' }],
      },
    ],
    ['assertion_issuers.0.issuer', { ...bearer, assertion_issuers: [{ ...row, issuer: 'https://x.example' }] }],
    ['assertion_issuers.0.resource', { ...bearer, assertion_issuers: [{ ...row, resource: 'x', issuer: IDP }] }],
    ['assertion_issuers.0.subjects', { ...bearer, assertion_issuers: [{ ...row, issuer: PLATFORM }] }],
    ['assertion_issuers.0.subjects', { ...bearer, assertion_issuers: [{ ...row, issuer: IDP, subjects: ['ann'] }] }],
    [
      'assertion_issuers',
      { ...bearer, token_endpoint_auth_method: 'none', assertion_issuers: [{ ...row, issuer: IDP }] },
    ],
    ['may_act', { ...service, token_exchange: [row], may_act: ['service'] }],
    ['may_act', { ...shop, may_act: ['a', 'a'] }],
    ['agent.owner', { ...shop, agent: { ...agent, owner: 'ann@example.com' } }],
    ['agent.purpose', { ...shop, agent: { ...agent, purpose: ' ' } }],
    ['agent.expires_at', { ...shop, agent: { ...agent, expires_at: 'next year' } }],
    ['agent.expires_at', { ...shop, agent: { owner: 'a', purpose: 'b' } }],
    ['agent.idle_days', { ...shop, agent: { ...agent, idle_days: 0 } }],
  ])('%s is what to mend in %j', (field, given) => {
    expect(fieldsOf(given)).toContain(field)
  })
})

describe('issuers in the settings', () => {
  const good = { issuer: IDP, jwks_uri: `${IDP}/jwks`, upstream: 'idp' }
  const problemsOf = (...given: object[]) => {
    const read = readAssertionIssuers(given, 'https://id.example.com')
    return 'problems' in read ? read.problems.map((problem) => problem.split(': ')[0]) : []
  }

  it('take asymmetric algorithms and plain assertions by default', () => {
    const read = readAssertionIssuers([good], 'https://id.example.com')
    expect('issuers' in read && read.issuers.get(IDP)).toMatchObject({
      ...{ algorithms: ['ES256', 'PS256', 'RS256', 'EdDSA'], profiles: ['jwt'] },
    })
  })

  it.each([
    ['assertion_issuers.0.issuer', { ...good, issuer: 'http://idp.example.com' }],
    ['assertion_issuers.0.issuer', { ...good, issuer: 'https://id.example.com' }],
    ['assertion_issuers.0.jwks_uri', { ...good, jwks_uri: 'file:///etc/passwd' }],
    ['assertion_issuers.0.jwks_uri', { ...good, jwks_uri: 'http://169.254.169.254/' }],
    ['assertion_issuers.0.jwks_uri', { ...good, jwks }],
    ['assertion_issuers.0.jwks_uri', { ...good, jwks_uri: undefined }],
    [
      'assertion_issuers.0.jwks.keys.0',
      { ...good, jwks_uri: undefined, jwks: { keys: [{ ...jwks.keys[0], d: 'x' }] } },
    ],
    ['assertion_issuers.0.algorithms.0', { ...good, algorithms: ['HS256'] }],
    ['assertion_issuers.0.algorithms.0', { ...good, algorithms: ['none'] }],
    ['assertion_issuers.0.algorithms', { ...good, algorithms: [] }],
    ['assertion_issuers.0.profiles.0', { ...good, profiles: ['saml'] }],
    ['assertion_issuers.0.upstream', { ...good, upstream: undefined, profiles: ['id-jag'] }],
    ['assertion_issuers.0', { ...good, jwksuri: 'x' }],
  ])('%s is what to mend in %j', (field, given) => {
    expect(problemsOf(given)).toContain(field)
    expect(problemsOf(good)).toEqual([])
  })

  it('stand there once', () => {
    expect(problemsOf(good, good)).toEqual(['assertion_issuers.1.issuer'])
  })
})
