import { describe, expect, it } from '@jest/globals'
import { parseDeclarations, parseMetadata } from '../../../src/features/clients/rules.ts'

const known = {
  scopes: new Set(['openid', 'profile', 'email', 'offline_access', 'orders:read']),
  resources: new Set(['https://api.example.com']),
  locales: new Set(['en', 'fi']),
  acrs: new Set(['urn:genkan:acr:basic', 'urn:genkan:acr:mfa', 'phr']),
  ...{ legacy: false, mtls: false, trustedCa: false, approvals: true },
}
const web = {
  client_id: 'web',
  redirect_uris: ['https://app.example.com/callback'],
}
const parse = (given: object) => parseMetadata({ ...web, ...given }, known)
const problems = (given: object) => {
  const parsed = parse(given)
  return parsed.ok ? [] : parsed.problems
}
const jwk = { kty: 'EC', crv: 'P-256', x: 'a', y: 'b' }

it('types of authorization details are those of the settings', () => {
  const details = { ...known, detailTypes: new Set(['pay']) }
  expect(parseMetadata({ ...web, authorization_details_types: ['pay'] }, details).ok).toBe(true)
  const [refused, none] = [['pay', 'rob'], ['pay']].map((names, i) =>
    parseMetadata({ ...web, authorization_details_types: names }, i === 0 ? details : known),
  )
  expect(refused).toEqual({ ok: false, problems: ['authorization_details_types: "rob" is not a configured type'] })
  expect(none).toEqual({ ok: false, problems: ['authorization_details_types: "pay" is not a configured type'] })
})

describe('defaults of client metadata', () => {
  it('demands PKCE, a secret and consent of a client that says nothing', () => {
    const parsed = parse({})
    expect(parsed).toMatchObject({
      ok: true,
      metadata: {
        application_type: 'web',
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        require_pkce: true,
        first_party: false,
        scope: 'openid profile email',
        backchannel_logout_session_required: false,
      },
    })
  })

  it('asks for the sid of a client that wants to hear of logouts', () => {
    const parsed = parse({ backchannel_logout_uri: 'https://app.example.com/logout' })
    expect(parsed.ok && parsed.metadata.backchannel_logout_session_required).toBe(true)
  })

  it('makes a machine client name its scopes: an empty scope would mean all of them to the engine', () => {
    const machine = { redirect_uris: [], grant_types: ['client_credentials'] }
    expect(problems(machine)).toEqual([expect.stringMatching(/^scope: /)])
    expect(problems({ ...machine, scope: ' ' })).toEqual([
      expect.stringMatching(/^scope: must name at least one scope/),
    ])
    expect(problems({ ...machine, scope: 'orders:read' })).toEqual([])
  })
})

describe('redirect URIs (RFC 9700 §4.1, RFC 8252 §7)', () => {
  const native = { application_type: 'native', token_endpoint_auth_method: 'none' }

  it.each([
    ['https://app.example.com/callback', {}],
    ['https://app.example.com', {}],
    ['https://app.example.com/callback?tenant=1', {}],
    ['http://localhost:4001/callback', {}],
    ['http://127.0.0.1/callback', {}],
    ['http://[::1]:9000/callback', {}],
    ['https://app.example.com/callback', native],
    ['http://127.0.0.1/callback', native],
    ['com.example.app:/callback', native],
    ['com.example.app://host/callback', native],
  ])('accepts %s', (uri, more) => {
    expect(problems({ ...more, redirect_uris: [uri] })).toEqual([])
  })

  it.each([
    ['http://app.example.com/callback', 'must be https', {}],
    ['http://localhost.evil.example/callback', 'must be https', {}],
    ['http://127.0.0.1.evil.example/', 'must be https', {}],
    ['https://app.example.com/callback#part', 'fragment', {}],
    ['https://app.example.com/#', 'fragment', {}],
    ['https://*.example.com/callback', 'wildcard', {}],
    ['https://app.example.com/*', 'wildcard', {}],
    ['javascript:alert(1)', 'must be https', {}],
    ['data:text/html,x', 'must be https', {}],
    ['com.example.app:/callback', 'must be https', {}],
    ['//app.example.com/callback', 'not an absolute URI', {}],
    ['/callback', 'not an absolute URI', {}],
    ['', 'not an absolute URI', {}],
    ['https://user:password@app.example.com/', 'user or password', {}],
    ['https://APP.example.com/callback', 'must be written as', {}],
    ['https://app.example.com:443/callback', 'must be written as', {}],
    ['https://app.example.com/a/../callback', 'must be written as', {}],
    ['https://app.example.com\\@evil.example/', 'must be written as', {}],
    [' https://app.example.com/callback', 'must be written as', {}],
    ['https://app.example.com/call back', 'must be written as', {}],
    ['https://app.example.com/%2e%2e%2fcallback', 'escaped dots', {}],
    [`https://app.example.com/${'a'.repeat(2048)}`, 'longer than', {}],
    ['javascript:alert(1)', 'reverse domain order', native],
    ['myapp://callback', 'reverse domain order', native],
    ['https://localhost/callback', 'http on a loopback host', native],
    ['http://app.example.com/callback', 'must be https', native],
  ])('refuses %s', (uri, problem, more) => {
    const found = problems({ ...more, redirect_uris: [uri] })
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(/^redirect_uris: /)
    expect(found[0]).toContain(problem)
  })

  it('checks post-logout redirects by the same rules', () => {
    expect(problems({ post_logout_redirect_uris: ['http://app.example.com/'] })[0]).toMatch(
      /^post_logout_redirect_uris: /,
    )
  })
})

describe('rules across members', () => {
  it.each([
    ['require_pkce', { require_pkce: false, token_endpoint_auth_method: 'none' }],
    ['redirect_uris', { redirect_uris: [] }],
    ['redirect_uris', { grant_types: ['client_credentials'], scope: 'orders:read' }],
    ['grant_types', { grant_types: ['authorization_code', 'client_credentials'], token_endpoint_auth_method: 'none' }],
    ['grant_types', { grant_types: ['refresh_token'], redirect_uris: [], scope: 'openid' }],
    ['grant_types', { grant_types: [] }],
    ['grant_types.0', { grant_types: ['password'], redirect_uris: [], scope: 'openid' }],
    ['response_types.0', { response_types: ['token'] }],
    ['response_types', { response_types: [] }],
    ['jwks', { token_endpoint_auth_method: 'private_key_jwt' }],
    ['jwks_uri', { jwks: { keys: [jwk] }, jwks_uri: 'https://app.example.com/jwks' }],
    ['jwks_uri', { jwks_uri: 'http://app.example.com/jwks' }],
    ['jwks.keys.0', { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ ...jwk, d: 'secret' }] } }],
    ['jwks.keys.0', { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ kty: 'EC' }] } }],
    ['jwks.keys.0.kty', { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ kty: 'oct', k: 'x' }] } }],
    ['token_endpoint_auth_signing_alg', { token_endpoint_auth_signing_alg: 'ES256' }],
    ['scope', { scope: 'openid offline_access', grant_types: ['authorization_code'] }],
    ['scope', { scope: 'openid admin' }],
    ['scope', { scope: 'openid "quoted"' }],
    ['resources', { resources: ['https://other.example.com'] }],
    ['cors_origins.0', { cors_origins: ['https://app.example.com/'] }],
    ['cors_origins.0', { cors_origins: ['null'] }],
    ['cors_origins.0', { cors_origins: ['*'] }],
    ['cors_origins.0', { cors_origins: ['http://app.example.com'] }],
    ['cors_origins.0', { cors_origins: ['https://*.example.com'] }],
    ['jwt_access_token_seconds', { jwt_access_token_seconds: 301 }],
    ['refresh_grace_seconds', { refresh_grace_seconds: 61 }],
    ['access_token_seconds', { access_token_seconds: '3600' }],
    ['refresh_idle_seconds', { refresh_idle_seconds: 7200, refresh_absolute_seconds: 3600 }],
    ['backchannel_logout_session_required', { backchannel_logout_session_required: true }],
    ['backchannel_logout_uri', { backchannel_logout_uri: 'http://app.example.com/logout' }],
    ['initiate_login_uri', { initiate_login_uri: 'javascript:alert(1)' }],
    ['logo_uri', { logo_uri: 'data:image/png;base64,AAAA' }],
    ['client_id', { client_id: 'a b' }],
    ['client_id', { client_id: 'a\u0000' }],
    ['client_id', { client_id: '../x' }],
    ['client_name', { client_name: 'Bank\u202Egnp' }],
    ['client_name', { client_name: '' }],
    ['first_party', { first_party: 'yes' }],
    ['redirect_uris', { redirect_uris: ['https://a.example/', 'https://a.example/'] }],
    ['client_secret', { client_secret: 'short' }],
    ['client_secret', { token_endpoint_auth_method: 'none', client_secret: 's'.repeat(40) }],
    ['require_pkse', { require_pkse: false }],
  ])('names %s as the member to mend in %j', (field, given) => {
    const found = problems(given)
    expect(found.map((problem) => problem.split(': ')[0])).toContain(field)
  })

  it('lets a confidential client do without PKCE', () => {
    expect(problems({ require_pkce: false })).toEqual([])
  })

  it('reports several problems together', () => {
    expect(problems({ client_name: '', scope: 'x y'.repeat(0), first_party: 1 }).length).toBeGreaterThanOrEqual(3)
  })

  it('never repeats a secret in a problem', () => {
    expect(JSON.stringify(problems({ client_secret: 'hunter2hunter2' }))).not.toContain('hunter2')
  })

  it('does not take members from a prototype (A104)', () => {
    const given = JSON.parse('{"__proto__": {"first_party": true}}') as object
    const parsed = parse(given)
    expect(parsed.ok && parsed.metadata.first_party).not.toBe(true)
    expect(({} as { first_party?: boolean }).first_party).toBeUndefined()
  })
})

describe('declarations', () => {
  it('collects the problems of all of them, naming client and member', () => {
    const { wanted, problems: found } = parseDeclarations(
      [
        { client_id: 'one', redirect_uris: ['http://a.example/'], client_secret: 's'.repeat(32) },
        { client_id: 'two', redirect_uris: ['https://a.example/'] },
        { client_id: 'three', redirect_uris: ['https://a.example/'], token_endpoint_auth_method: 'none' },
        { client_id: 'three', redirect_uris: ['https://a.example/'], token_endpoint_auth_method: 'none' },
      ],
      known,
    )
    expect(found.map((problem) => problem.split(': ')[0])).toEqual([
      'clients.one.redirect_uris',
      'clients.two.client_secret',
      'clients.three',
    ])
    expect(wanted.map(({ metadata }) => metadata.client_id)).toContain('three')
  })
})

describe('what the registration page asks for, and its language', () => {
  it('takes claims, optional unless they are required, and a language that there is', () => {
    const fields = [{ claim: 'given_name', required: true }, { claim: 'birthdate' }]
    const parsed = parse({ registration_fields: fields, default_locale: 'fi' })
    expect(parsed).toMatchObject({ ok: true, metadata: { default_locale: 'fi' } })
    expect(parsed.ok && parsed.metadata.registration_fields).toEqual([
      { claim: 'given_name', required: true },
      { claim: 'birthdate', required: false },
    ])
    expect(parse({})).not.toHaveProperty('metadata.registration_fields')
  })

  it.each([
    ['a claim that people do not say of themselves (A26, A87)', { registration_fields: [{ claim: 'email_verified' }] }],
    ['a claim that there is not', { registration_fields: [{ claim: 'role' }] }],
    ['a claim twice', { registration_fields: [{ claim: 'name' }, { claim: 'name', required: true }] }],
    ['a misspelt member', { registration_fields: [{ claim: 'name', requird: true }] }],
    ['a list of names', { registration_fields: ['name'] }],
    ['a language without pages', { default_locale: 'sv' }],
    ['another spelling of a language', { default_locale: 'FI' }],
  ])('refuses %s', (_, given) => {
    expect(problems(given)).toEqual([expect.stringMatching(/^(registration_fields|default_locale)/)])
  })

  it('names the languages that there are', () => {
    expect(problems({ default_locale: 'sv' })).toEqual(['default_locale: "sv" is none of en, fi'])
  })
})

describe('backchannel authentication (CIBA Core 1.0 §4)', () => {
  const CIBA = 'urn:openid:params:grant-type:ciba'
  const till = { redirect_uris: [], grant_types: [CIBA] }
  const endpoint = 'https://app.example.com/ping'
  const bank = {
    ...{ ...till, profile: 'fapi2', jwks_uri: 'https://app.example.com/jwks' },
    backchannel_authentication_request_signing_alg: 'ES256',
  }

  it('is by polling, unless the client says otherwise', () => {
    const parsed = parse(till)
    expect(parsed.ok && parsed.metadata.backchannel_token_delivery_mode).toBe('poll')
    expect(parsed.ok && parsed.metadata.scope).toBe('openid profile email')
  })

  it.each<[string, object]>([
    ['polling', till],
    ['with refresh tokens', { ...till, grant_types: [CIBA, 'refresh_token'] }],
    [
      'pinged',
      { ...till, backchannel_token_delivery_mode: 'ping', backchannel_client_notification_endpoint: endpoint },
    ],
    ['FAPI', bank],
    ['pairwise', { ...bank, subject_type: 'pairwise' }],
  ])('takes a client: %s', (_name, given) => {
    expect(problems(given)).toEqual([])
  })

  it.each<[string, object, RegExp]>([
    ['public', { ...till, token_endpoint_auth_method: 'none' }, /^grant_types: .* confidential client/],
    ['pushed', { ...till, backchannel_token_delivery_mode: 'push' }, /^backchannel_token_delivery_mode: /],
    [
      'pinged nowhere',
      { ...till, backchannel_token_delivery_mode: 'ping' },
      /^backchannel_client_notification_endpoint: is needed/,
    ],
    [
      'pinged without asking for it',
      { ...till, backchannel_client_notification_endpoint: endpoint },
      /^backchannel_client_notification_endpoint: is for .*ping/,
    ],
    [
      'pinged in clear',
      {
        ...{ ...till, backchannel_token_delivery_mode: 'ping' },
        backchannel_client_notification_endpoint: 'http://localhost/ping',
      },
      /^backchannel_client_notification_endpoint: must be https/,
    ],
    ['of another grant', { backchannel_token_delivery_mode: 'poll' }, /^backchannel_token_delivery_mode: is for/],
    ['signing without keys', { ...till, backchannel_authentication_request_signing_alg: 'ES256' }, /^jwks: /],
    [
      'FAPI by RS256',
      { ...bank, backchannel_authentication_request_signing_alg: 'RS256' },
      /^backchannel_authentication_request_signing_alg: must be one of PS256/,
    ],
    [
      'FAPI unsigned',
      { ...bank, backchannel_authentication_request_signing_alg: undefined },
      /^backchannel_authentication_request_signing_alg: must be/,
    ],
    ['pairwise without jwks_uri', { ...till, subject_type: 'pairwise' }, /^jwks_uri: /],
    [
      'pairwise with a secret',
      { ...till, subject_type: 'pairwise', jwks_uri: 'https://app.example.com/jwks' },
      /^token_endpoint_auth_method: /,
    ],
    [
      'pairwise with redirects and no sector of its own',
      {
        ...{ ...bank, subject_type: 'pairwise', grant_types: ['authorization_code', CIBA] },
        ...{ redirect_uris: ['https://app.example.com/callback'] },
      },
      /^sector_identifier_uri: /,
    ],
  ])('refuses a client: %s', (_name, given, problem) => {
    expect(problems(given)).toContainEqual(expect.stringMatching(problem))
  })

  it('needs the account pages, where people answer', () => {
    const parsed = parseMetadata({ ...web, ...till }, { ...known, approvals: false })
    expect(parsed.ok ? [] : parsed.problems).toEqual([expect.stringMatching(/^grant_types: .*account pages/)])
  })
})
