/** OIDC Core §5.3 and RFC 6750: the userinfo endpoint. PROTOCOL.md E 32. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import {
  answerOf,
  type ClientRequests,
  clientRequests,
  payloadOf,
  postForm,
  type TokenSet,
  tokensOf,
} from '../../support/token_requests.ts'

let server: Server
let client: ClientRequests
let ann: Person
let tokens: TokenSet

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  tokens = await ann.tokens('own', { scope: 'openid email' })
})
afterAll(() => server.close())

const me = () => `${server.issuer}/me`
const bearer = () => ({ authorization: `Bearer ${tokens.access}` })

function expectRefused(answer: Awaited<ReturnType<typeof postForm>>, error: string, status = 401) {
  expect(answer.status).toBe(status)
  expect(answer.headers.get('www-authenticate')).toMatch(new RegExp(`^Bearer realm="[^"]+".*error="${error}"`))
  expect(answer.body.error).toBe(error)
  expect(JSON.stringify(answer.body)).not.toContain('ann@example.com')
}

describe('the three ways to bring a token', () => {
  it.each(['get', 'post_header', 'post_body'])('oidcc-userinfo-%s', async (way) => {
    const answer =
      way === 'get'
        ? await client.userinfo(tokens.access)
        : await postForm(
            me(),
            way === 'post_body' ? { access_token: tokens.access } : {},
            way === 'post_body' ? {} : bearer(),
          )
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
    expect(answer.headers.get('cache-control')).toContain('no-store')
    expect(answer.body).toEqual({ sub: payloadOf(tokens.id).sub, email: 'ann@example.com', email_verified: true })
  })

  it('the scheme is case-insensitive (RFC 9110 §11.1)', async () => {
    expect((await client.userinfo(tokens.access, 'bearer')).status).toBe(200)
  })
})

describe('what is refused', () => {
  it('a token in the query, where logs would keep it', async () => {
    const answer = await answerOf(await fetch(`${me()}?access_token=${tokens.access}`))
    expect(answer.status).toBe(400)
    expect(answer.body.error).toBe('invalid_request')
  })

  it('no token at all: a challenge without an error code (RFC 6750 §3)', async () => {
    const answer = await answerOf(await fetch(me()))
    expect([400, 401]).toContain(answer.status)
    expect(answer.headers.get('www-authenticate') ?? '').toMatch(/^Bearer/)
  })

  it('two tokens at once, header and body', async () => {
    const answer = await postForm(me(), { access_token: tokens.access }, bearer())
    expect(answer.status).toBe(400)
    expect(answer.body.error).toBe('invalid_request')
  })

  it.each([
    ['unknown', 'x'.repeat(43)],
    ['empty words', 'null'],
    ['long', 'y'.repeat(5000)],
  ])('a token that is %s', async (_name, token) => {
    expectRefused(await client.userinfo(token), 'invalid_token')
  })

  it('an ID token or a refresh token in place of an access token', async () => {
    expectRefused(await client.userinfo(tokens.id), 'invalid_token')
    const { refresh } = await ann.tokens('own', { scope: 'openid offline_access', prompt: 'consent' })
    expectRefused(await client.userinfo(refresh), 'invalid_token')
  })

  it('a token without the scope openid', async () => {
    const bare = await ann.tokens('own', { scope: 'email', nonce: undefined })
    expectRefused(await client.userinfo(bare.access), 'insufficient_scope', 403)
  })

  it('a token for another audience, or of a machine', async () => {
    const scope = 'openid orders:read'
    const other = await ann.tokens('spa', { scope, resource: API })
    expect((await client.userinfo(other.access)).status).toBe(401)
    const machine = tokensOf(await client.token('machine', { grant_type: 'client_credentials', resource: API }))
    expect((await client.userinfo(machine.access)).status).toBe(401)
  })

  it('Basic, DPoP and nonsense in Authorization', async () => {
    for (const scheme of ['Basic', 'Token', '']) {
      const { status } = await client.userinfo(tokens.access, scheme)
      expect([400, 401]).toContain(status)
    }
  })

  it.each(['application/json', 'text/plain', 'multipart/form-data; boundary=x'])('a body of type %s', async (type) => {
    const body = JSON.stringify({ access_token: tokens.access })
    const answer = await answerOf(await fetch(me(), { method: 'POST', body, headers: { 'content-type': type } }))
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
  })

  it('a revoked token', async () => {
    const { access } = await ann.tokens('own')
    expect((await client.userinfo(access)).status).toBe(200)
    expect((await client.revoke('own', access)).status).toBe(200)
    expectRefused(await client.userinfo(access), 'invalid_token')
    expect((await client.userinfo(tokens.access)).status).toBe(200)
  })

  it('an expired token', async () => {
    const { access } = await ann.tokens('own')
    await server.shiftDate(3590)
    expect((await client.userinfo(access)).status).toBe(200)
    await server.shiftDate(3700)
    expectRefused(await client.userinfo(access), 'invalid_token')
    await server.shiftDate(0)
  })

  it('a token of a session that has been signed out of', async () => {
    const other = await ann.elsewhere()
    const { access } = await other.tokens('own')
    expect((await client.userinfo(access)).status).toBe(200)
    const page = await other.browser.get(`${server.issuer}/session/end`)
    await other.browser.submit(page, {}, { button: 'yes' })
    expectRefused(await client.userinfo(access), 'invalid_token')
    expect((await client.userinfo((await ann.tokens('own')).access)).status).toBe(200)
  })
})
