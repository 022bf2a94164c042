/** RFC 6585 §4, draft-ietf-httpapi-ratelimit-headers, R25 (d): what one client may ask, on both stores. */
import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { es256With, jws } from '../../support/forged_jwts.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { type SelfSigned, selfSigned } from '../../support/self_signed.ts'
import { realStores, type Server, startPair, startServer } from '../../support/server.ts'
import { basic, clientRequests, postForm, type TokenAnswer } from '../../support/token_requests.ts'

const machine = { client_secret: SECRET, grant_types: ['client_credentials'], scope: 'orders:read', resources: [API] }
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const keyed = {
  ...machine,
  client_secret: undefined,
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k' }] },
}
const certificate = selfSigned('partner')
const RATE = { rate_limit: { requests: 3, seconds: 60 } }
const CLIENTS = [
  ...['every', 'guessed', 'library'].map((client_id) => ({ ...machine, ...RATE, client_id })),
  { ...machine, client_id: 'crowded', rate_limit: { requests: 7, seconds: 60 } },
  { ...machine, client_id: 'daily', quota: { tokens: 5, per: 'day' } },
  { ...machine, client_id: 'monthly', quota: { tokens: 2, per: 'month' }, cors_origins: ['https://m.test.example'] },
  { ...keyed, ...RATE, client_id: 'keyed' },
  {
    ...{ ...keyed, ...RATE, client_id: 'certified', token_endpoint_auth_method: 'self_signed_tls_client_auth' },
    jwks: { keys: [certificate.jwk] },
  },
  {
    ...{ ...keyed, ...RATE, client_id: 'issued', jwks: undefined, token_endpoint_auth_method: 'tls_client_auth' },
    tls_client_auth_subject_dn: 'CN=partner',
  },
]
const ASKS = { grant_type: 'client_credentials', resource: API }
const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

describe.each(['Redis', 'embedded'] as const)('with %s', (kind) => {
  let server: Server
  let as: ReturnType<typeof clientRequests>
  let ahead = 0

  beforeAll(async () => {
    const stores = kind === 'Redis' ? await realStores() : 'embedded'
    const mtls = { certificate_header: 'client-cert', trusted_ca: certificate.pem }
    const settings = { ...SETTINGS, mtls, trusted_proxies: ['127.0.0.1'], clients: [...SETTINGS.clients, ...CLIENTS] }
    server = await startServer({ stores, settings })
    as = clientRequests(server.issuer)
  })
  afterAll(() => server?.close())

  const later = async (seconds: number) => {
    ahead += seconds
    await server.shiftDate(ahead)
  }
  const statuses = (answers: readonly TokenAnswer[]) => answers.map(({ status }) => status).sort()
  const times = (count: number, ask: () => Promise<TokenAnswer>) => Promise.all(Array.from({ length: count }, ask))

  it('counts requests to every endpoint together, says when to come again, and lets through then', async () => {
    const { status, body } = await as.token('every', ASKS)
    expect(status).toBe(200)
    expect((await as.introspect('every', String(body.access_token))).body.active).toBe(true)
    const last = await as.revoke('every', 'unknown')
    expect(last.status).toBe(200)
    expect(last.headers.get('ratelimit-policy')).toBe('"requests";q=3;w=60')
    for (const path of ['/token', '/token/introspection', '/token/revocation', '/request']) {
      const refused = await postForm(`${server.issuer}${path}`, { ...ASKS, token: 'unknown' }, basic('every'))
      expect([path, refused.status, refused.body.error]).toEqual([path, 429, 'temporarily_unavailable'])
      const after = Number(refused.headers.get('retry-after'))
      expect(after).toBeGreaterThan(0)
      expect(after).toBeLessThanOrEqual(60)
      expect(refused.headers.get('ratelimit')).toMatch(new RegExp(`^"requests";r=0;t=${after}$`))
      expect(refused.headers.get('ratelimit-policy')).toBe('"requests";q=3;w=60')
      expect(refused.headers.get('cache-control')).toBe('no-store')
    }
    await later(61)
    expect((await as.token('every', ASKS)).status).toBe(200)
    // Whoever has no limits hears nothing of them.
    expect((await as.token('machine', ASKS)).headers.get('ratelimit-policy')).toBeNull()
  })

  it('of 50 requests at once exactly so many pass', async () => {
    const answers = await times(50, () => as.token('crowded', ASKS))
    expect(statuses(answers)).toEqual([...Array(7).fill(200), ...Array(43).fill(429)])
    const ofDay = await times(20, () => as.token('daily', ASKS))
    expect(statuses(ofDay)).toEqual([...Array(5).fill(200), ...Array(15).fill(429)])
  })

  it('whoever cannot prove to be the client uses nothing up', async () => {
    const wrong = () => postForm(`${server.issuer}/token`, ASKS, basic('guessed', 'wrong'))
    expect(new Set(statuses(await times(20, wrong)))).toEqual(new Set([401]))
    expect(statuses(await times(4, () => as.token('guessed', ASKS)))).toEqual([200, 200, 200, 429])
    // And of a client that is at its limit, a wrong secret is still a wrong secret.
    expect((await wrong()).status).toBe(401)
  })

  it('counts assertions too, and one that is used twice only once', async () => {
    const assertion = (jti: string) => {
      const now = Math.floor(Date.now() / 1000) + ahead
      const claims = { iss: 'keyed', sub: 'keyed', aud: server.issuer, jti, iat: now, exp: now + 60 }
      return jws({ alg: 'ES256', kid: 'k' }, claims, es256With(privateKey))
    }
    const ask = (client_assertion: string) =>
      postForm(`${server.issuer}/token`, { ...ASKS, client_assertion_type: TYPE, client_assertion })
    const first = assertion('0')
    const answers: number[] = []
    for (const shown of [first, first, first, assertion('1'), assertion('2'), assertion('3')]) {
      answers.push((await ask(shown)).status)
    }
    expect(answers).toEqual([200, 401, 401, 200, 200, 429])
  })

  it.each(['certified', 'issued'])(
    'counts certificates too, and no other than the right one: %s',
    async (client_id) => {
      const show = ({ header }: SelfSigned) =>
        postForm(`${server.issuer}/token`, { ...ASKS, client_id }, { 'client-cert': header })
      const other = selfSigned('partner')
      expect(new Set(statuses(await times(5, () => show(other))))).toEqual(new Set([401]))
      expect(statuses(await times(5, () => show(certificate)))).toEqual([200, 200, 200, 429, 429])
    },
  )

  it('tokens of a month are counted by the calendar, at the token endpoint only, and browsers may read it', async () => {
    const ask = () =>
      postForm(`${server.issuer}/token`, ASKS, { ...basic('monthly'), origin: 'https://m.test.example' })
    expect(statuses(await times(2, ask))).toEqual([200, 200])
    const refused = await ask()
    expect([refused.status, refused.body.error]).toEqual([429, 'temporarily_unavailable'])
    expect(refused.headers.get('access-control-allow-origin')).toBe('https://m.test.example')
    expect(refused.headers.get('access-control-expose-headers')).toMatch(/Retry-After, RateLimit, RateLimit-Policy/)
    expect(refused.headers.get('ratelimit-policy')).toBe('"tokens";q=2;w=2592000')
    expect((await as.introspect('monthly', 'unknown')).status).toBe(200)
    const now = new Date(Date.now() + ahead * 1000)
    const left = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1) - now.getTime()
    const after = Number(refused.headers.get('retry-after'))
    expect(Math.abs(after - left / 1000)).toBeLessThan(30)
    await later(after + 1)
    expect((await ask()).status).toBe(200)
  })

  it('a library reads it as an OAuth error with its status', async () => {
    const auth = oidc.ClientSecretBasic(SECRET)
    const options = { execute: [oidc.allowInsecureRequests] }
    const config = await oidc.discovery(new URL(server.issuer), 'library', undefined, auth, options)
    const ask = () => oidc.clientCredentialsGrant(config, { resource: API })
    for (let i = 0; i < 3; i++) expect((await ask()).access_token).toBeDefined()
    const error = await ask().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(oidc.ResponseBodyError)
    const { status, error: code, response } = error as oidc.ResponseBodyError
    expect([status, code]).toEqual([429, 'temporarily_unavailable'])
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
  })
})

it('two instances count together', async () => {
  const pair = await startPair({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, CLIENTS[3]] } })
  try {
    const { token } = clientRequests(pair.issuer)
    const answers = await Promise.all(Array.from({ length: 50 }, () => token('crowded', ASKS)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(7)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(43)
  } finally {
    await pair.close()
  }
})

describe("the server's own limits", () => {
  let server: Server
  beforeAll(async () => {
    const limits = { client_requests: 2, client_seconds: 30, client_tokens_per_day: 1000 }
    const clients = [...SETTINGS.clients, { ...machine, ...RATE, client_id: 'own-limits' }]
    server = await startServer({ settings: { ...SETTINGS, limits, clients } })
  })
  afterAll(() => server?.close())

  it('hold for clients that say nothing, and for no public one', async () => {
    const as = clientRequests(server.issuer)
    const ask = async (clientId: string) => (await as.token(clientId, ASKS)).status
    expect([await ask('machine'), await ask('machine'), await ask('machine')]).toEqual([200, 200, 429])
    expect((await as.token('machine', ASKS)).headers.get('ratelimit-policy')).toBe(
      '"requests";q=2;w=30, "tokens";q=1000;w=86400',
    )
    for (let i = 0; i < 3; i++) expect(await ask('own-limits')).toBe(200)
    expect(await ask('own-limits')).toBe(429)
    for (let i = 0; i < 5; i++) expect((await as.refresh('spa', 'unknown')).status).toBe(400)
  })
})
