/** RFC 7523 §3, OIDC Core §9: `private_key_jwt`. PROTOCOL.md E 29; attacks A64 (replay) and A69 (forged assertions). */
import { generateKeyPairSync, sign as signWith } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Canary, startCanary } from '../../support/canary.ts'
import { es256With, forgeries, jws } from '../../support/forged_jwts.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mutations } from '../../support/mutations.ts'
import { type Server, startServer } from '../../support/server.ts'
import { basic, type Fields, postForm } from '../../support/token_requests.ts'

const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ed = generateKeyPairSync('ed25519')
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const publicJwk = { ...ec.publicKey.export({ format: 'jwk' }), kid: 'ec', alg: 'ES256' }
const machine = { grant_types: ['client_credentials'], scope: 'orders:read', resources: [API] }
const keyed = {
  ...machine,
  client_id: 'keyed',
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: {
    keys: [
      publicJwk,
      { ...ed.publicKey.export({ format: 'jwk' }), kid: 'ed', alg: 'EdDSA' },
      { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa' },
    ],
  },
}
const strict = { ...keyed, client_id: 'strict', token_endpoint_auth_signing_alg: 'PS256' }

let server: Server
let canary: Canary
let count = 0

beforeAll(async () => {
  canary = await startCanary()
  const remote = {
    ...machine,
    client_id: 'remote',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks_uri: 'https://keys.invalid/jwks',
  }
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, keyed, strict, remote] } })
})
afterAll(async () => {
  await server?.close()
  await canary?.stop()
})

type Claims = { readonly [claim: string]: unknown }
const now = () => Math.floor(Date.now() / 1000)
const claims = (clientId = 'keyed'): Claims => ({
  iss: clientId,
  sub: clientId,
  aud: server.issuer,
  jti: `assertion-${++count}`,
  iat: now(),
  exp: now() + 60,
})
const header = { alg: 'ES256', kid: 'ec', typ: 'JWT' }
const signed = (changes: Claims = {}, head: Claims = header) =>
  jws(head, { ...claims(), ...changes }, es256With(ec.privateKey))

const present = (assertion: string, changes: Fields = {}, headers: { [name: string]: string } = {}) =>
  postForm(
    `${server.issuer}/token`,
    {
      ...{ grant_type: 'client_credentials', resource: API, scope: 'orders:read' },
      ...{ client_assertion_type: TYPE, client_assertion: assertion, ...changes },
    },
    headers,
  )
const refused = { status: 401, body: { error: 'invalid_client' } }

describe('a good assertion', () => {
  it('is taken, also with EdDSA, and without a kid', async () => {
    expect((await present(signed())).status).toBe(200)
    expect((await present(signed({}, { alg: 'ES256' }))).status).toBe(200)
    const eddsa = jws({ alg: 'EdDSA', kid: 'ed' }, claims(), (data) => signWith(null, data, ed.privateKey))
    expect((await present(eddsa)).status).toBe(200)
    expect((await present(signed(), { client_id: 'keyed' })).status).toBe(200)
    expect((await present(signed({ aud: [server.issuer] }))).status).toBe(200)
    expect((await present(signed({ aud: `${server.issuer}/token` }))).status).toBe(200)
  })

  it('is taken at revocation and introspection too', async () => {
    for (const path of ['/token/introspection', '/token/revocation']) {
      const fields = { client_assertion_type: TYPE, client_assertion: signed(), token: 'unknown' }
      expect((await postForm(`${server.issuer}${path}`, fields)).status).toBe(200)
    }
  })
})

describe('a claim', () => {
  const bad: readonly (readonly [string, () => Claims])[] = [
    ['aud of another issuer', () => ({ aud: 'https://evil.example' })],
    ['aud with another issuer beside ours', () => ({ aud: [server.issuer, 'https://evil.example'] })],
    ['aud of another endpoint', () => ({ aud: `${server.issuer}/token/introspection` })],
    ['aud of the authorization endpoint', () => ({ aud: `${server.issuer}/auth` })],
    ['aud with a longer path', () => ({ aud: `${server.issuer}/` })],
    ['aud empty', () => ({ aud: [] })],
    ['aud missing', () => ({ aud: undefined })],
    ['exp in the past', () => ({ exp: now() - 60 })],
    ['exp missing', () => ({ exp: undefined })],
    ['exp 0', () => ({ exp: 0 })],
    ['exp as a string', () => ({ exp: String(now() + 60) })],
    ['nbf in an hour', () => ({ nbf: now() + 3600 })],
    ['iat in an hour, without exp', () => ({ iat: now() + 3600, exp: undefined })],
    ['jti missing', () => ({ jti: undefined })],
    ['jti as a number', () => ({ jti: 7 })],
    ['jti empty', () => ({ jti: '' })],
    ['iss missing', () => ({ iss: undefined })],
    ['iss of another client', () => ({ iss: 'strict' })],
    ['sub missing', () => ({ sub: undefined })],
    ['sub of another client', () => ({ sub: 'strict' })],
    ['sub of a client with a secret', () => ({ sub: 'machine', iss: 'machine' })],
    ['sub of a public client', () => ({ sub: 'spa', iss: 'spa' })],
  ]
  it.each(bad)('%s is refused', async (_name, changes) => {
    const answer = await present(signed(changes()))
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
  })
})

describe('the algorithm', () => {
  const rsaSigned = (alg: string, clientId: string) =>
    jws({ alg, kid: 'rsa' }, claims(clientId), (data) =>
      signWith('sha256', data, alg === 'PS256' ? { key: rsa.privateKey, padding: 6, saltLength: 32 } : rsa.privateKey),
    )
  it('RS256 is refused where PS256 is registered', async () => {
    expect(await present(rsaSigned('RS256', 'strict'))).toMatchObject(refused)
    expect((await present(rsaSigned('PS256', 'strict'))).status).toBe(200)
    expect(await present(jws(header, claims('strict'), es256With(ec.privateKey)))).toMatchObject(refused)
  })

  it('of the header is not that of the key', async () => {
    const swapped = jws({ alg: 'EdDSA', kid: 'ec' }, claims(), es256With(ec.privateKey))
    expect(await present(swapped)).toMatchObject(refused)
  })
})

describe('replay (A64)', () => {
  it('the second use is refused', async () => {
    const assertion = signed()
    expect((await present(assertion)).status).toBe(200)
    expect(await present(assertion)).toMatchObject(refused)
  })

  it('another signature under the same jti is refused, the same jti of another client is not', async () => {
    const jti = 'shared-jti'
    expect((await present(signed({ jti }))).status).toBe(200)
    expect(await present(signed({ jti, iat: now() - 1 }))).toMatchObject(refused)
    const other = jws({ alg: 'PS256', kid: 'rsa' }, { ...claims('strict'), jti }, (data) =>
      signWith('sha256', data, { key: rsa.privateKey, padding: 6, saltLength: 32 }),
    )
    expect((await present(other)).status).toBe(200)
  })

  it('of 20 parallel uses one succeeds', async () => {
    const assertion = signed()
    const answers = await Promise.all(Array.from({ length: 20 }, () => present(assertion)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(19)
  })
})

describe('beside other proofs', () => {
  it.each([
    ['a secret', { client_secret: SECRET }, {}],
    ['a header', {}, basic('machine')],
    ['the id of another client', { client_id: 'machine' }, {}],
    ['another type', { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' }, {}],
    ['no type', { client_assertion_type: undefined }, {}],
  ])('%s: refused', async (_name, fields: Fields, headers: { [name: string]: string }) => {
    const answer = await present(signed(), fields, headers)
    expect([400, 401]).toContain(answer.status)
    expect(['invalid_request', 'invalid_client']).toContain(answer.body.error)
  })

  it('a client with keys has no secret', async () => {
    for (const secret of ['', SECRET, 'stored hashed', 'undefined']) {
      const answer = await postForm(
        `${server.issuer}/token`,
        { grant_type: 'client_credentials' },
        basic('keyed', secret),
      )
      expect([400, 401]).toContain(answer.status)
      expect(answer.body).not.toHaveProperty('access_token')
    }
  })

  it('keys that cannot be fetched are a refusal', async () => {
    const assertion = jws(header, claims('remote'), es256With(ec.privateKey))
    const answer = await present(assertion)
    expect([400, 401, 503]).toContain(answer.status)
    expect(answer.body).not.toHaveProperty('access_token')
  })
})

it('forged assertions are refused, and nothing is fetched (A69)', async () => {
  const make = () =>
    forgeries({
      header,
      claims: claims(),
      publicJwk,
      honest: (head, body) => jws(head, body, es256With(ec.privateKey)),
      canary: canary.origin,
    })
  const rows = make().length
  const believed: string[] = []
  for (let row = 0; row < rows; row++) {
    // A new jti each time: none is refused for replay alone.
    const { name, jwt } = make()[row] as { name: string; jwt: string }
    const answer = await present(jwt)
    const error = String(answer.body.error)
    if (![400, 401].includes(answer.status) || !/^invalid_(client|request)$/.test(error)) {
      believed.push(`${name}: ${answer.status} ${error}`)
    }
  }
  expect(believed).toEqual([])
  expect(canary.calls()).toBe(0)
  expect((await present(signed())).status).toBe(200)
})

it('100 mutations of a good assertion are refused (A68)', async () => {
  const good = signed()
  for (const mutation of mutations(good, 100)) {
    const answer = await present(mutation)
    expect([mutation, answer.body.access_token]).toEqual([mutation, undefined])
    expect([400, 401]).toContain(answer.status)
  }
  expect((await present(good)).status).toBe(200)
})
