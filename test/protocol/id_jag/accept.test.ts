/**
 * draft-ietf-oauth-identity-assertion-authz-grant-04 §4.4: an ID-JAG of a trusted provider, taken as a grant; and the whole way
 * across two of our servers, one of which the people of the other come from.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type AssertionRoom, ID_JAG_TYP, JWT_BEARER, LEDGER, startAssertionRoom } from '../../support/assertion_room.ts'
import { createBrowser } from '../../support/browser.ts'
import { dpopKey } from '../../support/dpop_key.ts'
import { ID_JAG, ID_TOKEN, TOKEN_EXCHANGE } from '../../support/exchange_room.ts'
import { API, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, redirectUri } from '../../support/people.ts'
import { startServer } from '../../support/server.ts'
import { freePort } from '../../support/services.ts'
import { clientRequests, type Fields, payloadOf, tokensOf } from '../../support/token_requests.ts'

const INVALID = [400, 'invalid_grant']

describe('an ID-JAG of a provider', () => {
  let room: AssertionRoom
  let ann: string
  beforeAll(async () => {
    room = await startAssertionRoom()
    ann = await room.come('ann')
  })
  afterAll(() => room?.close())

  const jag = (claims: object = {}) =>
    room.word({ client_id: 'partner', resource: API, scope: 'orders:read', ...claims }, { typ: ID_JAG_TYP })
  const outcome = async (assertion: string, fields: Fields = {}, by = 'partner') => {
    const { status, body } = await room.present(assertion, fields, by)
    if (status !== 200) expect(body).not.toHaveProperty('access_token')
    return status === 200 ? 200 : [status, body.error]
  }

  it('gives the token that it names', async () => {
    const answer = await room.present(await jag(), { resource: undefined })
    expect(payloadOf(tokensOf(answer).access)).toMatchObject({
      sub: ann,
      aud: API,
      scope: 'orders:read',
      client_id: 'partner',
    })
    expect(answer.body).not.toHaveProperty('refresh_token')
  })

  it('is for the client that it names (§4.4.1)', async () => {
    expect(await outcome(await jag(), {}, 'single')).toEqual(INVALID)
    expect(await outcome(await jag({ client_id: 'single' }))).toEqual(INVALID)
    expect(await outcome(await jag({ client_id: undefined }))).toEqual(INVALID)
    expect(await outcome(await jag({ client_id: ['partner'] }))).toEqual(INVALID)
    expect(await outcome(await jag({ client_id: 'single' }), {}, 'single')).toBe(200)
  })

  it('needs its type, and its time of issue', async () => {
    expect(await outcome(await room.word({ client_id: 'partner' }, { typ: 'oauth-id-jag' }))).toEqual(INVALID)
    expect(await outcome(await jag({ iat: undefined }))).toEqual(INVALID)
    // Without the type it is a plain assertion, which this issuer may make as well.
    expect(await outcome(await room.word())).toBe(200)
  })

  it('limits scope and resource', async () => {
    expect(await outcome(await jag(), { scope: 'orders:write' })).toEqual([400, 'invalid_scope'])
    expect(await outcome(await jag({ scope: 'orders:write' }))).toBe(200)
    expect(await outcome(await jag({ scope: 'admin' }))).toEqual([400, 'invalid_scope'])
    expect(await outcome(await jag(), { resource: LEDGER })).toEqual([400, 'invalid_target'])
    expect(await outcome(await jag({ resource: [API, LEDGER] }))).toBe(200)
    expect(await outcome(await jag({ resource: [API, LEDGER] }), { resource: undefined })).toEqual([
      400,
      'invalid_target',
    ])
    expect(await outcome(await jag({ resource: 'https://evil.example' }), { resource: undefined })).toEqual([
      ...[400, 'invalid_target'],
    ])
    expect(await outcome(await jag({ resource: undefined, scope: undefined }))).toBe(200)
  })

  it('has one audience, serves once, and names no actor', async () => {
    expect(await outcome(await jag({ aud: [room.server.issuer, 'https://evil.example'] }))).toEqual(INVALID)
    expect(await outcome(await jag({ act: { sub: 'bot' } }))).toEqual(INVALID)
    const once = await jag()
    expect(await outcome(once)).toBe(200)
    expect(await outcome(once)).toEqual(INVALID)
  })

  it('is bound to a key where it says so (§9.8.1)', async () => {
    const key = dpopKey(room.server.issuer)
    const bound = await jag({ cnf: { jkt: key.jkt } })
    expect(await outcome(bound)).toEqual(INVALID)
    const answer = await room.present(bound, {}, 'partner', key.proof())
    expect(payloadOf(tokensOf(answer).access).cnf).toEqual({ jkt: key.jkt })
  })
})

it('the whole way: signed in at one house, called an API of another', async () => {
  const ports = [await freePort(), await freePort()]
  const [home = '', chat = ''] = ports.map((port) => `http://localhost:${port}`)
  const [homePort = 0, chatPort = 0] = ports
  const web = { client_secret: SECRET, first_party: true, scope: 'openid email' }
  const servers = await Promise.all([
    startServer({
      port: homePort,
      settings: {
        clients: [
          { ...web, client_id: 'own', redirect_uris: [redirectUri('own')] },
          { ...web, client_id: 'chat', redirect_uris: [`${chat}/upstream/home/callback`] },
          {
            ...{ ...web, client_id: 'wiki', redirect_uris: [redirectUri('wiki')] },
            grant_types: ['authorization_code', TOKEN_EXCHANGE],
            identity_assertions: [{ audience: chat, client_id: 'the-wiki', resources: [API], scopes: ['orders:read'] }],
          },
        ],
      },
    }),
    startServer({
      port: chatPort,
      settings: {
        resources: SETTINGS.resources,
        upstreams: [
          {
            ...{ name: 'home', kind: 'oidc', title: 'Home', issuer: home, client_id: 'chat', client_secret: SECRET },
            ...{ scopes: ['openid', 'email'], trusted_domains: ['example.com'], userinfo: true },
          },
        ],
        assertion_issuers: [{ issuer: home, jwks_uri: `${home}/jwks`, profiles: ['id-jag'], upstream: 'home' }],
        clients: [
          { ...web, client_id: 'own', redirect_uris: [redirectUri('own')] },
          {
            ...{ client_id: 'the-wiki', client_secret: SECRET, scope: 'orders:read', grant_types: [JWT_BEARER] },
            assertion_issuers: [{ issuer: home, resource: API, scopes: ['orders:read'] }],
          },
        ],
      },
    }),
  ])
  try {
    const [atHome, atChat] = [clientRequests(home), clientRequests(chat)]
    const ann = await newPerson(home, mailFolder(servers[0].dataDir), 'ann@example.com')
    const { id } = await ann.tokens('wiki')
    const ask = async () =>
      tokensOf(
        await atHome.token('wiki', {
          ...{ grant_type: TOKEN_EXCHANGE, requested_token_type: ID_JAG, audience: chat, resource: API },
          ...{ subject_token: id, subject_token_type: ID_TOKEN },
        }),
      ).access
    const present = async () => atChat.token('the-wiki', { grant_type: JWT_BEARER, assertion: await ask() })
    // Nobody there has come from home yet.
    expect((await present()).body.error).toBe('invalid_grant')
    const { url } = authorizationRequest(chat, 'own')
    const browser = createBrowser({ stopAt: ['https://', home] })
    const start = await browser.get(url)
    const form = start.forms.findIndex(({ fields }) => fields.some(({ value }) => value === 'home'))
    const away = await browser.submit(start, {}, { form })
    const back = await ann.browser.get(away.url)
    const page = await browser.get(back.url)
    const end = page.forms.some(({ action }) => action.endsWith('/upstream_account'))
      ? await browser.submit(page, {}, { form: '/upstream_account' })
      : page
    expect(end.params.has('code')).toBe(true)
    const { access } = tokensOf(await present())
    expect(payloadOf(access)).toMatchObject({ iss: chat, aud: API, client_id: 'the-wiki', scope: 'orders:read' })
    // What one house has signed as a grant for others it never takes itself.
    const own = await atHome.token('wiki', { grant_type: JWT_BEARER, assertion: await ask() })
    expect(own.body.error).toBe('unauthorized_client')
  } finally {
    await Promise.all(servers.map((server) => server.close()))
  }
})
