/** A house that takes the word of others: of a provider that people come from, and of a platform that runs machines. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { createBrowser } from './browser.ts'
import type { FakeUpstream } from './fake_upstream.ts'
import { es256With, jws } from './forged_jwts.ts'
import { API, SECRET, SETTINGS } from './journeys.ts'
import { authorizationRequest, redirectUri } from './people.ts'
import { type Server, type ServerOptions, startServer } from './server.ts'
import { freePort } from './services.ts'
import {
  type ClientRequests,
  clientRequests,
  type Fields,
  payloadOf,
  type TokenAnswer,
  tokensOf,
} from './token_requests.ts'
import { PROVIDER, startProvider, travelTo } from './upstreams.ts'

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const PLATFORM = 'https://platform.elsewhere.example'
export const LEDGER = 'https://ledger.test.example'
export const ID_JAG_TYP = 'oauth-id-jag+jwt'

export type Claims = { readonly [claim: string]: unknown }

export interface AssertionRoom {
  readonly server: Server
  readonly fake: FakeUpstream
  readonly client: ClientRequests
  /** Key of the platform, which is written into the settings. */
  readonly platform: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
  /** Signs in by the provider; makes the account the first time. Returns its subject here. */
  come(account: string): Promise<string>
  /** The provider's word about one of its people. */
  word(claims?: Claims, header?: Claims): Promise<string>
  /** The platform's word about one of its machines. */
  machine(claims?: Claims, header?: Claims): string
  present(assertion: string, fields?: Fields, by?: string, headers?: object): Promise<TokenAnswer>
  close(): Promise<void>
}

const client = (client_id: string, rows: readonly object[], more: object = {}) => ({
  ...{ client_id, client_secret: SECRET, scope: 'orders:read', grant_types: [JWT_BEARER], assertion_issuers: rows },
  ...more,
})

/** What the house is set up for: `issuer` speaks for people, the platform with `jwk` for machines. */
function settingsFor(issuer: string, connection: object, jwk: object) {
  const orders = { resource: API, scopes: ['orders:read'] }
  const levels = { 'level:two': 'urn:genkan:acr:mfa' }
  const machines = { ...orders, issuer: PLATFORM }
  return {
    ...SETTINGS,
    resources: [...SETTINGS.resources, { identifier: LEDGER, scopes: ['ledger:read'], access_token_format: 'opaque' }],
    upstreams: [{ name: PROVIDER, title: 'Acme', ...connection, trusted_domains: ['acme.example'], levels }],
    assertion_issuers: [
      { issuer, jwks_uri: `${issuer}/jwks`, algorithms: ['RS256'], profiles: ['jwt', 'id-jag'], upstream: PROVIDER },
      { issuer: PLATFORM, jwks: { keys: [jwk] }, algorithms: ['ES256'] },
    ],
    clients: [
      ...SETTINGS.clients,
      client('partner', [
        { issuer, resource: API, scopes: ['orders:read', 'orders:write'] },
        { issuer, resource: LEDGER, scopes: ['ledger:read'], max_seconds: 120 },
      ]),
      client('single', [{ ...orders, issuer }]),
      client('stranger', [{ ...machines, subjects: ['job:other'] }]),
      client('runner', [{ ...machines, subjects: ['job:build', 'job:deploy'] }], {
        ...{ grant_types: [JWT_BEARER, 'client_credentials'], organization_id: 'acme' },
      }),
    ],
  }
}

export async function startAssertionRoom(options: Pick<ServerOptions, 'stores'> = {}): Promise<AssertionRoom> {
  const port = await freePort()
  const { fake, connection } = await startProvider(`http://localhost:${port}`)
  const platform = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...platform.publicKey.export({ format: 'jwk' }), kid: 'p1', alg: 'ES256' }
  const server = await startServer({ port, settings: settingsFor(fake.issuer, connection, jwk), ...options })
  const requests = clientRequests(server.issuer)
  const now = () => Math.floor(Date.now() / 1000)
  const common = (iss: string): Claims => ({
    ...{ iss, aud: server.issuer, jti: randomUUID(), iat: now(), exp: now() + 60 },
  })
  return {
    ...{ server, fake, platform, client: requests },
    come: (account) => comeBy(fake, server, requests, account),
    async word(claims = {}, header = {}) {
      const { key } = await fake.seen()
      const privateKey = createPrivateKey({ key: key as never, format: 'jwk' })
      const head = { alg: 'RS256', kid: key.kid, typ: 'JWT', ...header }
      const said = { ...common(fake.issuer), sub: 'ann', ...claims }
      return jws(head, said, (data) => sign('sha256', data, privateKey))
    },
    machine: (claims = {}, header = {}) =>
      jws(
        { alg: 'ES256', kid: 'p1', ...header },
        { ...common(PLATFORM), sub: 'job:build', ...claims },
        es256With(platform.privateKey),
      ),
    present: (assertion, fields = {}, by = 'partner', headers = {}) =>
      requests.token(by, { grant_type: JWT_BEARER, assertion, resource: API, ...fields }, headers),
    close: async () => {
      await Promise.all([server.close(), fake.stop()])
    },
  }
}

/** To the first-party client and back to its tokens. */
async function comeBy(fake: FakeUpstream, { issuer }: Server, requests: ClientRequests, account: string) {
  const browser = createBrowser({ stopAt: ['https://', fake.issuer] })
  await fake.tell({ account, claims: { email: `${account}@acme.example`, email_verified: true, name: account } })
  const { url, verifier } = authorizationRequest(issuer, 'own')
  const page = await travelTo(fake, issuer).through(browser, await browser.get(url))
  const isNew = page.forms.some(({ action }) => action.endsWith('/upstream_account'))
  const end = isNew ? await browser.submit(page, {}, { form: '/upstream_account' }) : page
  const code = { clientId: 'own', code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri('own') }
  return String(payloadOf(tokensOf(await requests.redeem(code)).id).sub)
}
