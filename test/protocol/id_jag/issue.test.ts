/**
 * draft-ietf-oauth-identity-assertion-authz-grant-04 §4.3: our word to another authorization server about a person who has
 * signed in to the client that asks.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { dpopKey } from '../../support/dpop_key.ts'
import { ACCESS_TOKEN, ID_JAG, ID_TOKEN, REFRESH_TOKEN, TOKEN_EXCHANGE } from '../../support/exchange_room.ts'
import { SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { newPerson, OFFLINE, type Person, redirectUri } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, type Fields, payloadOf, tokensOf } from '../../support/token_requests.ts'

const CHAT = 'https://chat.elsewhere.example'
const CHAT_API = 'https://api.chat.elsewhere.example'
const MAIL = 'https://mail.elsewhere.example/'
const shop = (client_id: string, more: object) => ({
  ...{ client_id, client_secret: SECRET, first_party: true, redirect_uris: [redirectUri(client_id)] },
  ...{ scope: 'openid email offline_access' },
  ...more,
})
const grant_types = ['authorization_code', 'refresh_token', TOKEN_EXCHANGE]
const settings = {
  ...SETTINGS,
  clients: [
    ...SETTINGS.clients.filter(({ client_id }) => client_id === 'own'),
    shop('wiki', {
      grant_types,
      identity_assertions: [
        {
          ...{
            audience: CHAT,
            client_id: 'wiki-at-chat',
            resources: [CHAT_API],
            scopes: ['chat.read', 'chat.history'],
          },
          subject_token_types: ['id_token', 'refresh_token'],
        },
        { audience: MAIL, max_seconds: 60 },
      ],
    }),
    shop('paired', {
      grant_types,
      subject_type: 'pairwise',
      identity_assertions: [
        { audience: CHAT, subject_of: 'wiki', subject_token_types: ['id_token', 'refresh_token'] },
        { audience: MAIL },
      ],
    }),
    shop('plain', {}),
  ],
}

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))('ID-JAGs on %s', (kind) => {
  let server: Server
  let client: ClientRequests
  let ann: Person

  beforeAll(async () => {
    server = await startServer({ settings, stores: kind === 'embedded' ? kind : await realStores() })
    client = clientRequests(server.issuer)
    ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  })
  afterAll(() => server.close())

  const ask = (token: string, fields: Fields = {}, by = 'wiki', headers = {}) =>
    client.token(
      by,
      {
        ...{ grant_type: TOKEN_EXCHANGE, requested_token_type: ID_JAG, audience: CHAT },
        ...{ subject_token: token, subject_token_type: ID_TOKEN, ...fields },
      },
      headers,
    )
  const outcome = async (token: string, fields: Fields = {}, by = 'wiki') => {
    const { status, body } = await ask(token, fields, by)
    if (status !== 200) expect(body).not.toHaveProperty('access_token')
    return status === 200 ? 200 : [status, body.error]
  }
  const INVALID = [400, 'invalid_request']
  const INACTIVE = { active: false }

  it('says who it is about to one server, for one client, and lives five minutes (§3, §4.3.4)', async () => {
    const { id } = await ann.tokens('wiki', { scope: 'openid email' })
    const answer = await ask(id, { resource: CHAT_API, scope: 'chat.read' })
    expect(answer.body).toMatchObject({
      ...{ issued_token_type: ID_JAG, token_type: 'N_A', expires_in: 300, scope: 'chat.read' },
    })
    expect(answer.headers.get('cache-control')).toContain('no-store')
    const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`))
    const { payload } = await jwtVerify(tokensOf(answer).access, keys, {
      ...{ issuer: server.issuer, audience: CHAT, typ: 'oauth-id-jag+jwt' },
    })
    const { sub, auth_time, acr, amr } = payloadOf(id)
    expect(payload).toEqual({
      ...{ iss: server.issuer, sub, aud: CHAT, client_id: 'wiki-at-chat', jti: expect.any(String) },
      ...{ iat: expect.any(Number), exp: Number(payload.iat) + 300, resource: CHAT_API, scope: 'chat.read' },
      ...{ auth_time, acr, amr, email: 'ann@example.com', email_verified: true },
    })
    const again = payloadOf(tokensOf(await ask(id)).access)
    expect(again.jti).not.toBe(payload.jti)
    // Without a scope asked for it is all of the row; without a resource it names none.
    expect(again.scope).toBe('chat.read chat.history')
    expect(again).not.toHaveProperty('resource')
  })

  it('is no token of ours, anywhere (A27)', async () => {
    const { id } = await ann.tokens('wiki')
    const { access } = tokensOf(await ask(id))
    expect((await client.userinfo(access)).status).toBe(401)
    expect((await client.introspect('wiki', access)).body).toEqual(INACTIVE)
    expect(await outcome(access)).toEqual(INVALID)
    expect(await outcome(access, { requested_token_type: undefined, subject_token_type: ACCESS_TOKEN })).toEqual([
      ...[400, 'invalid_target'],
    ])
    const hint = await ann.browser.get(`${server.issuer}/session/end?id_token_hint=${access}`)
    expect(hint.status).toBe(400)
  })

  it('has the e-mail address only with the consent to it, and other rows their own limits', async () => {
    const guest = await ann.elsewhere()
    const { id } = await guest.tokens('wiki', { scope: 'openid' })
    const { access } = tokensOf(await ask(id, { audience: MAIL }))
    const claims = payloadOf(access)
    expect(claims).not.toHaveProperty('email')
    expect(claims).toMatchObject({ aud: MAIL, client_id: 'wiki' })
    expect(claims).not.toHaveProperty('scope')
    expect(Number(claims.exp) - Number(claims.iat)).toBe(60)
  })

  it('names the person as the other server knows them (§5)', async () => {
    const wiki = payloadOf((await ann.tokens('wiki')).id).sub
    const { id } = await ann.tokens('paired')
    const paired = payloadOf(id).sub
    expect(paired).not.toBe(wiki)
    expect(payloadOf(tokensOf(await ask(id, {}, 'paired')).access).sub).toBe(wiki)
    expect(payloadOf(tokensOf(await ask(id, { audience: MAIL }, 'paired')).access).sub).toBe(paired)
  })

  it('is bound to the key that the client proves (§9.8.1)', async () => {
    const { id } = await ann.tokens('wiki')
    const key = dpopKey(server.issuer)
    const proof = key.proof()
    expect(payloadOf(tokensOf(await ask(id, {}, 'wiki', proof)).access).cnf).toEqual({ jkt: key.jkt })
    expect((await ask(id, {}, 'wiki', proof)).status).toBe(400)
    expect((await ask(id, {}, 'wiki', key.proof())).status).toBe(200)
  })

  describe('what the row does not allow', () => {
    it.each([
      ['another audience', { audience: 'https://evil.example' }, 'invalid_target'],
      ['an audience with a slash', { audience: `${CHAT}/` }, 'invalid_target'],
      ['ourselves as audience', { audience: 'http://localhost' }, 'invalid_target'],
      ['no audience', { audience: undefined }, 'invalid_target'],
      ['another resource', { resource: 'https://evil.example' }, 'invalid_target'],
      ['another scope', { scope: 'chat.read chat.admin' }, 'invalid_scope'],
      ['any scope where none is', { audience: MAIL, scope: 'mail.read' }, 'invalid_scope'],
      [
        'a refresh token where only ID tokens are',
        { audience: MAIL, subject_token_type: REFRESH_TOKEN },
        'invalid_request',
      ],
      ['an actor token', { actor_token: 'x', actor_token_type: ACCESS_TOKEN }, 'invalid_request'],
      ['an access token', { subject_token_type: ACCESS_TOKEN }, 'invalid_request'],
      ['a SAML assertion', { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }, 'invalid_request'],
      ['no type', { subject_token_type: undefined }, 'invalid_request'],
    ])('%s is refused', async (_name, fields, error) => {
      const { id } = await ann.tokens('wiki')
      expect(await outcome(id, fields)).toEqual([400, error])
      expect(await outcome(id)).toBe(200)
    })

    it('a client without any is refused', async () => {
      const { id } = await ann.tokens('plain')
      expect(await outcome(id, {}, 'plain')).toEqual([400, 'unauthorized_client'])
    })
  })

  it('an ID token is the own one of the client that asks, and good (§4.3.3)', async () => {
    const mine = await ann.tokens('wiki', OFFLINE)
    const theirs = await ann.tokens('paired')
    for (const token of [theirs.id, mine.access, mine.refresh, `${mine.id}x`, mine.id.slice(0, -4), 'x', 'a.b.c']) {
      expect(await outcome(token)).toEqual(INVALID)
    }
    expect(await outcome(mine.id, {}, 'paired')).toEqual(INVALID)
    expect(await outcome(theirs.id, {}, 'paired')).toBe(200)
    expect(await outcome(mine.id)).toBe(200)
  })

  it('a refresh token is taken as by the refresh grant, and stays good there (§4.3.3)', async () => {
    const tokens = await ann.tokens('wiki', OFFLINE)
    const refresh = { subject_token_type: REFRESH_TOKEN }
    const { auth_time, sub } = payloadOf(tokens.id)
    expect(payloadOf(tokensOf(await ask(tokens.refresh, refresh)).access)).toMatchObject({ sub, auth_time })
    const next = tokensOf(await client.refresh('wiki', tokens.refresh))
    expect(await outcome(next.refresh, refresh)).toBe(200)
    // In the hands of another client it was stolen.
    expect(await outcome(next.refresh, refresh, 'paired')).toEqual(INVALID)
    expect(await outcome(next.refresh, refresh)).toEqual(INVALID)
    expect((await client.refresh('wiki', next.refresh)).status).toBe(400)
  })

  it('nobody vouches for whoever has left (A80)', async () => {
    const guest = await ann.elsewhere()
    const { id } = await guest.tokens('wiki')
    expect(await outcome(id)).toBe(200)
    const page = await guest.browser.get(`${server.issuer}/session/end`)
    await guest.browser.submit(page, {}, { form: '/session/end/confirm', button: 'yes' })
    expect(await outcome(id)).toEqual(INVALID)
    const bob = await newPerson(server.issuer, mailFolder(server.dataDir), 'bob@example.com')
    const offline = await bob.tokens('wiki', OFFLINE)
    expect(await outcome(offline.refresh, { subject_token_type: REFRESH_TOKEN })).toBe(200)
    await server.run('accounts', 'disable', bob.email)
    expect(await outcome(offline.id)).toEqual(INVALID)
    expect(await outcome(offline.refresh, { subject_token_type: REFRESH_TOKEN })).toEqual(INVALID)
  })

  it('states who got our word for whom', async () => {
    const { id } = await ann.tokens('wiki')
    const { access } = tokensOf(await ask(id))
    const { stdout } = await server.run('audit', 'export', '--client', 'wiki')
    const last = stdout.split('\n').findLast((line) => line.includes('assertion.issued'))
    expect(JSON.parse(last ?? '{}')).toMatchObject({
      ...{ type: 'assertion.issued', account_id: payloadOf(id).sub, actor: 'client:wiki' },
      data: { audience: CHAT, jti: payloadOf(access).jti, scopes: ['chat.read', 'chat.history'] },
    })
  })

  it('an ID token that is over is refused', async () => {
    const { id } = await ann.tokens('wiki')
    await server.shiftDate(3601)
    expect(await outcome(id)).toEqual(INVALID)
  })
})
