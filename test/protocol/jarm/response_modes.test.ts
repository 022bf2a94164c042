/** JWT Secured Authorization Response Mode (JARM), for ordinary clients: asked for, signed, and encrypted where they say so. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { compactDecrypt, createRemoteJWKSet, jwtVerify } from 'jose'
import { createKey, seconds } from '../../support/client_keys.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { basic, type Fields, headerOf, payloadOf, postForm } from '../../support/token_requests.ts'

const key = createKey('enc')
const [, , own] = SETTINGS.clients
const client = (clientId: string, more: object) => ({
  ...own,
  client_id: clientId,
  redirect_uris: [redirectUri(clientId)],
  ...more,
})
const CLIENTS = [
  client('rs256', { authorization_signed_response_alg: 'RS256' }),
  client('jarm-only', { response_modes: ['jwt', 'form_post.jwt'] }),
  client('sealed', { authorization_encrypted_response_alg: 'ECDH-ES', jwks: { keys: [{ ...key.jwk, use: 'enc' }] } }),
]

let server: Server
let ann: Person
let keySet: ReturnType<typeof createRemoteJWKSet>

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...CLIENTS] } })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  keySet = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
})
afterAll(() => server.close())

const open = (clientId: string, changes: Fields = {}, browser = ann.browser) =>
  browser.get(authorizationRequest(server.issuer, clientId, { response_mode: 'jwt', ...changes }).url)
const verified = async (jwt: string | null, clientId: string) =>
  (await jwtVerify(jwt ?? '', keySet, { issuer: server.issuer, audience: clientId })).payload

describe('a response that was asked for as a JWT', () => {
  it.each([
    ['jwt', '?'],
    ['query.jwt', '?'],
    ['fragment.jwt', '#'],
  ])('%s: one parameter, signed, short-lived, for the client', async (mode, by) => {
    const end = await open('own', { response_mode: mode })
    expect(end.url.startsWith(`${redirectUri('own')}${by}response=`)).toBe(true)
    expect([...end.params.keys()]).toEqual(['response'])
    const said = await verified(end.params.get('response'), 'own')
    expect(said).toMatchObject({ iss: server.issuer, aud: 'own', state: 'the-state', code: expect.any(String) })
    expect(said.exp).toBeLessThanOrEqual(seconds() + 600)
    await expect(verified(end.params.get('response'), 'web')).rejects.toThrow('aud')
  })

  it('form_post.jwt', async () => {
    const page = await open('own', { response_mode: 'form_post.jwt' })
    const field = page.forms[0]?.fields.find(({ name }) => name === 'response')
    expect([page.forms[0]?.action, page.forms[0]?.method]).toEqual([redirectUri('own'), 'post'])
    expect(await verified(field?.value ?? null, 'own')).toHaveProperty('code')
  })

  it('carries a code that is good', async () => {
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { response_mode: 'jwt' })
    const { code } = payloadOf((await ann.browser.get(url)).params.get('response') ?? '')
    const fields = { grant_type: 'authorization_code', code: String(code), code_verifier: verifier }
    const answer = await postForm(
      `${server.issuer}/token`,
      { ...fields, redirect_uri: redirectUri('own') },
      basic('own'),
    )
    expect(answer.status).toBe(200)
  })

  it.each([
    ['nobody is signed in', { prompt: 'none' }, 'login_required', clientBrowser],
    ['the request is a bad one', { prompt: 'none login' }, 'invalid_request', undefined],
    ['PKCE is missing', { code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request', undefined],
  ])('is signed too when %s', async (_name, changes: Fields, error, browser) => {
    const end = await open('own', changes, browser?.())
    expect([...end.params.keys()]).toEqual(['response'])
    expect(await verified(end.params.get('response'), 'own')).toMatchObject({ error, state: 'the-state' })
  })

  it('authorization_signed_response_alg: RS256', async () => {
    const jwt = (await open('rs256')).params.get('response')
    expect(headerOf(jwt ?? '').alg).toBe('RS256')
    expect(await verified(jwt, 'rs256')).toHaveProperty('code')
  })

  it('response_modes: a client that names them gets no other', async () => {
    expect((await open('jarm-only')).params.has('response')).toBe(true)
    for (const mode of ['query', 'fragment', 'query.jwt', undefined]) {
      const end = await open('jarm-only', { response_mode: mode })
      expect([mode, end.params.has('code')]).toEqual([mode, false])
      const said = end.params.get('response')
      const error = said === null ? (end.params.get('error') ?? end.text) : payloadOf(said).error
      expect(String(error)).toMatch(/invalid_request|unsupported_response_mode/)
    }
  })

  it('a mode that is none is refused', async () => {
    const end = await open('own', { response_mode: 'web_message.jwt' })
    expect([end.params.has('code'), end.params.has('response')]).toEqual([false, false])
    expect(`${end.params.get('error')} ${end.text}`).toMatch(/unsupported_response_mode|invalid_request/)
  })
})

it('authorization_encrypted_response_alg: sealed to the key of the client, signed within', async () => {
  const jwe = (await open('sealed')).params.get('response') ?? ''
  expect(jwe.split('.')).toHaveLength(5)
  const { plaintext, protectedHeader } = await compactDecrypt(jwe, key.privateKey)
  expect(protectedHeader).toMatchObject({ alg: 'ECDH-ES', enc: 'A128CBC-HS256' })
  expect(await verified(new TextDecoder().decode(plaintext), 'sealed')).toHaveProperty('code')
})

it('A27: a signed response is none of the tokens that we take back', async () => {
  const jwt = (await open('own')).params.get('response') ?? ''
  const hint = await open('own', { response_mode: undefined, prompt: 'none', id_token_hint: jwt })
  expect(hint.params.get('error')).toBe('invalid_request')
  const me = await fetch(`${server.issuer}/me`, { headers: { authorization: `Bearer ${jwt}` } })
  expect(me.status).toBe(401)
  const told = await postForm(`${server.issuer}/token/introspection`, { token: jwt }, basic('own'))
  expect(told.body).toEqual({ active: false })
  const logout = await ann.browser.get(`${server.issuer}/session/end?${new URLSearchParams({ id_token_hint: jwt })}`)
  expect(logout.status).toBe(400)
})
