/** RFC 9068, RFC 8707: JWT access tokens for resource servers, and the opaque ones for userinfo. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { API, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, headerOf, payloadOf, tokensOf } from '../../support/token_requests.ts'

let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

const machineFields = { grant_type: 'client_credentials', resource: API, scope: 'orders:read' }
const machineToken = async () => tokensOf(await client.token('machine', machineFields)).access
async function verify(token: string) {
  const jwks = (await (await fetch(`${server.issuer}/jwks`)).json()) as JSONWebKeySet
  return jwtVerify(token, createLocalJWKSet(jwks), { issuer: server.issuer, audience: API, typ: 'at+jwt' })
}

describe('a JWT access token', () => {
  it('of a machine has the members of §2.2 and lives five minutes', async () => {
    const token = await machineToken()
    const { payload, protectedHeader } = await verify(token)
    expect(protectedHeader).toMatchObject({ alg: 'ES256', typ: 'at+jwt', kid: expect.any(String) })
    expect(payload).toMatchObject({ aud: API, client_id: 'machine', sub: 'machine', scope: 'orders:read' })
    expect(payload.jti).toEqual(expect.any(String))
    expect(Number(payload.exp) - Number(payload.iat)).toBe(300)
    expect(payloadOf(await machineToken()).jti).not.toBe(payload.jti)
  })

  it('of a person names the person, and says nothing more of them', async () => {
    const code = await ann.code('spa', { scope: 'openid email orders:read', resource: API })
    const tokens = tokensOf(await client.redeem(code, { resource: API }))
    const { payload } = await verify(tokens.access)
    expect(payload).toMatchObject({ client_id: 'spa', sub: payloadOf(tokens.id).sub, scope: 'orders:read' })
    expect(Object.keys(payload)).not.toEqual(expect.arrayContaining(['email']))
    const renewed = tokensOf(await client.refresh('spa', tokens.refresh, { resource: API }))
    expect((await verify(renewed.access)).payload).toMatchObject({ scope: 'orders:read', aud: API })
  })

  it('is refused at userinfo, as an ID token is', async () => {
    const { id } = await ann.tokens('own')
    for (const token of [await machineToken(), id]) {
      const answer = await client.userinfo(token)
      expect([answer.status, answer.body.error]).toEqual([401, 'invalid_token'])
    }
  })

  it('verifies in no other spelling of its signed parts (A68)', async () => {
    const token = await machineToken()
    const body = token.slice(0, token.lastIndexOf('.'))
    for (const mutation of mutations(body, 100)) {
      await expect(verify(`${mutation}${token.slice(body.length)}`)).rejects.toThrow()
    }
    await verify(token)
  })

  it('is no ID token: types and audiences differ', async () => {
    const { id } = await ann.tokens('own')
    await expect(verify(id)).rejects.toThrow()
    expect(headerOf(id).typ).not.toBe('at+jwt')
  })
})

describe('a resource indicator (RFC 8707)', () => {
  it.each(['https://evil.example', 'urn:x', 'not a uri', `${API}/`, `${API}#part`])(
    '%s is not for a machine',
    async (resource) => {
      const answer = await client.token('machine', { ...machineFields, resource })
      expect([answer.status, answer.body.access_token]).toEqual([400, undefined])
      expect(['invalid_target', 'invalid_scope', 'invalid_request']).toContain(answer.body.error)
    },
  )

  it('that was not in the authorization request is refused at the token endpoint', async () => {
    const answer = await client.redeem(await ann.code('spa'), { resource: API })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_target'])
  })

  it('that a client may not use is refused', async () => {
    const end = await ann.authorize('other', { resource: API })
    expect(end.params.get('error')).toBe('invalid_target')
  })
})

describe('an opaque access token', () => {
  it('opens userinfo and has no structure', async () => {
    const { access, id } = await ann.tokens('own', { scope: 'openid email' })
    expect(access).not.toContain('.')
    expect((await client.userinfo(access)).body).toMatchObject({ sub: payloadOf(id).sub, email: ann.email })
  })

  it('is refused in the query, and with a challenge when it is bad', async () => {
    const { access } = await ann.tokens('own')
    expect((await fetch(`${server.issuer}/me?access_token=${access}`)).status).toBeGreaterThanOrEqual(400)
    const bad = await client.userinfo('bad')
    expect(bad.status).toBe(401)
    expect(bad.headers.get('www-authenticate')).toMatch(/^Bearer .*error="invalid_token"/)
    const none = await fetch(`${server.issuer}/me`)
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer /)
  })
})
