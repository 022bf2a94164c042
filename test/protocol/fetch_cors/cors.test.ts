/** CORS (Fetch standard §3.2) at the endpoints that browser clients call: their own origins only. Attack A101. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SETTINGS, SPA } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, tokensOf } from '../../support/token_requests.ts'

const second = {
  client_id: 'spa2',
  token_endpoint_auth_method: 'none',
  redirect_uris: ['https://spa2.test.example/callback'],
  cors_origins: ['https://spa2.test.example'],
  first_party: true,
}
const PATHS = ['/token', '/me', '/token/revocation', '/token/introspection']

/** Near the registered `https://spa.test.example`, and none is it. */
const EVIL = [
  ...[
    'null',
    'https://evil.example',
    'https://spa.test.example.evil.example',
    'https://evilspa.test.example',
    'https://sub.spa.test.example',
  ],
  ...[
    'http://spa.test.example',
    'https://spa.test.example:8443',
    'https://spa.test.example/',
    'https://SPA.test.example',
    'https://spaXtest.example',
  ],
  ...[
    'https://test.example',
    '*',
    'https://*',
    'file://',
    'https://web.test.example',
    'https://spa.test.example, https://evil.example',
  ],
  ...['https://spa.test.example@evil.example', 'undefined', 'https://spa.test.example:443'],
]

let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, second] } })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

const preflight = (path: string, origin: string) =>
  fetch(`${server.issuer}${path}`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
  })
const from = (origin: string) => ({ origin })

function expectReadable(headers: Headers, origin = SPA) {
  expect(headers.get('access-control-allow-origin')).toBe(origin)
  expect(headers.get('vary')).toMatch(/origin/i)
  expect(headers.get('access-control-allow-credentials')).toBeNull()
}

function expectUnreadable(headers: Headers) {
  expect(headers.get('access-control-allow-origin')).toBeNull()
  expect(headers.get('access-control-allow-credentials')).toBeNull()
}

describe('preflights', () => {
  it.each(PATHS)('%s: a registered origin may ask, without credentials', async (path) => {
    const { headers, status } = await preflight(path, SPA)
    expect(status).toBeLessThan(300)
    expectReadable(headers)
    expect(headers.get('access-control-allow-methods')).toContain('POST')
    expect(headers.get('access-control-allow-headers')?.toLowerCase()).toContain('authorization')
  })

  it.each(EVIL)('A101 %s may not', async (origin) => {
    for (const path of PATHS) expectUnreadable((await preflight(path, origin)).headers)
  })
})

describe('answers', () => {
  it('the client reads its tokens, and its errors, from its own origin', async () => {
    const code = await ann.code('spa')
    const redeemed = await client.redeem(code, {}, 'spa', from(SPA))
    expect(redeemed.status).toBe(200)
    expectReadable(redeemed.headers)
    const again = await client.redeem(code, {}, 'spa', from(SPA))
    expect(again.body.error).toBe('invalid_grant')
    expectReadable(again.headers)
    const unknown = await client.token('spa', { grant_type: 'urn:x' }, from(SPA))
    expect(unknown.status).toBe(400)
    expectReadable(unknown.headers)
    const userinfo = await client.userinfo('x', 'Bearer', from(SPA))
    expect(userinfo.status).toBe(401)
    expectReadable(userinfo.headers)
    expect(userinfo.headers.get('access-control-expose-headers')).toMatch(/WWW-Authenticate/i)
  })

  it.each(EVIL)('A101 %s reads neither tokens nor errors', async (origin) => {
    const { access, refresh } = await ann.tokens('spa')
    expectUnreadable((await client.userinfo(access, 'Bearer', from(origin))).headers)
    expectUnreadable((await client.userinfo('x', 'Bearer', from(origin))).headers)
    expectUnreadable((await client.refresh('spa', refresh, {}, from(origin))).headers)
    expectUnreadable((await client.refresh('spa', 'x', {}, from(origin))).headers)
  })

  it('A101 the origin of another client is not enough, whatever the request claims', async () => {
    const { access } = await ann.tokens('spa')
    expectUnreadable((await client.userinfo(access, 'Bearer', from('https://spa2.test.example'))).headers)
    const forged = `${access}.${Buffer.from('{"azp":"spa2","client_id":"spa2"}').toString('base64url')}.x`
    expectUnreadable((await client.userinfo(forged, 'Bearer', from('https://evil.example'))).headers)
    const other = await client.token(
      'spa',
      { grant_type: 'refresh_token', refresh_token: 'x' },
      from('https://spa2.test.example'),
    )
    expectUnreadable(other.headers)
    const own = tokensOf(await client.redeem(await ann.code('spa')))
    expectReadable((await client.userinfo(own.access, 'Bearer', from(SPA))).headers)
  })

  it('pages, the authorization endpoint and the account are readable by nobody', async () => {
    for (const path of ['/auth', '/session/end', '/account', '/interaction/x', '/account/callback', '/']) {
      for (const origin of [SPA, 'https://evil.example', 'null']) {
        expectUnreadable(
          (await fetch(`${server.issuer}${path}`, { headers: from(origin), redirect: 'manual' })).headers,
        )
        expectUnreadable((await preflight(path, origin)).headers)
      }
    }
  })

  it('without an Origin there is nothing about origins', async () => {
    expectUnreadable((await client.userinfo('x')).headers)
  })
})
