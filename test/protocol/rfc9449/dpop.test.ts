/** RFC 9449: tokens bound to a key. PROTOCOL.md E 36 in its basics; attacks A64 (replay) and A69 (forged proofs). */
import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../../support/canary.ts'
import { es256With, forgeries, jws } from '../../support/forged_jwts.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { answerOf, type ClientRequests, clientRequests, type TokenSet, tokensOf } from '../../support/token_requests.ts'

const mine = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const another = generateKeyPairSync('ec', { namedCurve: 'P-256' })

let server: Server
let canary: Canary
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  canary = await startCanary()
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(async () => {
  await server?.close()
  await canary?.stop()
})

type Claims = { readonly [claim: string]: unknown }
const now = () => Math.floor(Date.now() / 1000)
const headerFor = (keys = mine) => ({ alg: 'ES256', typ: 'dpop+jwt', jwk: keys.publicKey.export({ format: 'jwk' }) })
const claimsFor = (path: string, htm: string, more: Claims = {}): Claims => ({
  ...{ jti: randomUUID(), htm, htu: `${server.issuer}${path}`, iat: now(), ...more },
})
const proof = (more: Claims = {}, keys = mine, header: Claims = headerFor(keys)) =>
  jws(header, claimsFor('/token', 'POST', more), es256With(keys.privateKey))
const ath = (token: string) => createHash('sha256').update(token).digest('base64url')
const meProof = (token: string, more: Claims = {}, keys = mine) =>
  jws(headerFor(keys), claimsFor('/me', 'GET', { ath: ath(token), ...more }), es256With(keys.privateKey))

async function bound(clientId: string, parameters = {}): Promise<TokenSet> {
  const answer = await client.redeem(await ann.code(clientId, parameters), {}, clientId, { dpop: proof() })
  expect(answer.body.token_type).toBe('DPoP')
  return tokensOf(answer)
}

describe('a bound access token', () => {
  it('opens userinfo with a proof of its key alone', async () => {
    const { access } = await bound('own')
    const open = (value: string, scheme = 'DPoP') => client.userinfo(access, scheme, { dpop: value })
    expect((await open(meProof(access))).status).toBe(200)
    expect((await open(meProof(access, {}, another))).status).toBe(401)
    expect((await open(meProof(access), 'Bearer')).status).toBeGreaterThanOrEqual(400)
    expect((await client.userinfo(access, 'Bearer')).status).toBe(401)
    expect((await client.userinfo(access, 'DPoP')).status).toBeGreaterThanOrEqual(400)
  })

  it.each([
    ['another method', { htm: 'POST' }],
    ['another URL', { htu: 'https://evil.example/me' }],
    ['the token endpoint', { htu: 'path:/token' }],
    ['another token', { ath: ath('another') }],
    ['no token', { ath: undefined }],
    ['an old time', { iat: now() - 3600 }],
    ['a time to come', { iat: now() + 3600 }],
    ['a time in words', { iat: 'now' }],
    ['no time', { iat: undefined }],
    ['no jti', { jti: undefined }],
    ['a nonce that was not given', { nonce: 'made-up' }],
  ])('refuses a proof for %s', async (_name, more: Claims) => {
    const { access } = await bound('own')
    const changes = more.htu === 'path:/token' ? { htu: `${server.issuer}/token` } : more
    const answer = await client.userinfo(access, 'DPoP', { dpop: meProof(access, changes) })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
    expect(['invalid_dpop_proof', 'invalid_token', 'invalid_request', 'use_dpop_nonce']).toContain(answer.body.error)
    expect((await client.userinfo(access, 'DPoP', { dpop: meProof(access) })).status).toBe(200)
  })

  it('says its key at introspection', async () => {
    const { access } = await bound('own')
    expect((await client.introspect('own', access)).body).toMatchObject({
      ...{ active: true, token_type: 'DPoP', cnf: { jkt: expect.any(String) } },
    })
  })
})

describe('replay of a proof (A64)', () => {
  it('at the token endpoint is refused, one after the other and in parallel', async () => {
    const { refresh } = await bound('own', OFFLINE)
    const used = proof()
    expect((await client.refresh('own', refresh, {}, { dpop: used })).status).toBe(200)
    const again = await client.refresh('own', refresh, {}, { dpop: used })
    expect([again.status, again.body.error]).toEqual([400, 'invalid_grant'])

    const other = await bound('own', OFFLINE)
    const shared = proof()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => client.refresh('own', other.refresh, {}, { dpop: shared })),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })

  it('at userinfo is refused', async () => {
    const { access } = await bound('own')
    const used = meProof(access)
    const answers = await Promise.all(Array.from({ length: 10 }, () => client.userinfo(access, 'DPoP', { dpop: used })))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })
})

describe('a bound refresh token', () => {
  it('of a browser app needs the same key', async () => {
    const { refresh } = await bound('spa')
    for (const headers of [{}, { dpop: proof({}, another) }] as { [name: string]: string }[]) {
      const answer = await client.refresh('spa', refresh, {}, headers)
      expect([answer.status, answer.body.access_token]).toEqual([400, undefined])
      expect(['invalid_grant', 'invalid_dpop_proof', 'invalid_request']).toContain(answer.body.error)
    }
    const renewed = await client.refresh('spa', refresh, {}, { dpop: proof() })
    expect(renewed.body.token_type).toBe('DPoP')
    const thief = await client.refresh('spa', tokensOf(renewed).refresh, {}, { dpop: proof({}, another) })
    expect(thief.body.error).toBe('invalid_grant')
  })

  it('in its grace window needs the same key, too', async () => {
    const { refresh } = await bound('spa')
    const renewed = tokensOf(await client.refresh('spa', refresh, {}, { dpop: proof() }))
    expect((await client.refresh('spa', refresh, {}, { dpop: proof({}, another) })).status).toBe(400)
    expect((await client.refresh('spa', refresh)).status).toBe(400)
    const retried = tokensOf(await client.refresh('spa', refresh, {}, { dpop: proof() }))
    expect(retried.refresh).toBe(renewed.refresh)
  })
})

describe('a code bound by dpop_jkt (§10)', () => {
  it('is redeemed with that key alone', async () => {
    const { kty, crv, x, y } = mine.publicKey.export({ format: 'jwk' })
    const jkt = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
    const code = await ann.code('spa', { dpop_jkt: jkt })
    for (const headers of [{}, { dpop: proof({}, another) }] as { [name: string]: string }[]) {
      const wrong = await ann.code('spa', { dpop_jkt: jkt })
      const answer = await client.redeem(wrong, {}, 'spa', headers)
      expect([answer.status, answer.body.access_token]).toEqual([400, undefined])
    }
    expect((await client.redeem(code, {}, 'spa', { dpop: proof() })).status).toBe(200)
  })
})

it('forged proofs and 100 mutations are refused, and nothing is fetched (A68, A69)', async () => {
  const { refresh } = await bound('own', OFFLINE)
  const header = headerFor()
  const rows = forgeries({
    header,
    claims: claimsFor('/token', 'POST'),
    publicJwk: header.jwk,
    canary: canary.origin,
    // A proof brings its own key: what is forged about that is that it is private, symmetric or missing.
  }).filter(({ name }) => !/its own key/.test(name))
  const privateKey = mine.privateKey.export({ format: 'jwk' })
  const more = [
    ['with the private key', proof({}, mine, { ...header, jwk: privateKey })],
    ['without a key', proof({}, mine, { ...header, jwk: undefined })],
    ['with a symmetric key', proof({}, mine, { ...header, jwk: { kty: 'oct', k: 'AAAA' } })],
    ['of another type', proof({}, mine, { ...header, typ: 'JWT' })],
    ['without a type', proof({}, mine, { ...header, typ: undefined })],
    ...mutations(proof(), 100)
      .filter((text) => !/[^\x21-\x7e]/.test(text))
      .map((text) => [`mutation ${text.slice(-24)}`, text]),
  ].map(([name = '', jwt = '']) => ({ name, jwt }))
  const believed: string[] = []
  for (const { name, jwt } of [...rows, ...more]) {
    const answer = await client.refresh('own', refresh, {}, { dpop: jwt }).catch((error: Error) => error)
    if (answer instanceof Error || answer.status !== 400) {
      believed.push(`${name}: ${answer instanceof Error ? answer.message : answer.status}`)
    }
  }
  expect(believed).toEqual([])
  expect(canary.calls()).toBe(0)
  expect((await client.refresh('own', refresh, {}, { dpop: proof() })).status).toBe(200)
})

it('two proofs in one request are refused', async () => {
  const { refresh } = await bound('own', OFFLINE)
  const headers = new Headers({ authorization: '', dpop: proof() })
  headers.append('dpop', proof())
  headers.delete('authorization')
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh, client_id: 'own' })
  const answer = await answerOf(await fetch(`${server.issuer}/token`, { method: 'POST', headers, body }))
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(answer.status).toBeLessThan(500)
})
