/** RFC 6749 §4.1, RFC 9700 §4: codes. PROTOCOL.md E 24 to 27; attacks A62, A65, A68, on the embedded default. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { mutations } from '../../support/mutations.ts'
import { newPerson, OFFLINE, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, type Fields, postForm, tokensOf } from '../../support/token_requests.ts'

let server: Server
let client: ClientRequests
let ann: Person
let clock = 0

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

/** A minute, and what the clocks of instances may differ by. */
const EXPIRED = 161

async function later(seconds: number): Promise<void> {
  clock += seconds
  await server.shiftDate(clock)
}

const invalidGrant = { status: 400, body: { error: 'invalid_grant' } }

describe('single use (A65)', () => {
  it('a second use is refused and ends what the first one gave', async () => {
    const code = await ann.code('own', OFFLINE)
    const tokens = tokensOf(await client.redeem(code))
    expect((await client.userinfo(tokens.access)).status).toBe(200)
    expect(await client.redeem(code)).toMatchObject(invalidGrant)
    expect((await client.userinfo(tokens.access)).status).toBe(401)
    expect(await client.refresh('own', tokens.refresh)).toMatchObject(invalidGrant)
    expect((await client.introspect('own', tokens.access)).body).toEqual({ active: false })
    expect(await ann.signedIn()).toBe(true)
  })

  it('a second use is refused long after the code expired', async () => {
    const code = await ann.code('own', OFFLINE)
    const tokens = tokensOf(await client.redeem(code))
    await later(EXPIRED)
    expect(await client.redeem(code)).toMatchObject(invalidGrant)
    // An expired code is forgotten, so whoever finds one in a log cannot end anything with it either.
    expect((await client.refresh('own', tokens.refresh)).status).toBe(200)
  })

  it('of 20 parallel redemptions one succeeds, and its tokens die', async () => {
    const code = await ann.code('own', OFFLINE)
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.redeem(code)))
    const good = answers.filter(({ status }) => status === 200)
    expect(good).toHaveLength(1)
    for (const answer of answers) if (answer !== good[0]) expect(answer).toMatchObject(invalidGrant)
    const tokens = tokensOf(good[0] as (typeof good)[0])
    expect((await client.userinfo(tokens.access)).status).toBe(401)
    expect(await client.refresh('own', tokens.refresh)).toMatchObject(invalidGrant)
  })
})

describe('what a code is bound to', () => {
  it('its lifetime', async () => {
    const code = await ann.code('own')
    await later(EXPIRED)
    expect(await client.redeem(code)).toMatchObject(invalidGrant)
  })

  it.each(['other', 'spa'])('its client: refused for %s, and the grant is dead (A62)', async (thief) => {
    const code = await ann.code('own', OFFLINE)
    const earlier = tokensOf(await client.redeem(await ann.code('own')))
    expect(await client.redeem(code, {}, thief)).toMatchObject(invalidGrant)
    expect(await client.redeem(code)).toMatchObject(invalidGrant)
    // The code was of the grant that the session holds for this client.
    expect((await client.userinfo(earlier.access)).status).toBe(401)
    expect(await ann.signedIn()).toBe(true)
  })

  it.each([
    ['no secret', { client_id: 'own' }, {}],
    ['an empty secret', { client_id: 'own', client_secret: '' }, {}],
    ['a blank secret', { client_id: 'own', client_secret: ' ' }, {}],
    ['an empty secret in the header', {}, { authorization: `Basic ${btoa('own:')}` }],
    ['a blank secret in the header', {}, { authorization: `Basic ${btoa('own:%20')}` }],
    ['the name of the public client', { client_id: 'spa', client_secret: '' }, {}],
  ])('its client: refused with %s (A62)', async (_name, fields: Fields, headers: { [name: string]: string }) => {
    const { code, verifier, redirectUri } = await ann.code('own')
    const answer = await postForm(
      `${server.issuer}/token`,
      { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: redirectUri, ...fields },
      headers,
    )
    expect([400, 401]).toContain(answer.status)
    expect(['invalid_client', 'invalid_request', 'invalid_grant']).toContain(answer.body.error)
    expect(answer.body).not.toHaveProperty('access_token')
  })

  it.each([
    ['another', 'https://own.test.example/other'],
    ['a longer', 'https://own.test.example/callback/'],
    ['the same with a query', 'https://own.test.example/callback?x=1'],
    ["another client's", 'https://web.test.example/callback'],
    ['the same in capitals', 'https://OWN.test.example/callback'],
  ])('its redirect URI: %s one is refused', async (_name, redirect) => {
    const code = await ann.code('own')
    expect(await client.redeem(code, { redirect_uri: redirect })).toMatchObject(invalidGrant)
    expect((await client.redeem(code)).status).toBe(200)
  })

  it('its redirect URI: none is refused', async () => {
    const answer = await client.redeem(await ann.code('own'), { redirect_uri: undefined })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  })

  it('its session: dead after sign-out everywhere', async () => {
    const bob = await newPerson(server.issuer, mailFolder(server.dataDir), 'bob@example.com')
    const code = await bob.code('own')
    expect(await server.run('accounts', 'end-sessions', 'bob@example.com')).toMatchObject({ code: 0 })
    expect(await client.redeem(code)).toMatchObject(invalidGrant)
  })
})

describe('what a code is not', () => {
  it('anything but itself: 100 mutations are refused (A68)', async () => {
    const code = await ann.code('own')
    for (const mutation of mutations(code.code, 100)) {
      const answer = await client.redeem(code, { code: mutation })
      expect([answer.status, mutation, answer.body.access_token]).toEqual([400, mutation, undefined])
    }
    expect((await client.redeem(code)).status).toBe(200)
  })

  it('a token of another kind', async () => {
    const tokens = await ann.tokens('own', OFFLINE)
    const code = await ann.code('own')
    for (const other of [tokens.access, tokens.refresh, tokens.id]) {
      expect(await client.redeem(code, { code: other })).toMatchObject(invalidGrant)
    }
    expect(await client.refresh('own', code.code)).toMatchObject(invalidGrant)
    expect((await client.userinfo(code.code)).status).toBe(401)
    expect((await client.introspect('own', code.code)).body).toEqual({ active: false })
  })
})

describe('the answer', () => {
  it('is not to be stored, and a client without offline_access gets no refresh token', async () => {
    const answer = await client.redeem(await ann.code('own'))
    expect(answer.headers.get('cache-control')).toContain('no-store')
    expect(answer.body).not.toHaveProperty('refresh_token')
    expect(answer.body).toMatchObject({ token_type: 'Bearer', expires_in: 3600, scope: 'openid' })
  })

  it('refuses a code in the query and a grant type of its own making', async () => {
    const code = await ann.code('spa')
    const query = new URLSearchParams({ grant_type: 'authorization_code', code: code.code, client_id: 'spa' })
    expect((await postForm(`${server.issuer}/token?${query}`, {})).body.error).toBe('invalid_request')
    expect((await client.redeem(code, { grant_type: 'password' })).body.error).toBe('unsupported_grant_type')
    expect((await fetch(`${server.issuer}/token?${query}`)).status).toBeGreaterThanOrEqual(400)
    expect((await client.redeem(code)).status).toBe(200)
  })
})
