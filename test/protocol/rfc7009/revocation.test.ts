/** RFC 7009: token revocation. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { API, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { basic, type ClientRequests, clientRequests, postForm, tokensOf } from '../../support/token_requests.ts'

let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

const invalidGrant = { status: 400, body: { error: 'invalid_grant' } }

describe('revoking', () => {
  it.each([undefined, 'refresh_token', 'access_token', 'something_else'])(
    'a refresh token (hint %s) ends the whole family',
    async (hint) => {
      const tokens = await ann.tokens('own', OFFLINE)
      const renewed = tokensOf(await client.refresh('own', tokens.refresh))
      expect((await client.revoke('own', renewed.refresh, hint)).status).toBe(200)
      expect(await client.refresh('own', renewed.refresh)).toMatchObject(invalidGrant)
      expect(await client.refresh('own', tokens.refresh)).toMatchObject(invalidGrant)
      for (const access of [tokens.access, renewed.access]) {
        expect((await client.userinfo(access)).status).toBe(401)
        expect((await client.introspect('own', access)).body).toEqual({ active: false })
      }
      expect(await ann.signedIn()).toBe(true)
    },
  )

  it('an access token ends that token and no more', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    expect((await client.revoke('own', tokens.access)).status).toBe(200)
    expect((await client.userinfo(tokens.access)).status).toBe(401)
    expect((await client.introspect('own', tokens.access)).body).toEqual({ active: false })
    const renewed = tokensOf(await client.refresh('own', tokens.refresh))
    expect((await client.userinfo(renewed.access)).status).toBe(200)
  })

  it("a browser app's token works with its id alone", async () => {
    const tokens = await ann.tokens('spa')
    expect((await client.revoke('spa', tokens.refresh)).status).toBe(200)
    expect(await client.refresh('spa', tokens.refresh)).toMatchObject(invalidGrant)
  })

  it('is answered without content, and so without a type', async () => {
    const { refresh } = await ann.tokens('spa')
    const body = new URLSearchParams({ client_id: 'spa', token: String(refresh) })
    const answer = await fetch(`${server.issuer}/token/revocation`, { method: 'POST', body })
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([200, null, ''])
  })

  it('the rotated predecessor ends the family too', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    const renewed = tokensOf(await client.refresh('own', tokens.refresh))
    expect((await client.revoke('own', tokens.refresh)).status).toBe(200)
    expect(await client.refresh('own', renewed.refresh)).toMatchObject(invalidGrant)
  })

  it('twice, or what never was, is 200 with an empty body (§2.2)', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    for (const token of [refresh, refresh, 'never-was', `${'x'.repeat(500)}`]) {
      const answer = await client.revoke('own', token)
      expect([answer.status, answer.body]).toEqual([200, { text: '' }])
    }
  })
})

describe('it does not happen', () => {
  it.each(['other', 'spa'])('for another client: %s', async (thief) => {
    const tokens = await ann.tokens('own', OFFLINE)
    for (const token of [tokens.refresh, tokens.access]) {
      const answer = await client.revoke(thief, token)
      expect([200, 400, 401]).toContain(answer.status)
    }
    expect((await client.userinfo(tokens.access)).status).toBe(200)
    expect((await client.refresh('own', tokens.refresh)).status).toBe(200)
  })

  it('without authentication', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    for (const headers of [{}, basic('own', 'wrong')]) {
      const answer = await postForm(`${server.issuer}/token/revocation`, { token: refresh, client_id: 'own' }, headers)
      expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
    }
    expect((await client.refresh('own', refresh)).status).toBe(200)
  })

  it('for a token that is almost the one (A68)', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    for (const mutation of mutations(refresh, 100)) await client.revoke('own', mutation)
    expect((await client.refresh('own', refresh)).status).toBe(200)
  })

  it('by GET, or without a token', async () => {
    const { refresh } = await ann.tokens('own', OFFLINE)
    const url = `${server.issuer}/token/revocation?token=${refresh}`
    expect((await fetch(url, { headers: basic('own') })).status).toBeGreaterThanOrEqual(400)
    expect((await postForm(url, {}, basic('own'))).body.error).toBe('invalid_request')
    expect((await client.refresh('own', refresh)).status).toBe(200)
  })

  it('for a JWT access token, which says so (§2.2.1)', async () => {
    const fields = { grant_type: 'client_credentials', resource: API, scope: 'orders:read' }
    const { access } = tokensOf(await client.token('machine', fields))
    const answer = await client.revoke('machine', access)
    expect([answer.status, answer.body.error]).toEqual([400, 'unsupported_token_type'])
  })
})
