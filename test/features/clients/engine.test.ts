import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { Provider } from 'oidc-provider'
import { loadConfig } from '../../../src/config/config.ts'
import { parseMetadata } from '../../../src/features/clients/rules.ts'
import { SCOPES } from '../../../src/oidc/claims.ts'
import { createConfiguration } from '../../../src/oidc/configuration.ts'
import { adaptModels } from '../../../src/oidc/models.ts'
import { readAssertionIssuers } from '../../../src/platform/assertion_issuers.ts'
import { CUSTOM_GRANTS } from '../../../src/platform/grant_policies.ts'
import { DEFAULT_LEVELS } from '../../support/levels.ts'

const RESOURCE = { identifier: 'https://api.example.com', scopes: ['orders:read'] }
const IDP = 'https://idp.example.com'
const trusted = readAssertionIssuers([{ issuer: IDP, jwks_uri: `${IDP}/jwks`, upstream: 'idp' }], '')
const key = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
const { d: _, ...jwk } = key()

/** What is accepted at write must be accepted by the engine at the first request, frozen as the cache hands it out. */
describe('metadata that was accepted is taken by the engine', () => {
  const base = loadConfig({
    GENKAN_ISSUER: 'https://id.example.com',
    DATABASE_URL: 'postgres://localhost/unused',
    GENKAN_SECRET_KEYS: Buffer.alloc(32, 1).toString('base64'),
  })
  const config = { ...base, resources: [{ ...RESOURCE, access_token_format: 'jwt' as const }] }
  const unused = async () => undefined
  const provider = new Provider(
    config.issuer,
    createConfiguration({
      config,
      levels: DEFAULT_LEVELS,
      now: () => new Date(),
      locales: ['en'],
      detailTypes: [],
      keys: [
        { kid: 'a', alg: 'ES256', privateJwk: key() },
        {
          kid: 'b',
          alg: 'RS256',
          privateJwk: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
        },
        { kid: 'c', alg: 'EdDSA', privateJwk: generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) },
      ],
      adapter: () => ({}),
      findAccount: unused,
      loadExistingGrant: unused,
      findClient: unused,
      renderError: unused,
      renderLogout: unused,
      renderLoggedOut: unused,
      fetch: unused,
    } as unknown as Parameters<typeof createConfiguration>[0]),
  )
  let stored: { [key: string]: unknown } = {}
  adaptModels(provider, {
    store: {},
    secretMatches: async () => false,
    findClient: async () => stored,
    successorOf: (token: string) => token,
    now: () => new Date(),
  } as unknown as Parameters<typeof adaptModels>[1])
  const known = {
    scopes: new Set<string>([...SCOPES, ...RESOURCE.scopes]),
    resources: new Set([RESOURCE.identifier]),
    locales: new Set(['en', 'fi']),
    acrs: new Set(['urn:genkan:acr:basic', 'urn:genkan:acr:mfa', 'phr']),
    ...{ legacy: false, mtls: false, trustedCa: false, approvals: true },
    scopesOf: new Map([[RESOURCE.identifier, RESOURCE.scopes]]),
    assertionIssuers: 'issuers' in trusted ? trusted.issuers : undefined,
  }
  for (const grant of CUSTOM_GRANTS) provider.registerGrantType(grant, async () => {})
  const web = { client_id: 'web', redirect_uris: ['https://app.example.com/callback'] }

  it.each([
    ['a web client', web],
    ['a loopback web client', { ...web, redirect_uris: ['http://localhost:4001/callback'] }],
    ['a browser client', { ...web, token_endpoint_auth_method: 'none', cors_origins: ['http://localhost:4002'] }],
    [
      'a native client',
      {
        ...web,
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['com.example.app:/callback', 'http://127.0.0.1/callback', 'https://app.example.com/callback'],
      },
    ],
    [
      'a client with everything',
      {
        ...web,
        client_name: 'Everything',
        client_uri: 'https://app.example.com',
        logo_uri: 'https://app.example.com/logo.png',
        policy_uri: 'https://app.example.com/policy',
        tos_uri: 'https://app.example.com/terms',
        contacts: ['ops@example.com'],
        post_logout_redirect_uris: ['https://app.example.com/'],
        grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
        id_token_signed_response_alg: 'RS256',
        scope: 'openid profile email address phone offline_access orders:read',
        resources: [RESOURCE.identifier],
        resource_server_for: [RESOURCE.identifier],
        first_party: true,
        require_pkce: false,
        require_auth_time: true,
        default_max_age: 3600,
        initiate_login_uri: 'https://app.example.com/login',
        backchannel_logout_uri: 'https://app.example.com/logout',
        access_token_format: 'jwt',
        access_token_seconds: 600,
        jwt_access_token_seconds: 60,
        refresh_idle_seconds: 3600,
        refresh_absolute_seconds: 7200,
        refresh_grace_seconds: 0,
      },
    ],
    ['a loopback client with an initiate_login_uri', { ...web, initiate_login_uri: 'http://localhost:4001/login' }],
    [
      'a machine client',
      { client_id: 'm', grant_types: ['client_credentials'], scope: 'orders:read', resources: [RESOURCE.identifier] },
    ],
    [
      'a machine client with keys',
      {
        client_id: 'm',
        grant_types: ['client_credentials'],
        scope: 'orders:read',
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [{ ...jwk, kid: 'k', use: 'sig', alg: 'ES256' }] },
      },
    ],
    [
      'a machine client with a key address',
      {
        client_id: 'm',
        grant_types: ['client_credentials'],
        scope: 'orders:read',
        token_endpoint_auth_method: 'private_key_jwt',
        jwks_uri: 'https://app.example.com/jwks',
      },
    ],
    [
      'a client of the custom grants',
      {
        ...web,
        grant_types: ['authorization_code', ...CUSTOM_GRANTS],
        token_exchange: [{ resource: RESOURCE.identifier, scopes: RESOURCE.scopes, actors: ['web'] }],
        identity_assertions: [{ audience: 'https://chat.example.com', scopes: ['chat.read'] }],
        assertion_issuers: [{ resource: RESOURCE.identifier, scopes: RESOURCE.scopes, issuer: IDP }],
        may_act: ['web', 'agent'],
        agent: { owner: 'Billing', purpose: 'pays invoices', expires_at: '2099-01-01T00:00:00Z' },
      },
    ],
  ])('%s', async (_name, given) => {
    const parsed = parseMetadata(given, known)
    if (!parsed.ok) throw new Error(parsed.problems.join())
    stored = freeze(parsed.metadata) as { [key: string]: unknown }
    const client = await provider.Client.find(String(stored.client_id))
    expect(client?.clientId).toBe(stored.client_id)
  })
})

function freeze<T>(value: T): T {
  if (value !== null && typeof value === 'object') for (const item of Object.values(value)) freeze(item)
  return Object.freeze(value)
}
