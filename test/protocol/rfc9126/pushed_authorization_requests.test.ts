/** RFC 9126: pushed authorization requests of ordinary clients. PROTOCOL.md E 34; attacks A60 (parallel), A68, A78. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import {
  answerOf,
  basic,
  clientRequests,
  type Fields,
  postForm,
  type TokenAnswer,
} from '../../support/token_requests.ts'

const [, , own] = SETTINGS.clients
const PUSHING = {
  ...own,
  client_id: 'pushing',
  redirect_uris: [redirectUri('pushing')],
  require_pushed_authorization_requests: true,
}

let server: Server
let ann: Person
let requests: ReturnType<typeof clientRequests>

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, PUSHING] } })
  requests = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

type Headers = { [name: string]: string }
const headersOf = (clientId: string): Headers => (clientId === 'spa' ? {} : basic(clientId))
function push(clientId: string, changes: Fields = {}, headers: Headers = headersOf(clientId)) {
  const { url, verifier } = authorizationRequest(server.issuer, clientId)
  const fields = { ...Object.fromEntries(new URL(url).searchParams), ...changes }
  return postForm(`${server.issuer}/request`, fields, headers).then((answer) => ({ ...answer, verifier }))
}
const uriOf = ({ status, body }: TokenAnswer) => {
  if (status !== 201) throw new Error(`not pushed: ${status} ${JSON.stringify(body)}`)
  return String(body.request_uri)
}
const opened = (clientId: string, uri: string, more: Headers = {}) =>
  `${server.issuer}/auth?${new URLSearchParams({ client_id: clientId, request_uri: uri, ...more })}`

describe('a client may push', () => {
  it.each(['own', 'spa', 'pushing'])('%s', async (clientId) => {
    const answer = await push(clientId)
    expect(answer.body).toEqual({
      expires_in: 60,
      request_uri: expect.stringMatching(/^urn:ietf:params:oauth:request_uri:\S{20,}$/),
    })
    expect(answer.headers.get('cache-control')).toContain('no-store')
    const end = await ann.browser.get(opened(clientId, uriOf(answer)))
    expect(end.params.get('iss')).toBe(server.issuer)
    const code = {
      clientId,
      code: end.params.get('code') ?? '',
      verifier: answer.verifier,
      redirectUri: redirectUri(clientId),
    }
    const redeemed =
      clientId === 'pushing' ? requests.redeem(code, {}, clientId, basic('pushing')) : requests.redeem(code)
    expect((await redeemed).status).toBe(200)
  })

  it('and one that must, must', async () => {
    const end = await ann.browser.get(authorizationRequest(server.issuer, 'pushing').url)
    expect([end.params.get('error'), end.params.get('code')]).toEqual(['invalid_request', null])
  })

  it('what is pushed counts, not what stands beside (§4)', async () => {
    const uri = uriOf(await push('own', { state: 'pushed' }))
    const end = await ann.browser.get(opened('own', uri, { state: 'beside', redirect_uri: 'https://evil.example/' }))
    expect([end.url.startsWith(redirectUri('own')), end.params.get('state')]).toEqual([true, 'pushed'])
  })
})

describe('is refused (§2.3)', () => {
  it.each([
    ['a wrong secret', {}, () => basic('own', 'x'.repeat(40)), 401, 'invalid_client'],
    ['no authentication', {}, () => ({}), 401, 'invalid_client'],
    ['the id of another client', { client_id: 'web' }, () => basic('own'), 400, 'invalid_request'],
    [
      'an unregistered redirect_uri',
      { redirect_uri: 'https://evil.example/' },
      () => basic('own'),
      400,
      'invalid_request',
    ],
    ['a request_uri inside (§2.1)', { request_uri: 'urn:x:y' }, () => basic('own'), 400, 'request_uri_not_supported'],
    [
      'no PKCE',
      { code_challenge: undefined, code_challenge_method: undefined },
      () => basic('own'),
      400,
      'invalid_request',
    ],
    ['a prompt that is none', { prompt: 'none login' }, () => basic('own'), 400, 'invalid_request'],
    ['claims that are no JSON', { claims: '{' }, () => basic('own'), 400, 'invalid_request'],
    ['a max_age of words', { max_age: 'long' }, () => basic('own'), 400, 'invalid_request'],
  ] as const)('%s', async (_name, changes: Fields, headers, status, error) => {
    const refused = await push('own', changes, headers())
    expect([refused.status, refused.body.error]).toEqual([status, error])
    expect((await push('own')).status).toBe(201)
  })

  it('another method, and another kind of body', async () => {
    for (const [method, headers] of [
      ['GET', {}],
      ['PUT', {}],
      ['POST', { 'content-type': 'application/json' }],
      ['POST', { 'content-type': 'text/plain' }],
    ] as const) {
      const body = method === 'GET' ? null : '{}'
      const answer = await answerOf(
        await fetch(`${server.issuer}/request`, { method, headers: { ...basic('own'), ...headers }, body }),
      )
      expect([method, answer.status >= 400 && answer.status < 500]).toEqual([method, true])
    }
  })

  it.each([
    ['client_id twice', '&client_id=own'],
    ['scope twice', '&scope=openid'],
    ['redirect_uri twice', '&redirect_uri=https://evil.example/'],
    ['code_challenge twice', '&code_challenge=x'],
  ])('A78 %s', async (_name, more) => {
    const { search } = new URL(authorizationRequest(server.issuer, 'own').url)
    const send = async (body: string, query = '') => {
      const headers = { ...basic('own'), 'content-type': 'application/x-www-form-urlencoded' }
      return answerOf(await fetch(`${server.issuer}/request${query}`, { method: 'POST', headers, body }))
    }
    const twice = await send(search.slice(1) + more)
    expect([twice.status, twice.body.error]).toEqual([400, 'invalid_request'])
    expect((await send(search.slice(1))).status).toBe(201)
    // What stands in the query of a POST is none of the request.
    const beside = await send('', search)
    expect([400, 401]).toContain(beside.status)
  })
})

describe('a request_uri', () => {
  it('is that of its client (§7.3)', async () => {
    const uri = uriOf(await push('own'))
    const stranger = await ann.browser.get(opened('spa', uri))
    expect([stranger.params.get('code'), stranger.url.startsWith('https://spa')]).toEqual([null, false])
    expect((await ann.browser.get(opened('own', uri))).params.has('code')).toBe(true)
  })

  it('needs the client_id beside it (§4)', async () => {
    const uri = uriOf(await push('own'))
    const end = await ann.browser.get(`${server.issuer}/auth?${new URLSearchParams({ request_uri: uri })}`)
    expect([end.status, end.params.get('code')]).toEqual([400, null])
  })

  it('leads to one code, however many ask at once (A60)', async () => {
    const uri = uriOf(await push('own'))
    const ends = await Promise.all(Array.from({ length: 10 }, () => ann.browser.send(opened('own', uri))))
    const codes = ends.map(({ headers }) => new URL(headers.location ?? 'x:', server.issuer).searchParams.get('code'))
    expect(codes.filter((code) => code !== null)).toHaveLength(1)
    expect(ends.every(({ status }) => status < 500)).toBe(true)
  })

  it('is good for a sign-in that takes its time, and for one', async () => {
    const someone = clientBrowser()
    const uri = uriOf(await push('own', { prompt: 'login' }))
    const first = await someone.get(opened('own', uri))
    const second = await someone.get(opened('own', uri))
    expect([first.status, second.status]).toEqual([200, 200])
  })

  it('is guessed by nobody: 100 mutations are refused (A68)', async () => {
    const uri = uriOf(await push('own'))
    const believed: string[] = []
    for (const mutation of mutations(uri, 100)) {
      const { status, headers } = await ann.browser.send(opened('own', mutation))
      if (status >= 500 || /code=|\/interaction\//.test(headers.location ?? '')) believed.push(mutation)
    }
    expect(believed).toEqual([])
    expect((await ann.browser.get(opened('own', uri))).params.has('code')).toBe(true)
  })

  it('of somebody else’s server is not fetched, nor said to be supported', async () => {
    const end = await ann.browser.get(
      opened('own', 'https://evil.example/request.jwt', { redirect_uri: redirectUri('own') }),
    )
    expect(end.params.get('code')).toBeNull()
    expect(`${end.params.get('error')} ${end.text}`).toContain('request_uri_not_supported')
  })
})

it('a secret in the body is one too', async () => {
  const refused = await push('own', { client_secret: 'x'.repeat(40) }, {})
  expect(refused.status).toBe(401)
  expect((await push('own', { client_secret: SECRET }, {})).status).toBe(201)
})
