/** FAPI 2.0 Security Profile (final) §5.3.2: codes and tokens that are good for their holder alone. RFC 9449, RFC 8705. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { certificateThumbprint, makeCertificate, rfc9440 } from '../../support/certificates.ts'
import { accessTokenHash, type Claims, createKey, dpopProof, seconds, thumbprint } from '../../support/client_keys.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { CERTIFICATE_HEADER, parametersOf, type StrictClient, strictClient } from '../../support/strict_client.ts'
import { clientRequests, tokensOf } from '../../support/token_requests.ts'

const key = createKey('ec')
const mine = createKey('proof')
const another = createKey('another')
const certificate = makeCertificate({ subject: '/CN=client' })
const stranger = makeCertificate({ subject: '/CN=client' })
const CLIENTS = [
  { client_id: 'bank', profile: 'fapi2' },
  { client_id: 'other-bank', profile: 'fapi2' },
  { client_id: 'nonce-bank', profile: 'fapi2', require_dpop_nonce: true },
  { client_id: 'cert-bank', profile: 'fapi2', tls_client_certificate_bound_access_tokens: true },
].map((client) => ({
  ...{ first_party: true, jwks: { keys: [key.jwk] }, scope: 'openid profile email offline_access' },
  ...{ redirect_uris: [redirectUri(client.client_id)], ...client },
}))

let server: Server
let ann: Person
let bank: StrictClient
let certBank: StrictClient
let requests: ReturnType<typeof clientRequests>

beforeAll(async () => {
  server = await startServer({
    settings: {
      ...SETTINGS,
      trusted_proxies: ['127.0.0.1'],
      mtls: { certificate_header: CERTIFICATE_HEADER },
      clients: [...SETTINGS.clients, ...CLIENTS],
    },
    // Redis forgets by its own clock, which does not move here.
    stores: 'embedded',
  })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  requests = clientRequests(server.issuer)
  bank = client('bank')
  const { issuer } = server
  certBank = strictClient({ issuer, key, authenticatesBy: 'assertion', clientId: 'cert-bank', certificate })
})
afterAll(() => server.close())

const client = (clientId: string, proofKey = mine) =>
  strictClient({ issuer: server.issuer, key, authenticatesBy: 'assertion', clientId, proofKey })
const proofOf = (proofKey = mine, more: Claims = {}) => ({
  headers: { dpop: dpopProof(proofKey, 'POST', `${server.issuer}/token`, more) },
})
const meProof = (token: string, proofKey = mine) =>
  dpopProof(proofKey, 'GET', `${server.issuer}/me`, { ath: accessTokenHash(token) })
const OFFLINE = { scope: 'openid offline_access', prompt: 'consent' }

/** Tokens of a client that a person agreed to, with one for refreshing. */
async function offline(of: StrictClient) {
  const { fields, verifier } = parametersOf(of.clientId, OFFLINE)
  const pushed = await of.push({ fields })
  const page = await ann.browser.get(of.opened(String(pushed.body.request_uri)))
  const end = await ann.browser.submit(page, {}, { form: '/consent', button: 'allow' })
  const code = {
    clientId: of.clientId,
    code: end.params.get('code') ?? '',
    verifier,
    redirectUri: redirectUri(of.clientId),
  }
  return tokensOf(await of.redeem(code))
}

describe('a code', () => {
  it('ensure-authorization-code-is-bound-to-client', async () => {
    const code = await bank.code(ann)
    const stolen = await client('other-bank').redeem(code)
    expect([stolen.status, stolen.body.error]).toEqual([400, 'invalid_grant'])
    expect((await bank.redeem(await bank.code(ann))).status).toBe(200)
  })

  it('attempt-reuse-authorization-code-after-one-second', async () => {
    const code = await bank.code(ann)
    const first = tokensOf(await bank.redeem(code))
    const again = await bank.redeem(code)
    expect([again.status, again.body.error]).toEqual([400, 'invalid_grant'])
    const me = await requests.userinfo(first.access, 'DPoP', { dpop: meProof(first.access) })
    expect(me.status).toBe(401)
  })

  it('ensure-token-endpoint-fails-with-expired-auth-code', async () => {
    const code = await bank.code(ann)
    // A minute, and what clocks of instances may differ by: the store itself ends it after the minute.
    await server.shiftDate(170)
    const shifted = { headers: { dpop: bank.proof('/token', { iat: seconds() + 170 }) }, assertion: laterBy(170) }
    const late = await bank.redeem(code, shifted)
    expect([late.status, late.body.error]).toEqual([400, 'invalid_grant'])
    await server.shiftDate(0)
    expect((await bank.redeem(await bank.code(ann))).status).toBe(200)
  })

  it.each([
    ['ensure-pkce-code-verifier-required', { code_verifier: undefined }],
    ['incorrect-pkce-code-verifier-rejected', { code_verifier: 'a'.repeat(43) }],
  ])('%s', async (_module, fields) => {
    const refused = await bank.redeem(await bank.code(ann), { fields })
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
  })

  it('ensure-mismatched-dpop-jkt-fails, ensure-token-endpoint-fails-with-mismatched-dpop-jkt', async () => {
    const jkt = { dpop_jkt: thumbprint(mine) }
    const refused = await bank.redeem(await bank.code(ann, jkt), proofOf(another))
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
    expect((await bank.redeem(await bank.code(ann, jkt))).status).toBe(200)
  })

  it('at PAR a dpop_jkt and a proof of another key are refused together', async () => {
    const { fields } = parametersOf('bank', { dpop_jkt: thumbprint(mine) })
    const proven = (proofKey: typeof mine) =>
      bank.push({ fields, headers: { dpop: dpopProof(proofKey, 'POST', `${server.issuer}/request`) } })
    expect(await proven(another)).toMatchObject({ status: 400, body: { error: 'invalid_request' } })
    expect((await proven(mine)).status).toBe(201)
  })

  it('ensure-dpopproof-at-par-endpoint-binding-success, ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt', async () => {
    const proven = () => ({ headers: { dpop: bank.proof('/request') } })
    const refused = await bank.redeem(await bank.code(ann, {}, proven()), proofOf(another))
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
    expect((await bank.redeem(await bank.code(ann, {}, proven()))).status).toBe(200)
  })
})

const laterBy = (by: number): Claims => ({ nbf: seconds() + by, iat: seconds() + by, exp: seconds() + by + 60 })

describe('a DPoP proof', () => {
  it.each([
    ['ensure-dpopproof-with-iat-10seconds-before-succeeds', -10],
    ['ensure-dpopproof-with-iat-10seconds-after-succeeds', 10],
  ])('%s', async (_module, by) => {
    expect((await bank.redeem(await bank.code(ann), proofOf(mine, { iat: seconds() + by }))).status).toBe(200)
  })

  it('check-dpop-proof-nbf-exp', async () => {
    const good = { nbf: seconds() - 1, exp: seconds() + 60 }
    expect((await bank.redeem(await bank.code(ann), proofOf(mine, good))).status).toBe(200)
  })

  it.each([
    ['without any', () => ({ headers: { dpop: undefined } }), 'invalid_grant'],
    ['of another method', () => proofOf(mine, { htm: 'GET' }), 'invalid_dpop_proof'],
    ['of another endpoint', () => proofOf(mine, { htu: `${server.issuer}/me` }), 'invalid_dpop_proof'],
    // Whose clock is wrong is helped by a nonce (RFC 9449 §11.1).
    ['of an old time', () => proofOf(mine, { iat: seconds() - 600 }), 'use_dpop_nonce'],
    ['of a time to come', () => proofOf(mine, { iat: seconds() + 600 }), 'use_dpop_nonce'],
    ['without jti', () => proofOf(mine, { jti: undefined }), 'invalid_dpop_proof'],
    ['with a nonce that was not given', () => proofOf(mine, { nonce: 'made-up' }), 'use_dpop_nonce'],
  ])('dpop-negative-tests: %s', async (_name, request, error) => {
    const refused = await bank.redeem(await bank.code(ann), request())
    expect([refused.status, refused.body.error]).toEqual([400, error])
  })

  it('the nonce loop (RFC 9449 §8): asked for one, the client comes back with it', async () => {
    const strict = client('nonce-bank')
    const code = await strict.code(ann)
    const asked = await strict.redeem(code)
    expect([asked.status, asked.body.error]).toEqual([400, 'use_dpop_nonce'])
    const nonce = asked.headers.get('dpop-nonce') ?? ''
    expect(nonce).not.toBe('')
    const answer = await strict.redeem(code, proofOf(mine, { nonce }))
    expect(answer.status).toBe(200)
    const { access } = tokensOf(answer)
    const atMe = await requests.userinfo(access, 'DPoP', {
      dpop: dpopProof(mine, 'GET', `${server.issuer}/me`, { ath: accessTokenHash(access), nonce }),
    })
    expect(atMe.status).toBe(200)
  })

  it('a nonce is offered to those who need none, and has its time', async () => {
    const nonce = (await bank.redeem(await bank.code(ann))).headers.get('dpop-nonce') ?? ''
    expect(nonce).not.toBe('')
    expect((await bank.redeem(await bank.code(ann), proofOf(mine, { nonce }))).status).toBe(200)
    await server.shiftDate(3600)
    const code = await bank.code(await ann.elsewhere(), {}, { assertion: laterBy(3600) })
    const old = { iat: seconds() + 3600, nonce }
    const refused = await bank.redeem(code, { ...proofOf(mine, old), assertion: laterBy(3600) })
    expect([refused.status, refused.body.error]).toEqual([400, 'use_dpop_nonce'])
    await server.shiftDate(0)
  })
})

describe('ensure-holder-of-key-required', () => {
  it('at userinfo, by DPoP; access-token-type-header-case-sensitivity', async () => {
    const { access } = tokensOf(await bank.redeem(await bank.code(ann)))
    const open = (scheme: string, headers: object) => requests.userinfo(access, scheme, headers)
    expect((await open('Bearer', {})).status).toBe(401)
    expect((await open('DPoP', {})).status).toBeGreaterThanOrEqual(400)
    expect((await open('DPoP', { dpop: meProof(access, another) })).status).toBe(401)
    for (const scheme of ['DPoP', 'dpop', 'DPOP']) {
      expect([scheme, (await open(scheme, { dpop: meProof(access) })).status]).toEqual([scheme, 200])
    }
  })

  it('at userinfo, by certificate', async () => {
    const { access } = tokensOf(await certBank.redeem(await certBank.code(ann)))
    const open = (headers: object) => requests.userinfo(access, 'Bearer', headers)
    for (const headers of [{}, { [CERTIFICATE_HEADER]: rfc9440(stranger) }, { [CERTIFICATE_HEADER]: 'nonsense' }]) {
      const refused = await open(headers)
      expect([refused.status, refused.body.error]).toEqual([401, 'invalid_token'])
    }
    expect((await open({ [CERTIFICATE_HEADER]: rfc9440(certificate) })).status).toBe(200)
    const told = await certBank.post('/token/introspection', { fields: { token: access } })
    expect(told.body).toMatchObject({
      ...{ active: true, token_type: 'Bearer', cnf: { 'x5t#S256': certificateThumbprint(certificate) } },
    })
  })

  it('at the token endpoint, for the code', async () => {
    const bare = await bank.redeem(await bank.code(ann), { headers: { dpop: undefined } })
    expect([bare.status, bare.body.error]).toEqual([400, 'invalid_grant'])
    const code = await certBank.code(ann)
    const without = await certBank.redeem(code, { headers: { [CERTIFICATE_HEADER]: undefined } })
    expect([without.status, without.body.error]).toEqual([400, 'invalid_grant'])
    expect((await certBank.redeem(await certBank.code(ann))).status).toBe(200)
  })

  it('refresh-token: at the token endpoint, and the token stays', async () => {
    const { refresh } = await offline(bank)
    const bare = await bank.refresh(refresh, { headers: { dpop: undefined } })
    expect([bare.status, bare.body.error]).toEqual([400, 'invalid_grant'])
    const nameless = await bank.refresh(refresh, { fields: { client_assertion: undefined } })
    expect([400, 401]).toContain(nameless.status)
    // The client proves itself each time, so the token is no more than a name (§5.3.2.1).
    const first = await bank.refresh(refresh)
    const answers = [first, await bank.refresh(refresh), await bank.refresh(refresh)]
    for (const { status, body } of answers) {
      expect([status, body.refresh_token ?? refresh, body.token_type]).toEqual([200, refresh, 'DPoP'])
    }
    // In the hands of another client it is a stolen one, and nobody's any more (A62).
    const stolen = await client('other-bank').refresh(refresh)
    expect([stolen.status, stolen.body.error]).toEqual([400, 'invalid_grant'])
    expect((await bank.refresh(refresh)).status).toBe(400)
  })

  it('refresh-token, by certificate', async () => {
    const { refresh } = await offline(certBank)
    const without = await certBank.refresh(refresh, { headers: { [CERTIFICATE_HEADER]: undefined } })
    expect([without.status, without.body.error]).toEqual([400, 'invalid_grant'])
    expect((await certBank.refresh(refresh)).status).toBe(200)
  })
})
