/** The clients and resource servers of the measurements, the same for both sides. */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'

export type ClientDeclaration = { readonly client_id: string; readonly [member: string]: unknown }
export type ResourceDeclaration = {
  readonly identifier: string
  readonly scopes: readonly string[]
  readonly access_token_format: 'jwt' | 'opaque'
}

export interface Setup {
  readonly clients: readonly ClientDeclaration[]
  readonly resources: readonly ResourceDeclaration[]
}

export const REDIRECT_URI = 'http://127.0.0.1:9/callback'
/** Resource servers that take JWTs and opaque tokens. */
export const API = 'https://api.bench.example'
export const LEDGER = 'https://ledger.bench.example'
/** The load generator is a process of its own and is told. */
export const SECRET = process.env.BENCH_SECRET ?? randomBytes(32).toString('base64url')

/** Private half of the key of `bench-key`. */
export const assertionKey: KeyObject = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const { d: _, ...publicJwk } = assertionKey.export({ format: 'jwk' })

const browser = { redirect_uris: [REDIRECT_URI], response_types: ['code'], scope: 'openid profile email' }
const confidential = { token_endpoint_auth_method: 'client_secret_basic', client_secret: SECRET }
const machine = {
  redirect_uris: [],
  response_types: [],
  grant_types: ['client_credentials'],
  scope: 'orders:read ledger:read',
  resources: [API, LEDGER],
}

export const setup: Setup = {
  resources: [
    { identifier: API, scopes: ['orders:read'], access_token_format: 'jwt' },
    { identifier: LEDGER, scopes: ['ledger:read'], access_token_format: 'opaque' },
  ],
  clients: [
    { client_id: 'bench-first', ...browser, ...confidential, grant_types: ['authorization_code'], first_party: true },
    { client_id: 'bench-third', ...browser, ...confidential, grant_types: ['authorization_code'] },
    {
      client_id: 'bench-spa',
      ...browser,
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      first_party: true,
    },
    { client_id: 'bench-machine', ...machine, ...confidential },
    {
      client_id: 'bench-key',
      ...machine,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [{ ...publicJwk, alg: 'ES256', use: 'sig', kid: 'bench-key' }] },
    },
  ],
}
