/** FAPI 2.0 Security Profile (final): requests and client authentication. Modules of fapi2-security-profile-final-test-plan. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { importPKCS8 } from 'jose'
import * as oidc from 'openid-client'
import { makeCertificate, rfc9440 } from '../../support/certificates.ts'
import { createKey, seconds, signJwt } from '../../support/client_keys.ts'
import { SETTINGS, signIn } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, OFFLINE, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import {
  ASSERTION_TYPE,
  CERTIFICATE_HEADER,
  parametersOf,
  requestUriOf,
  type StrictClient,
  strictClient,
} from '../../support/strict_client.ts'
import { type Fields, payloadOf } from '../../support/token_requests.ts'

const key = createKey('ec')
const rsa = createKey('rsa', 'PS256')
const authority = makeCertificate({ subject: '/CN=Test authority', ca: true })
const certificate = makeCertificate({
  subject: '/O=Bank/CN=client',
  issuer: authority,
  extensions: ['subjectAltName=DNS:client.bank.example'],
})
const BY_CERTIFICATE = {
  token_endpoint_auth_method: 'tls_client_auth',
  tls_client_auth_san_dns: 'client.bank.example',
}
const CERTIFICATE_BOUND = { tls_client_certificate_bound_access_tokens: true }
/** Client authentication × sender constraint. */
const KINDS = {
  jwt_dpop: {},
  jwt_mtls: CERTIFICATE_BOUND,
  mtls_dpop: BY_CERTIFICATE,
  mtls_mtls: { ...BY_CERTIFICATE, ...CERTIFICATE_BOUND },
}
const kinds = Object.keys(KINDS) as (keyof typeof KINDS)[]
const idOf = (kind: string) => kind.replace('_', '-')

function fapi(clientId: string, more: object) {
  return {
    ...{ client_id: clientId, profile: 'fapi2', first_party: true, jwks: { keys: [key.jwk, rsa.jwk] } },
    ...{ redirect_uris: [redirectUri(clientId)], scope: 'openid profile email offline_access' },
    ...more,
  }
}

let server: Server
let ann: Person
let bank: StrictClient
let other: StrictClient
let clock = 0

beforeAll(async () => {
  server = await startServer({
    settings: {
      ...SETTINGS,
      trusted_proxies: ['127.0.0.1'],
      mtls: { certificate_header: CERTIFICATE_HEADER, trusted_ca: authority.cert },
      clients: [...SETTINGS.clients, ...kinds.map((kind) => fapi(idOf(kind), KINDS[kind])), fapi('other-bank', {})],
    },
    // Redis forgets by its own clock, which does not move here.
    stores: 'embedded',
  })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  const options = { issuer: server.issuer, key, authenticatesBy: 'assertion', proofKey: createKey('proof') } as const
  bank = strictClient({ ...options, clientId: 'jwt-dpop' })
  other = strictClient({ ...options, clientId: 'other-bank' })
})
afterAll(() => server.close())

/** openid-client for a kind; the certificate goes by the header of the proxy. */
async function library(kind: keyof typeof KINDS): Promise<oidc.Configuration> {
  const signing = await importPKCS8(key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 'ES256')
  const auth = kind.startsWith('jwt') ? oidc.PrivateKeyJwt({ key: signing, kid: 'ec' }) : oidc.TlsClientAuth()
  const config = await oidc.discovery(new URL(server.issuer), idOf(kind), undefined, auth, {
    execute: [oidc.allowInsecureRequests],
    [oidc.customFetch]: (url, { headers, ...rest }) =>
      fetch(url, { ...(rest as RequestInit), headers: { ...headers, [CERTIFICATE_HEADER]: rfc9440(certificate) } }),
  })
  return config
}

describe('happy-flow', () => {
  it.each(kinds)('%s: pushed, signed in, redeemed, refreshed, and the person told', async (kind) => {
    const config = await library(kind)
    const keyPair = kind.endsWith('dpop') ? await oidc.randomDPoPKeyPair('ES256') : undefined
    const DPoP = keyPair && oidc.getDPoPHandle(config, keyPair)
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
    const parameters = {
      ...{
        redirect_uri: redirectUri(idOf(kind)),
        scope: 'openid email offline_access',
        state: 'state',
        ...OFFLINE_PROMPT,
      },
      ...{ nonce: 'nonce', code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier) },
      code_challenge_method: 'S256',
    }
    const url = await oidc.buildAuthorizationUrlWithPAR(config, parameters, DPoP && { DPoP })
    const end = await agreed(url.href)
    const checks = { pkceCodeVerifier, expectedState: 'state', expectedNonce: 'nonce', idTokenExpected: true }
    const tokens = await oidc.authorizationCodeGrant(config, new URL(end), checks, undefined, DPoP && { DPoP })
    expect(tokens.token_type).toBe(DPoP ? 'dpop' : 'bearer')
    const sub = tokens.claims()?.sub ?? ''
    const options = DPoP && { DPoP }
    expect(await oidc.fetchUserInfo(config, tokens.access_token, sub, options)).toMatchObject({ email: ann.email })
    const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '', undefined, options)
    expect(renewed.access_token).not.toBe(tokens.access_token)
    // §5.3.2.1: refresh tokens do not rotate.
    expect(renewed.refresh_token ?? tokens.refresh_token).toBe(tokens.refresh_token)
    const again = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '', undefined, options)
    expect(again.access_token).not.toBe(renewed.access_token)
  })
})
const OFFLINE_PROMPT = { prompt: OFFLINE.prompt }

async function agreed(url: string): Promise<string> {
  const page = await ann.browser.get(url)
  const asks = page.forms.some(({ action }) => action.endsWith('/consent'))
  return (asks ? await ann.browser.submit(page, {}, { form: '/consent', button: 'allow' }) : page).url
}

/** Whether a pushed request leads to a code. */
async function leadsToCode(client: StrictClient, fields: Fields, more = {}): Promise<boolean> {
  return (await ann.browser.get(client.opened(requestUriOf(await client.push({ fields, ...more }))))).params.has('code')
}

describe('an authorization request', () => {
  it('user-rejects-authentication', async () => {
    const { fields } = parametersOf('jwt-dpop', { ...OFFLINE_PROMPT, scope: 'openid offline_access' })
    const page = await ann.browser.get(bank.opened(requestUriOf(await bank.push({ fields }))))
    const end = await ann.browser.submit(page, {}, { form: '/consent', button: 'deny' })
    expect(Object.fromEntries(end.params)).toMatchObject({
      ...{ error: 'access_denied', state: 'the-state', iss: server.issuer },
    })
  })

  it.each([
    ['ensure-authorization-request-without-state-success', { state: undefined }],
    ['ensure-authorization-request-without-nonce-success', { nonce: undefined }],
    ['ensure-authorization-request-with-64-char-nonce-success', { nonce: 'n'.repeat(64) }],
    ['ensure-authorization-request-with-long-nonce', { nonce: 'n'.repeat(384) }],
    ['ensure-authorization-request-with-long-state', { state: 's'.repeat(384) }],
    ['ensure-other-scope-order-succeeds', { scope: 'email openid' }],
    ['test-claims-parameter-identity-claims', { claims: '{"userinfo":{"email":{"essential":true}}}' }],
  ])('%s', async (_module, changes: Fields) => {
    const code = await bank.code(ann, changes)
    const answer = await bank.redeem(code)
    expect(answer.status).toBe(200)
    if (changes.nonce !== undefined) expect(payloadOf(String(answer.body.id_token)).nonce).toBe(changes.nonce)
  })

  it('ensure-unsigned-authorization-request-without-using-par-fails', async () => {
    const { fields } = parametersOf('jwt-dpop')
    const query = new URLSearchParams({ ...(fields as { [name: string]: string }), client_id: 'jwt-dpop' })
    const end = await ann.browser.get(`${server.issuer}/auth?${query}`)
    expect(end.params.get('code')).toBeNull()
    expect(end.params.get('error')).toBe('invalid_request')
    expect(await leadsToCode(bank, fields)).toBe(true)
  })

  it.each([
    ['par-ensure-pkce-required', { code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    ['par-plain-pkce-rejected', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['par-plain-pkce-rejected, by default', { code_challenge_method: undefined }, 'invalid_request'],
    ['ensure-redirect-uri-in-authorization-request', { redirect_uri: undefined }, 'invalid_request'],
    ['ensure-registered-redirect-uri', { redirect_uri: 'https://jwt-dpop.test.example/other' }, 'invalid_request'],
    ['ensure-response-type-code-idtoken-fails', { response_type: 'code id_token' }, 'unsupported_response_type'],
    ['ensure-response-type-token-fails', { response_type: 'token' }, 'unsupported_response_type'],
    [
      'par-authorization-request-containing-request_uri-form-param',
      { request_uri: 'urn:x:y' },
      'request_uri_not_supported',
    ],
  ])('%s', async (_module, changes: Fields, error) => {
    const { fields } = parametersOf('jwt-dpop')
    const answer = await bank.push({ fields: { ...fields, ...changes } })
    expect([answer.status, answer.body.error]).toEqual([400, error])
    expect((await bank.push({ fields })).status).toBe(201)
  })

  it('par-without-duplicate-parameters', async () => {
    const { fields } = parametersOf('jwt-dpop')
    const uri = requestUriOf(await bank.push({ fields }))
    // What stands beside a request_uri is not the request (RFC 9126 §4).
    const end = await ann.browser.get(bank.opened(uri, { scope: 'openid profile', state: 'another' }))
    expect(end.params.get('state')).toBe('the-state')
  })

  it('par-attempt-invalid-http-method', async () => {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await fetch(`${server.issuer}/request`, { method })
      expect([method, answer.status]).toEqual([method, expect.any(Number)])
      expect([404, 405]).toContain(answer.status)
      await answer.body?.cancel()
    }
  })
})

describe('a request_uri', () => {
  const pushed = async () => requestUriOf(await bank.push({ fields: parametersOf('jwt-dpop').fields }))

  it('par-attempt-to-use-request_uri-for-different-client', async () => {
    const uri = await pushed()
    const stranger = await ann.browser.get(other.opened(uri))
    expect(stranger.params.get('code')).toBeNull()
    expect(stranger.status === 0 ? stranger.params.get('error') : stranger.text).toMatch(/invalid_request/)
    expect((await ann.browser.get(bank.opened(uri))).params.has('code')).toBe(true)
  })

  it('par-attempt-reuse-request_uri', async () => {
    const uri = await pushed()
    expect((await ann.browser.get(bank.opened(uri))).params.has('code')).toBe(true)
    const again = await ann.browser.get(bank.opened(uri))
    expect([again.params.get('code'), again.status]).toEqual([null, 400])
    expect(again.text).toContain('invalid_request_uri')
  })

  it('par-ensure-reused-request-uri-prior-to-auth-completion-succeeds', async () => {
    const answer = await bank.push({ fields: parametersOf('jwt-dpop', { prompt: 'login' }).fields })
    const uri = requestUriOf(answer)
    const left = await ann.browser.get(bank.opened(uri))
    expect(left.status).toBe(200)
    const again = await ann.browser.get(bank.opened(uri))
    expect((await signIn(ann.browser, again, ann.email)).params.has('code')).toBe(true)
  })

  it('par-attempt-to-use-expired-request_uri', async () => {
    const uri = await pushed()
    const fresh = await pushed()
    expect((await ann.browser.get(bank.opened(fresh))).params.has('code')).toBe(true)
    await later(70)
    const end = await ann.browser.get(bank.opened(uri))
    expect([end.params.get('code'), end.status]).toEqual([null, 400])
    expect(end.text).toContain('invalid_request_uri')
    await later(0)
  })
})

/** Moves the server's clock. */
async function later(by: number): Promise<void> {
  clock = by
  await server.shiftDate(clock)
}

describe('a client assertion', () => {
  const endpoint = (path: string) => `${server.issuer}${path}`
  const bad: readonly (readonly [string, () => object])[] = [
    ['par-test-array-as-audience-fails', () => ({ aud: [server.issuer] })],
    ['par-test-array-as-audience-fails, with others', () => ({ aud: [server.issuer, 'https://other.example'] })],
    ['par-test-token-endpoint-url-as-audience-fails', () => ({ aud: endpoint('/token') })],
    ['par-test-par-endpoint-url-as-audience-fails', () => ({ aud: endpoint('/request') })],
    ['ensure-client-assertion-with-wrong-aud-fails', () => ({ aud: 'https://other.example' })],
    ['ensure-client-assertion-with-exp-is-5-minutes-in-past-fails', () => ({ exp: seconds() - 300 })],
    ['ensure-client-assertion-with-no-sub-fails', () => ({ sub: undefined })],
    ['par-ensure-jwt-client-assertions-nbf-over-60-seconds-fails', () => ({ nbf: seconds() + 70 })],
  ]

  it.each(bad)('%s', async (_module, assertion) => {
    const { fields } = parametersOf('jwt-dpop')
    const atPar = await bank.push({ fields, assertion: assertion() as never })
    expect([atPar.status, atPar.body.error]).toEqual([401, 'invalid_client'])
    const code = await bank.code(ann)
    const atToken = await bank.redeem(code, { assertion: assertion() as never })
    expect([atToken.status, atToken.body.error]).toEqual([401, 'invalid_client'])
    expect((await bank.redeem(code)).status).toBe(200)
  })

  it('par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted', async () => {
    const { fields } = parametersOf('jwt-dpop')
    expect((await bank.push({ fields, assertion: { nbf: seconds() + 8, iat: seconds() + 8 } })).status).toBe(201)
  })

  it('ensure-signed-client-assertion-with-RS256-fails', async () => {
    const { fields } = parametersOf('jwt-dpop')
    const sign = (alg: 'RS256' | 'PS256') => {
      const claims = { iss: 'jwt-dpop', sub: 'jwt-dpop', aud: server.issuer, jti: `${alg}-1`, exp: seconds() + 60 }
      return signJwt(rsa.privateKey, claims, { alg, kid: 'rsa' })
    }
    const signedBy = (alg: 'RS256' | 'PS256') => bank.push({ fields: { ...fields, client_assertion: sign(alg) } })
    expect(await signedBy('RS256')).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
    expect((await signedBy('PS256')).status).toBe(201)
  })

  it('ensure-client-assertion-in-token-endpoint, ensure-client-id-in-token-endpoint', async () => {
    const code = await bank.code(ann)
    const without = await bank.redeem(code, {
      fields: { client_assertion: undefined, client_assertion_type: undefined },
    })
    expect([400, 401]).toContain(without.status)
    const named = await bank.redeem(code, {
      fields: { client_assertion: undefined, client_assertion_type: undefined, client_id: 'jwt-dpop' },
    })
    expect([named.status, named.body.error]).toEqual([401, 'invalid_client'])
    const stranger = await bank.redeem(code, { fields: { client_id: 'other-bank' } })
    expect([400, 401]).toContain(stranger.status)
    expect((await bank.redeem(code, { fields: { client_assertion_type: ASSERTION_TYPE } })).status).toBe(200)
  })
})
