/** OpenID Connect Core 1.0 §5.3.2, §10.2, §16.14: answers signed, and sealed to the key of the client. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { compactDecrypt, createRemoteJWKSet, jwtVerify } from 'jose'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import {
  answerOf,
  basic,
  type ClientRequests,
  clientRequests,
  headerOf,
  tokensOf,
} from '../../support/token_requests.ts'

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const jwks = (key: KeyObject) => ({ keys: [{ ...key.export({ format: 'jwk' }), use: 'enc', kid: 'enc' }] })
const [, , own] = SETTINGS.clients
const client = (clientId: string, more: object) => ({
  ...own,
  client_id: clientId,
  redirect_uris: [redirectUri(clientId)],
  ...more,
})
const CLIENTS = [
  client('rsa', {
    ...{ jwks: jwks(rsa.publicKey), id_token_signed_response_alg: 'RS256' },
    ...{ id_token_encrypted_response_alg: 'RSA-OAEP-256', id_token_encrypted_response_enc: 'A256GCM' },
    ...{ userinfo_signed_response_alg: 'ES256', userinfo_encrypted_response_alg: 'RSA-OAEP-256' },
  }),
  client('ecdh', {
    ...{ jwks: jwks(ec.publicKey), id_token_encrypted_response_alg: 'ECDH-ES' },
    ...{ userinfo_signed_response_alg: 'EdDSA', userinfo_encrypted_response_alg: 'ECDH-ES+A128KW' },
  }),
  client('signed', { userinfo_signed_response_alg: 'ES256' }),
  client('no-fitting-key', { jwks: jwks(ec.publicKey), id_token_encrypted_response_alg: 'RSA-OAEP-256' }),
]
const secrets: { readonly [id: string]: KeyObject } = { rsa: rsa.privateKey, ecdh: ec.privateKey }

let server: Server
let requests: ClientRequests
let ann: Person
let keySet: ReturnType<typeof createRemoteJWKSet>

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...CLIENTS] } })
  requests = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  keySet = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
})
afterAll(() => server.close())

/** Opens what is sealed, and checks who signed what is inside (§10.2: signed, then encrypted). */
async function unsealed(jwe: string, clientId: string) {
  expect(jwe.split('.')).toHaveLength(5)
  const { plaintext, protectedHeader } = await compactDecrypt(jwe, secrets[clientId] as KeyObject)
  const jwt = new TextDecoder().decode(plaintext)
  const { payload } = await jwtVerify(jwt, keySet, { issuer: server.issuer, audience: clientId })
  return { sealed: protectedHeader, signed: headerOf(jwt), payload }
}
const userinfo = async (access: string) =>
  answerOf(await fetch(`${server.issuer}/me`, { headers: { authorization: `Bearer ${access}` } }))

describe.each([
  ['rsa', 'RSA-OAEP-256', 'A256GCM', 'RS256', 'RSA-OAEP-256', 'ES256'],
  ['ecdh', 'ECDH-ES', 'A128CBC-HS256', 'ES256', 'ECDH-ES+A128KW', 'EdDSA'],
])('%s', (clientId, idAlg, idEnc, idSigned, meAlg, meSigned) => {
  it('ID token and userinfo are sealed to its key, and agree', async () => {
    const { id, access } = await ann.tokens(clientId, { scope: 'openid email' })
    const token = await unsealed(id, clientId)
    expect(token.sealed).toMatchObject({ alg: idAlg, enc: idEnc, kid: 'enc', cty: 'JWT' })
    expect(token.signed.alg).toBe(idSigned)
    expect(token.payload).toMatchObject({ nonce: 'the-nonce', aud: clientId })
    const me = await userinfo(access)
    expect(me.headers.get('content-type')).toMatch(/^application\/jwt/)
    const told = await unsealed(String(me.body.text), clientId)
    expect([told.sealed.alg, told.signed.alg]).toEqual([meAlg, meSigned])
    expect(told.payload).toMatchObject({ sub: token.payload.sub, email: ann.email, iss: server.issuer })
  })

  it('is sealed when it is renewed, too', async () => {
    const { refresh } = await ann.tokens(clientId, { scope: 'openid offline_access', prompt: 'consent' })
    const renewed = tokensOf(await requests.refresh(clientId, refresh, {}, basic(clientId)))
    expect((await unsealed(renewed.id, clientId)).payload.aud).toBe(clientId)
  })
})

it('signed userinfo is for the client (§5.3.2)', async () => {
  const { id, access } = await ann.tokens('signed', { scope: 'openid email' })
  const me = await userinfo(access)
  expect(me.headers.get('content-type')).toMatch(/^application\/jwt/)
  const { payload } = await jwtVerify(String(me.body.text), keySet, { issuer: server.issuer, audience: 'signed' })
  const { payload: token } = await jwtVerify(id, keySet)
  expect(payload).toMatchObject({ sub: token.sub, email: ann.email })
  expect((await userinfo(String(me.body.text))).status).toBe(401)
})

it('a client whose keys do not fit gets an error of the protocol, never a bare token', async () => {
  const answer = await requests.redeem(await ann.code('no-fitting-key'))
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(answer.status).toBeLessThan(500)
  expect(answer.body).not.toHaveProperty('id_token')
})
