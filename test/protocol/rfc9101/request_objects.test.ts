/** RFC 9101, OIDC Core §6.1: request objects of ordinary clients. PROTOCOL.md E 33 and 35; attacks A68, A69, A78. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../../support/canary.ts'
import { type Claims, createKey, seconds } from '../../support/client_keys.ts'
import { forgeries } from '../../support/forged_jwts.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { authorizationRequest, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { sample, sampleTitle } from '../../support/sample.ts'
import { type Server, startServer } from '../../support/server.ts'

const key = createKey('ec')
const ed = createKey('ed', 'EdDSA')
const foreign = createKey('ec')
const [, , own] = SETTINGS.clients
const signer = (clientId: string, more: object = {}) => ({
  ...{ ...own, client_id: clientId, jwks: { keys: [key.jwk, ed.jwk] } },
  ...{ redirect_uris: [redirectUri(clientId), `${redirectUri(clientId)}/second`], ...more },
})
const CLIENTS = [
  signer('signer'),
  signer('strict', { require_signed_request_object: true }),
  signer('only-ed', { request_object_signing_alg: 'EdDSA' }),
]

let server: Server
let canary: Canary
let ann: Person

beforeAll(async () => {
  canary = await startCanary()
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...CLIENTS] } })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(async () => {
  await server?.close()
  await canary?.stop()
})

function claimsOf(clientId: string, changes: Claims = {}): Claims {
  const { searchParams } = new URL(authorizationRequest(server.issuer, clientId, { state: 'signed' }).url)
  const envelope = { iss: clientId, aud: server.issuer, iat: seconds(), exp: seconds() + 300 }
  return { ...Object.fromEntries(searchParams), ...envelope, ...changes }
}

/** Opens a request by value, with what OIDC Core §6.1 wants beside it. */
function open(clientId: string, request: string, beside: { readonly [name: string]: string } = {}) {
  const needed = { client_id: clientId, response_type: 'code', scope: 'openid', request }
  return ann.browser.get(`${server.issuer}/auth?${new URLSearchParams({ ...needed, ...beside })}`)
}
const errorOf = (end: Awaited<ReturnType<typeof open>>) => {
  const shown = /invalid_request_object|invalid_request|request_not_supported/.exec(end.text)?.[0]
  return end.params.has('code') ? 'a code' : (end.params.get('error') ?? shown ?? end.url)
}

describe('a signed request', () => {
  it('is taken, by the algorithm of any of the keys', async () => {
    for (const by of [key, ed]) {
      const end = await open('signer', by.sign(claimsOf('signer'), { typ: 'oauth-authz-req+jwt' }))
      expect([end.params.get('state'), end.params.has('code')]).toEqual(['signed', true])
    }
  })

  it('oidcc-ensure-request-object-with-redirect-uri: what is signed wins', async () => {
    const request = key.sign(claimsOf('signer', { redirect_uri: `${redirectUri('signer')}/second` }))
    const end = await open('signer', request, { redirect_uri: redirectUri('signer'), state: 'beside', nonce: 'beside' })
    expect(end.url.startsWith(`${redirectUri('signer')}/second?`)).toBe(true)
    expect(end.params.get('state')).toBe('signed')
  })

  it('what stands beside alone is none of the request (§6.3)', async () => {
    const request = key.sign(claimsOf('signer', { state: undefined }))
    expect((await open('signer', request, { state: 'beside' })).params.get('state')).toBeNull()
  })

  it('is needed by a client that says so', async () => {
    const end = await ann.browser.get(authorizationRequest(server.issuer, 'strict').url)
    expect(errorOf(end)).toBe('invalid_request')
    expect(errorOf(await open('strict', key.sign(claimsOf('strict'))))).toBe('a code')
  })

  it('is by the registered algorithm alone', async () => {
    expect(errorOf(await open('only-ed', key.sign(claimsOf('only-ed'))))).toBe('invalid_request_object')
    expect(errorOf(await open('only-ed', ed.sign(claimsOf('only-ed'))))).toBe('a code')
  })

  it('of a client without keys is no request', async () => {
    expect(errorOf(await open('own', key.sign(claimsOf('own'))))).toBe('invalid_request_object')
  })
})

describe('is refused', () => {
  const bad: readonly (readonly [string, () => Claims, Claims?])[] = [
    ['of another client', () => ({ client_id: 'strict' })],
    ['issued by another', () => ({ iss: 'strict' })],
    ['without iss', () => ({ iss: undefined })],
    ['without aud', () => ({ aud: undefined })],
    ['for another issuer', () => ({ aud: 'https://other.example' })],
    ['expired', () => ({ exp: seconds() - 60 })],
    ['to come', () => ({ nbf: seconds() + 60 })],
    ['with another response_type than beside', () => ({ response_type: 'code token' })],
    ['with a request in it', () => ({ request: 'a.b.c' })],
    ['with a request_uri in it', () => ({ request_uri: 'urn:x:y' })],
    ['with the typ of a proof', () => ({}), { typ: 'dpop+jwt' }],
    ['with the typ of a logout token', () => ({}), { typ: 'logout+jwt' }],
    ['A78 with a list of redirect_uris', () => ({ redirect_uri: [redirectUri('signer'), 'https://evil.example/'] })],
    ['A78 with a list of scopes', () => ({ scope: ['openid', 'email'] })],
    ['A78 with an object for a state', () => ({ state: { a: 1 } })],
    ['with an unregistered redirect_uri', () => ({ redirect_uri: 'https://evil.example/' })],
  ]
  it.each(bad)('%s', async (_name, changes, header = {}) => {
    const end = await open('signer', key.sign(claimsOf('signer', changes()), header))
    expect(end.params.has('code') && typeof changes().state !== 'object').toBe(false)
    expect(end.url.startsWith('https://evil')).toBe(false)
    expect(end.status).toBeLessThan(500)
    expect(errorOf(await open('signer', key.sign(claimsOf('signer'))))).toBe('a code')
  })

  it('oidcc-unsigned-request-object-…-rejected-as-unsupported: alg none', async () => {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    for (const alg of ['none', 'None', 'HS256']) {
      const request = `${encode({ alg })}.${encode(claimsOf('signer'))}.`
      expect([alg, errorOf(await open('signer', request))]).toEqual([alg, 'invalid_request_object'])
    }
  })

  it('signed by somebody else, pushed or not', async () => {
    expect(errorOf(await open('signer', foreign.sign(claimsOf('signer'))))).toBe('invalid_request_object')
  })
})

describe(sampleTitle('A69: forged request objects, A68: mutations'), () => {
  it('none is believed, and nothing is fetched', async () => {
    const header = { alg: 'ES256', kid: 'ec', typ: 'oauth-authz-req+jwt' }
    const forged = forgeries({
      ...{ header, claims: claimsOf('signer'), publicJwk: key.jwk, canary: canary.origin },
      honest: (head, claims) => key.sign(claims, head),
    })
    const mutated = mutations(key.sign(claimsOf('signer'), header), 100).map((jwt) => ({ name: jwt.slice(-24), jwt }))
    const believed: string[] = []
    for (const { name, jwt } of [...forged, ...sample(mutated, { least: 30 })]) {
      const error = errorOf(await open('signer', jwt, { redirect_uri: redirectUri('signer') }))
      if (!/^invalid_request/.test(error)) believed.push(`${name}: ${error}`)
    }
    expect(believed).toEqual([])
    expect(canary.calls()).toBe(0)
    expect(errorOf(await open('signer', key.sign(claimsOf('signer'), header)))).toBe('a code')
  })
})
