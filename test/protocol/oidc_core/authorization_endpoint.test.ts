/** OIDC Core §3.1.2: what the authorization endpoint refuses, and where its answer goes. PROTOCOL.md E 3, 5-7, 14 and 19, A76, A78. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SETTINGS, WEB } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import type { Fields } from '../../support/token_requests.ts'

let server: Server
let ann: Person
const stranger = clientBrowser()

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

/** A stranger's request; the answer as it comes, redirects not followed. */
const ask = (parameters: Fields, more = '') =>
  stranger.send(`${authorizationRequest(server.issuer, 'web', parameters).url}${more}`)

const answerOf = (location: string | undefined) => Object.fromEntries(new URL(location ?? 'about:blank').searchParams)

/** A page of ours: it names the error and leads nowhere that the request named. */
function expectPage(answer: Awaited<ReturnType<typeof ask>>, code: string) {
  expect(answer.status).toBe(400)
  expect(answer.headers.location).toBeUndefined()
  expect(answer.headers['content-type']).toContain('text/html')
  expect(answer.headers['cache-control']).toContain('no-store')
  expect(answer.body).toContain(code)
  expect(answer.body).toContain(String(answer.headers['x-request-id']))
  expect(answer.body).not.toMatch(/evil\.example|<script>|javascript:/)
}

function expectError(answer: Awaited<ReturnType<typeof ask>>, error: string) {
  expect(answer.status).toBe(303)
  expect(answer.headers.location).toMatch(`${WEB}/callback?`)
  expect(answerOf(answer.headers.location)).toMatchObject({ error, state: 'the-state', iss: server.issuer })
}

it('a complete request leads to our own page (the positive twin)', async () => {
  const answer = await ask({})
  expect(answer.status).toBe(303)
  expect(answer.headers.location).toMatch(/^(http:\/\/localhost:\d+)?\/interaction\/[\w-]+$/)
})

describe('errors that must not be redirected', () => {
  it('E3 oidcc-ensure-redirect-uri-in-authorization-request: redirect_uri missing', async () => {
    expectPage(await ask({ redirect_uri: undefined }), 'invalid_request')
  })

  it.each([
    ['unknown', 'no-such-client'],
    ['empty', ''],
    ['absent', undefined],
    ['markup', '"><script>alert(1)</script>'],
    ['long', 'a'.repeat(4000)],
    ['prototype', '__proto__'],
  ])('E6 client_id is %s', async (_name, clientId) => {
    expectPage(await ask({ client_id: clientId }), clientId ? 'invalid_client' : 'invalid_request')
  })

  it('E6 a client that may not use codes gets none', async () => {
    const answer = await ask({ client_id: 'machine' })
    expect(answer.status).toBe(400)
    expect(answer.headers.location).toBeUndefined()
  })
})

describe('errors that the client hears of', () => {
  const cases: readonly (readonly [string, Fields, string])[] = [
    ['E5 oidcc-response-type-missing', { response_type: undefined }, 'invalid_request'],
    ['E5 response_type is empty', { response_type: '' }, 'invalid_request'],
    ['response_type is unknown', { response_type: 'codex' }, 'unsupported_response_type'],
    ['response_mode is unknown', { response_mode: 'telepathy' }, 'unsupported_response_mode'],
    [
      'oidcc-request-uri-unsigned',
      { request_uri: 'https://web.test.example/request.jwt' },
      'request_uri_not_supported',
    ],
    ['oidcc-unsigned-request-object', { request: 'eyJhbGciOiJub25lIn0.e30.' }, 'invalid_request_object'],
    ['registration', { registration: '{}' }, 'registration_not_supported'],
    ['a scope that the client may not have', { scope: 'openid phone' }, 'invalid_scope'],
    ['a scope with characters that none has', { scope: 'openid "x"' }, 'invalid_scope'],
    ['max_age below zero', { max_age: '-1' }, 'invalid_request'],
    ['max_age that is no number', { max_age: 'soon' }, 'invalid_request'],
    ['prompt that is unknown', { prompt: 'dance' }, 'invalid_request'],
    ['a resource that is unknown', { resource: 'https://elsewhere.example' }, 'invalid_target'],
  ]
  it.each(cases)('%s', async (_name, parameters, error) => {
    expectError(await ask(parameters), error)
  })

  it.each(['code id_token', 'id_token', 'code token', 'id_token token', 'token', 'none'])(
    'E14 response_type=%s is not served, with a nonce or without',
    async (responseType) => {
      for (const nonce of ['the-nonce', undefined]) {
        const { status, headers } = await ask({ response_type: responseType, nonce })
        expect(status).toBe(303)
        const url = new URL(headers.location ?? '')
        expect(url.origin + url.pathname).toBe(`${WEB}/callback`)
        // What was to carry a token answers in the fragment (OAuth 2.0 Multiple Response Types §5).
        const parameters = new URLSearchParams(responseType === 'none' ? url.search : url.hash.slice(1))
        expect(Object.fromEntries(parameters)).toMatchObject({ error: 'unsupported_response_type', state: 'the-state' })
      }
    },
  )

  it('E19 response_mode=query with tokens in the response', async () => {
    const { headers, status } = await ask({ response_type: 'code id_token', response_mode: 'query' })
    expect(status).toBe(303)
    expect(answerOf(headers.location)).toMatchObject({ error: 'invalid_request', state: 'the-state' })
  })
})

describe('what changes nothing', () => {
  it('E7 oidcc-ensure-request-with-unknown-parameter-succeeds', async () => {
    const end = await ann.authorize('web', { extra: 'foobar', constructor: 'x' })
    expect(end.params.get('code')).toBeTruthy()
    expect(end.params.has('extra')).toBe(false)
  })

  it.each([
    ['oidcc-display-page', { display: 'page' }],
    ['oidcc-display-popup', { display: 'popup' }],
    ['oidcc-claims-locales', { claims_locales: 'se' }],
    ['E14 oidcc-ensure-request-without-nonce-succeeds-for-code-flow', { nonce: undefined }],
    ['a request without state', { state: undefined }],
  ])('%s', async (_name, parameters: Fields) => {
    const end = await ann.authorize('web', parameters)
    expect(end.params.get('code')).toBeTruthy()
    expect(end.params.get('state')).toBe('state' in parameters ? null : 'the-state')
  })
})

describe('A76 answers that run script or leave before validation', () => {
  it.each([
    ['a bad client and a javascript: address', { client_id: 'nobody', redirect_uri: 'javascript:alert(1)' }],
    ['a good client and a javascript: address', { redirect_uri: 'javascript:alert(1)' }],
    ['a data: address by form_post', { redirect_uri: 'data:text/html,x', response_mode: 'form_post' }],
    ['web_message to another origin', { response_mode: 'web_message', redirect_uri: 'https://evil.example' }],
    [
      'an error with a bad client and address',
      { response_type: 'x', client_id: 'nobody', redirect_uri: 'https://evil.example' },
    ],
    ['an error with a good client and a bad address', { response_type: 'x', redirect_uri: 'https://evil.example' }],
    ['prompt=none with a bad address', { prompt: 'none', redirect_uri: 'https://evil.example' }],
    ['a mode that is markup, with a bad address', { response_mode: '<script>', redirect_uri: 'https://evil.example' }],
  ])('%s', async (_name, parameters: Fields) => {
    const answer = await ask(parameters)
    expect(answer.status).toBe(400)
    expect(answer.headers.location).toBeUndefined()
    expect(answer.body).not.toMatch(/evil\.example|javascript:|data:text\/html/)
    // The one form is that of the page's own languages.
    expect(answer.body).not.toMatch(/<form(?! method="post" action="\/language")/)
  })

  it('web_message is not offered', async () => {
    expectError(await ask({ response_mode: 'web_message' }), 'unsupported_response_mode')
  })
})

describe('A78 repeated, array and broken parameters', () => {
  it.each(['client_id', 'redirect_uri'])('%s twice: a page, whichever of the two is good', async (name) => {
    expectPage(
      await ask({}, `&${name}=${encodeURIComponent(name === 'client_id' ? 'own' : redirectUri('own'))}`),
      'invalid_request',
    )
    expectPage(
      await ask({}, `&${name}=${encodeURIComponent(name === 'client_id' ? 'web' : redirectUri('web'))}`),
      'invalid_request',
    )
  })

  it.each([
    'scope',
    'response_type',
    'state',
    'nonce',
    'code_challenge',
    'code_challenge_method',
    'prompt',
    'max_age',
    'login_hint',
  ])('%s twice: invalid_request to the registered address, never last-wins', async (name) => {
    const { status, headers } = await ask({ [name]: 'login' }, `&${name}=login`)
    expect(status).toBe(303)
    expect(headers.location).toMatch(`${WEB}/callback?`)
    expect(answerOf(headers.location)).toMatchObject({ error: 'invalid_request', iss: server.issuer })
  })

  it.each([
    'scope[]=openid',
    'scope[0]=openid',
    'client_id[]=own',
    'redirect_uri[]=https://evil.example',
    '=',
    '&&&',
    '%00=%00',
  ])('a bracket or nonsense name is another, unknown parameter: %s', async (more) => {
    const answer = await ask({}, `&${more}`)
    expect(answer.status).toBe(303)
    expect(answer.headers.location).toMatch(/\/interaction\//)
  })

  it.each([
    ['NUL in state', { state: 'a\0b' }],
    ['NUL in login_hint', { login_hint: 'a\0@example.com' }],
    ['NUL in client_id', { client_id: 'web\0' }],
    ['lone surrogates', { state: '\ud800', login_hint: '\udfff@example.com' }],
    ['a long state', { state: 'x'.repeat(6000) }],
    ['a long login_hint', { login_hint: `${'x'.repeat(6000)}@example.com` }],
    ['claims that are no JSON', { claims: '{' }],
    ['an id_token_hint of nonsense', { id_token_hint: 'a.b.c' }],
    ['ui_locales of nonsense', { ui_locales: '../../etc/passwd \u202e' }],
    ['acr_values of nonsense', { acr_values: '   ' }],
    ['null in words', { scope: 'null', max_age: 'null', prompt: 'null' }],
  ])('%s never is a fault of ours', async (_name, parameters: Fields) => {
    const page = await stranger.get(authorizationRequest(server.issuer, 'web', parameters).url)
    expect([0, 200, 400]).toContain(page.status)
    expect(page.text).not.toMatch(/internal_error|server_error/)
    expect(page.params.get('error') ?? '').not.toBe('server_error')
  })

  it.each(['%', '%zz', '%c0%af', '%ff', '%E0%A4%A'])('a broken encoding: state=%s', async (value) => {
    const answer = await stranger.send(
      `${authorizationRequest(server.issuer, 'web', { state: undefined }).url}&state=${value}`,
    )
    expect(answer.status).toBeLessThan(500)
    if (answer.headers.location !== undefined) expect(answer.headers.location).not.toMatch(/evil\.example/)
  })
})
