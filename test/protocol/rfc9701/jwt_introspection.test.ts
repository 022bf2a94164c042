/** RFC 9701: introspection answers that are signed and encrypted, for opaque tokens and for JWTs alike. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { compactDecrypt, createRemoteJWKSet, jwtVerify } from 'jose'
import { createKey } from '../../support/client_keys.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { basic, clientRequests, headerOf, postForm, tokensOf } from '../../support/token_requests.ts'

const TYPE = 'application/token-introspection+jwt'
const LEDGER = 'https://ledger.test.example'
const key = createKey('enc')
const [shop] = SETTINGS.clients
const reader = (clientId: string, more: object) => ({
  ...{ client_id: clientId, client_secret: SECRET, grant_types: ['client_credentials'], scope: 'orders:read' },
  ...{ resource_server_for: [API, LEDGER], ...more },
})
const CLIENTS = [
  { ...shop, first_party: true, scope: 'openid orders:read ledger:read', resources: [API, LEDGER] },
  reader('plain', {}),
  reader('rs256', { introspection_signed_response_alg: 'RS256' }),
  reader('misfit', {
    introspection_encrypted_response_alg: 'RSA-OAEP-256',
    jwks: { keys: [{ ...key.jwk, use: 'enc' }] },
  }),
  reader('sealed', {
    introspection_encrypted_response_alg: 'ECDH-ES+A256KW',
    introspection_encrypted_response_enc: 'A256GCM',
    jwks: { keys: [{ ...key.jwk, use: 'enc' }] },
  }),
]

let server: Server
let ann: Person
let keySet: ReturnType<typeof createRemoteJWKSet>
const tokens: { [kind: string]: string } = {}

beforeAll(async () => {
  const resources = [
    ...SETTINGS.resources,
    { identifier: LEDGER, scopes: ['ledger:read'], access_token_format: 'opaque' },
  ]
  server = await startServer({
    settings: { ...SETTINGS, resources, clients: [...SETTINGS.clients.slice(1), ...CLIENTS] },
  })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  keySet = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
  const requests = clientRequests(server.issuer)
  for (const [kind, resource, scope] of [
    ['jwt', API, 'openid orders:read'],
    ['opaque', LEDGER, 'openid ledger:read'],
  ] as const) {
    const code = await ann.code('web', { scope, resource })
    tokens[kind] = tokensOf(await requests.redeem(code, { resource })).access
  }
})
afterAll(() => server.close())

const ask = (asker: string, token: string, accept?: string) =>
  postForm(`${server.issuer}/token/introspection`, { token }, { ...basic(asker), ...(accept && { accept }) })
const textOf = (body: object) => String((body as { text?: string }).text)
const KINDS = ['jwt', 'opaque'] as const

describe.each(KINDS)('of a token that is %s', (kind) => {
  const token = () => tokens[kind] ?? ''

  it('signed for who accepts it, JSON for everybody else (§4)', async () => {
    const json = await ask('plain', token())
    expect(json.headers.get('content-type')).toMatch(/^application\/json/)
    expect(json.body).toMatchObject({ active: true, client_id: 'web', iss: server.issuer })
    const signed = await ask('plain', token(), TYPE)
    expect(signed.headers.get('content-type')).toMatch(new RegExp(`^${TYPE.replace('+', '\\+')}`))
    const jwt = textOf(signed.body)
    expect(headerOf(jwt)).toMatchObject({ alg: 'ES256', typ: 'token-introspection+jwt' })
    const { payload } = await jwtVerify(jwt, keySet, { issuer: server.issuer, typ: 'token-introspection+jwt' })
    expect(payload.token_introspection).toEqual(json.body)
    expect(payload.iat).toEqual(expect.any(Number))
    // §5: neither sub nor exp of the answer itself, so that it is never taken for an access token.
    expect([payload.sub, payload.exp]).toEqual([undefined, undefined])
    expect([payload.aud].flat()).toContain('plain')
  })

  it('by the registered algorithm', async () => {
    const jwt = textOf((await ask('rs256', token(), TYPE)).body)
    expect(headerOf(jwt).alg).toBe('RS256')
    expect((await jwtVerify(jwt, keySet, { issuer: server.issuer })).payload.token_introspection).toMatchObject({
      active: true,
    })
  })

  it('sealed to who has said so, and never bare to them', async () => {
    const bare = await ask('sealed', token())
    expect([bare.status, bare.body.error]).toEqual([400, 'invalid_request'])
    const jwe = textOf((await ask('sealed', token(), TYPE)).body)
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, key.privateKey)
    expect(protectedHeader).toMatchObject({ alg: 'ECDH-ES+A256KW', enc: 'A256GCM' })
    const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keySet, { issuer: server.issuer })
    expect(payload.token_introspection).toMatchObject({ active: true, client_id: 'web' })
  })
})

it.each(KINDS)('who has no key that fits gets an error of the protocol, for a token that is %s', async (kind) => {
  const answer = await ask('misfit', tokens[kind] ?? '', TYPE)
  expect([answer.status, answer.body.error]).toEqual([400, 'invalid_client_metadata'])
})

it.each(['nonsense', 'a.b.c', ''])('what is no token (%j) is inactive under a signature too', async (token) => {
  const answer = await ask('plain', token, TYPE)
  if (token === '') return expect(answer.status).toBe(400)
  const { payload } = await jwtVerify(textOf(answer.body), keySet, { issuer: server.issuer })
  expect(payload.token_introspection).toEqual({ active: false })
})

it('A27: the answer is no access token', async () => {
  const jwt = textOf((await ask('plain', tokens.jwt ?? '', TYPE)).body)
  expect((await ask('plain', jwt)).body).toEqual({ active: false })
  expect((await fetch(`${server.issuer}/me`, { headers: { authorization: `Bearer ${jwt}` } })).status).toBe(401)
})
