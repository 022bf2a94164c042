/** FAPI 2.0 Message Signing (final) §5.3 and §5.4: signed requests and responses. Modules of fapi2-message-signing-final-test-plan. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, importPKCS8, jwtVerify } from 'jose'
import * as oidc from 'openid-client'
import { type Claims, createKey, seconds, signJwt } from '../../support/client_keys.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { parametersOf, requestUriOf, type StrictClient, strictClient } from '../../support/strict_client.ts'
import { type Fields, headerOf, payloadOf } from '../../support/token_requests.ts'

const key = createKey('ec')
const rsa = createKey('rsa', 'PS256')
const foreign = createKey('ec')
const CLIENTS = [
  { client_id: 'bank', jwks: { keys: [key.jwk, rsa.jwk] } },
  { client_id: 'other-bank', jwks: { keys: [foreign.jwk] } },
].map((client) => ({
  ...{ profile: 'fapi2-message-signing', first_party: true, scope: 'openid profile email offline_access' },
  ...{ redirect_uris: [redirectUri(client.client_id)], ...client },
}))

let server: Server
let ann: Person
let bank: StrictClient
let keySet: ReturnType<typeof createRemoteJWKSet>

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...CLIENTS] } })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  const options = { issuer: server.issuer, key, authenticatesBy: 'assertion', proofKey: createKey('proof') } as const
  bank = strictClient({ ...options, clientId: 'bank' })
  keySet = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
})
afterAll(() => server.close())

const SIGNED = { response_mode: 'jwt' }
const fields = (changes: Fields = {}) => parametersOf('bank', { ...SIGNED, ...changes }).fields
const pushSigned = (request: string, outside: Fields = {}) => bank.push({ fields: { request, ...outside } })
const opened = async (answer: Awaited<ReturnType<typeof pushSigned>>) =>
  ann.browser.get(bank.opened(requestUriOf(answer)))

/** What a signed response says (JARM §2.1), checked as the client has to (§2.4). */
async function responseOf(params: URLSearchParams): Promise<Claims> {
  const jwt = params.get('response') ?? ''
  expect([...params.keys()]).toEqual(['response'])
  const { payload } = await jwtVerify(jwt, keySet, { issuer: server.issuer, audience: 'bank', algorithms: ['ES256'] })
  expect(payload.exp).toBeGreaterThan(seconds())
  expect(payload.exp).toBeLessThanOrEqual(seconds() + 600)
  return payload
}

it('happy-flow: the library signs, pushes and verifies', async () => {
  const signing = await importPKCS8(key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 'ES256')
  const auth = oidc.PrivateKeyJwt({ key: signing, kid: 'ec' })
  const config = await oidc.discovery(new URL(server.issuer), 'bank', undefined, auth, {
    execute: [oidc.allowInsecureRequests, oidc.useJwtResponseMode],
  })
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'))
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
  const parameters = {
    ...{ redirect_uri: redirectUri('bank'), scope: 'openid email', state: 'state', ...SIGNED },
    ...{ code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256' },
  }
  const signed = await oidc.buildAuthorizationUrlWithJAR(config, parameters, { key: signing, kid: 'ec' })
  const url = await oidc.buildAuthorizationUrlWithPAR(config, signed.searchParams, { DPoP })
  const end = await ann.browser.get(url.href)
  const checks = { pkceCodeVerifier, expectedState: 'state', idTokenExpected: true }
  const tokens = await oidc.authorizationCodeGrant(config, new URL(end.url), checks, undefined, { DPoP })
  expect(tokens.token_type).toBe('dpop')
  const info = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims()?.sub ?? '', { DPoP })
  expect(info.email).toBe(ann.email)
})

describe('a request object', () => {
  const now = seconds
  const good: readonly (readonly [string, () => Claims, Claims?])[] = [
    [
      'ensure-signed-request-object-with-multiple-aud-succeeds',
      () => ({ aud: [server.issuer, 'https://other.example'] }),
    ],
    ['ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted', () => ({ nbf: now() + 8 })],
    ['of an hour', () => ({ nbf: now(), exp: now() + 3600 })],
    ['without a typ', () => ({}), { typ: undefined }],
    ['with a long nonce and state', () => ({ nonce: 'n'.repeat(384), state: 's'.repeat(384) })],
  ]
  it.each(good)('%s', async (_module, claims, header = {}) => {
    const end = await opened(await pushSigned(bank.requestObject(fields(), claims(), header)))
    expect(await responseOf(end.params)).toMatchObject({ code: expect.any(String) })
  })

  it('signed by PS256', async () => {
    const header = { typ: 'oauth-authz-req+jwt', kid: 'rsa' }
    const claims = payloadOf(bank.requestObject(fields()))
    expect((await pushSigned(signJwt(rsa.privateKey, claims, { ...header, alg: 'PS256' }))).status).toBe(201)
    const refused = await pushSigned(signJwt(rsa.privateKey, claims, { ...header, alg: 'RS256' }))
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_request_object'])
  })

  const bad: readonly (readonly [string, () => Claims, Claims?])[] = [
    ['ensure-request-object-without-exp-fails', () => ({ exp: undefined })],
    ['ensure-request-object-without-nbf-fails', () => ({ nbf: undefined })],
    ['ensure-expired-request-object-fails', () => ({ nbf: now() - 600, exp: now() - 300 })],
    ['ensure-request-object-with-bad-aud-fails', () => ({ aud: 'https://other.example' })],
    ['ensure-request-object-without-aud-fails', () => ({ aud: undefined })],
    ['ensure-request-object-with-exp-over-60-fails', () => ({ exp: now() + 4200 })],
    ['ensure-request-object-with-nbf-over-60-fails', () => ({ nbf: now() - 4200 })],
    ['ensure-request-object-with-nbf-in-the-future-fails', () => ({ nbf: now() + 70 })],
    ['ensure-request-object-with-request_uri-inside-fails', () => ({ request_uri: 'urn:x:y' })],
    ['with a request inside', () => ({ request: 'a.b.c' })],
    ['of another issuer', () => ({ iss: 'other-bank' })],
    ['of another client_id', () => ({ client_id: 'other-bank' })],
    ['without a client_id', () => ({ client_id: undefined })],
    ['exp in words', () => ({ exp: 'tomorrow' })],
    ['exp before nbf', () => ({ nbf: now() + 5, exp: now() + 4 })],
    ['with the typ of an access token', () => ({}), { typ: 'at+jwt' }],
    ['with the typ of a proof', () => ({}), { typ: 'dpop+jwt' }],
    ['with an unknown crit', () => ({}), { crit: ['x'], x: 1 }],
  ]
  it.each(bad)('%s', async (_module, claims, header = {}) => {
    const refused = await pushSigned(bank.requestObject(fields(), claims(), header))
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_request_object'])
    expect((await pushSigned(bank.requestObject(fields()))).status).toBe(201)
  })

  it('ensure-request-object-with-invalid-signature-fails, -signature-algorithm-is-none, -signed-by-other-client', async () => {
    const [head = '', body = '', signature = ''] = bank.requestObject(fields()).split('.')
    const none = Buffer.from('{"alg":"none","typ":"oauth-authz-req+jwt"}').toString('base64url')
    const theirs = foreign.sign(payloadOf(`${head}.${body}.`), { typ: 'oauth-authz-req+jwt' })
    for (const forged of [`${head}.${body}.${signature.slice(0, -4)}AAAA`, `${none}.${body}.`, theirs]) {
      const refused = await pushSigned(forged)
      expect([refused.status, refused.body.error]).toEqual([400, 'invalid_request_object'])
    }
    expect((await pushSigned(`${head}.${body}.${signature}`)).status).toBe(201)
  })

  it('ensure-unsigned-request-at-par-endpoint-fails', async () => {
    const refused = await bank.push({ fields: fields() })
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_request'])
  })

  it('is pushed, not shown to the browser', async () => {
    const query = new URLSearchParams({ client_id: 'bank', request: bank.requestObject(fields()) })
    const end = await ann.browser.get(`${server.issuer}/auth?${query}`)
    expect(end.params.get('code')).toBeNull()
    expect(end.params.has('response') ? (await responseOf(end.params)).error : end.text).toMatch(/invalid_request/)
  })

  it('ensure-request-object-without-redirect-uri-fails', async () => {
    const outside = { redirect_uri: redirectUri('bank') }
    const refused = await pushSigned(bank.requestObject(fields({ redirect_uri: undefined })), outside)
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_request'])
    expect((await pushSigned(bank.requestObject(fields()), outside)).status).toBe(201)
  })

  it('ensure-different-nonce/state-inside-and-outside-request-object: what is signed counts', async () => {
    const request = bank.requestObject(fields({ state: 'inside', nonce: 'inside' }))
    const end = await opened(await pushSigned(request, { state: 'outside', nonce: 'outside' }))
    expect(await responseOf(end.params)).toMatchObject({ state: 'inside' })
  })

  it('state-only-outside-request-object-not-used', async () => {
    const request = bank.requestObject(fields({ state: undefined }))
    const end = await opened(await pushSigned(request, { state: 'outside' }))
    expect(await responseOf(end.params)).not.toHaveProperty('state')
  })
})

describe('a response (JARM)', () => {
  it('is signed for the client alone, and says nothing beside', async () => {
    const end = await opened(await pushSigned(bank.requestObject(fields())))
    const response = await responseOf(end.params)
    expect(Object.keys(response).sort()).toEqual(['aud', 'code', 'exp', 'iss', 'state'])
    expect(response).toMatchObject({ iss: server.issuer, aud: 'bank', state: 'the-state' })
    expect(headerOf(end.params.get('response') ?? '').alg).toBe('ES256')
  })

  it.each([
    ['query.jwt', '?response='],
    ['fragment.jwt', '#response='],
  ])('goes by %s', async (mode, by) => {
    const end = await opened(await pushSigned(bank.requestObject(fields({ response_mode: mode }))))
    expect(end.url.startsWith(`${redirectUri('bank')}${by}`)).toBe(true)
    expect(await responseOf(end.params)).toHaveProperty('code')
  })

  it('goes by form_post.jwt', async () => {
    const page = await opened(await pushSigned(bank.requestObject(fields({ response_mode: 'form_post.jwt' }))))
    const [form] = page.forms
    expect(form?.action).toBe(redirectUri('bank'))
    const named = form?.fields.filter(({ name }) => name !== '') ?? []
    const posted = Object.fromEntries(named.map(({ name, value }) => [name, value]))
    expect(await responseOf(new URLSearchParams(posted))).toHaveProperty('code')
  })

  it.each([
    ['prompt=none by somebody signed out', { prompt: 'none', max_age: '0' }, 'login_required'],
    ['a prompt that is none', { prompt: 'none login' }, 'invalid_request'],
  ])('that is an error is signed too: %s', async (_name, changes, error) => {
    const answer = await pushSigned(bank.requestObject(fields(changes)))
    if (answer.status === 400) return expect(answer.body.error).toBe(error)
    const end = await opened(answer)
    expect(await responseOf(end.params)).toMatchObject({ error, state: 'the-state', iss: server.issuer })
  })

  it('user-rejects-authentication: signed too', async () => {
    const request = bank.requestObject(fields({ scope: 'openid offline_access', prompt: 'consent' }))
    const page = await opened(await pushSigned(request))
    const end = await ann.browser.submit(page, {}, { form: '/consent', button: 'deny' })
    expect(await responseOf(end.params)).toMatchObject({ error: 'access_denied', state: 'the-state' })
  })

  it.each(['query', 'fragment', 'form_post', undefined])('is never bare: response_mode %s is refused', async (mode) => {
    const refused = await pushSigned(bank.requestObject(fields({ response_mode: mode })))
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_request'])
    expect((await pushSigned(bank.requestObject(fields()))).status).toBe(201)
  })
})
