/** OIDC Core §11: offline access is asked for and outlives the session; without it nothing does. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { allow, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, newPerson, OFFLINE, type Person, redirectUri, stepOf } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, tokensOf } from '../../support/token_requests.ts'

const online = {
  client_id: 'online',
  client_secret: SECRET,
  redirect_uris: [redirectUri('online')],
  grant_types: ['authorization_code'],
  scope: 'openid',
}

let server: Server
let client: ClientRequests
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, online] } })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

async function signOut(person: Person) {
  const page = await person.browser.get(`${server.issuer}/session/end`)
  await person.browser.submit(page, {}, { button: 'yes' })
  expect(await person.signedIn()).toBe(false)
}

describe('with prompt=consent', () => {
  it.each(['web', 'own', 'spa'])(
    'oidcc-refresh-token: %s asks, gets a refresh token, and it outlives the logout',
    async (clientId) => {
      const person = await ann.elsewhere()
      const { url, verifier } = authorizationRequest(server.issuer, clientId, OFFLINE)
      const page = await person.browser.get(url)
      expect(stepOf(page)).toBe('consent')
      expect(page.text).toMatch(/while you are away|when you are not|not using/i)
      const end = await allow(person.browser, page)
      const code = { clientId, code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri(clientId) }
      const tokens = tokensOf(await client.redeem(code))
      expect(tokens.scope.split(' ')).toContain('offline_access')
      expect(tokens.refresh).not.toBe('')

      await signOut(person)
      const renewed = await client.refresh(clientId, tokens.refresh)
      expect(renewed.status).toBe(200)
      expect((await client.userinfo(tokensOf(renewed).access)).status).toBe(200)
    },
  )

  it('is shown on the account page, and ends there', async () => {
    const { refresh } = await ann.tokens('other', OFFLINE)
    const page = await ann.browser.get(`${server.issuer}/account/clients`)
    expect(page.text).toContain('The other shop')
    await ann.browser.submit(page, {}, { form: '/account/clients/other/revoke' })
    expect((await client.refresh('other', refresh)).body.error).toBe('invalid_grant')
    expect(stepOf(await ann.browser.get(authorizationRequest(server.issuer, 'other').url))).toBe('consent')
  })

  it('Deny gives nothing', async () => {
    const page = await ann.browser.get(authorizationRequest(server.issuer, 'web', OFFLINE).url)
    const end = await ann.browser.submit(page, {}, { form: '/consent', button: 'deny' })
    expect(end.params.get('error')).toBe('access_denied')
  })

  it('a client that may not have it hears so', async () => {
    const end = await ann.authorize('online', OFFLINE)
    // Left out by the engine when the client may not refresh at all (OIDC Core §11: ignored), never granted.
    if (end.params.has('code')) expect((await ann.tokens('online', OFFLINE)).refresh).toBe('')
    else expect(end.params.get('error')).toBe('invalid_scope')
  })
})

describe('without prompt=consent', () => {
  it.each(['web', 'own'])('%s: offline_access is left out, no refresh token', async (clientId) => {
    const tokens = await ann.tokens(clientId, { scope: 'openid offline_access' })
    expect(tokens.refresh).toBe('')
    expect(tokens.scope).toBe('openid')
  })

  it('spa: a refresh token all the same, bound to the session and dead with it', async () => {
    const person = await ann.elsewhere()
    const tokens = await person.tokens('spa', { scope: 'openid offline_access' })
    expect(tokens.scope).toBe('openid')
    const renewed = tokensOf(await client.refresh('spa', tokens.refresh))
    expect(renewed.refresh).not.toBe('')
    await signOut(person)
    expect((await client.refresh('spa', renewed.refresh)).body.error).toBe('invalid_grant')
    expect((await client.userinfo(renewed.access)).status).toBe(401)
  })

  it('earlier consent to offline access does not slip into a later request', async () => {
    await ann.tokens('web', OFFLINE)
    const later = await ann.tokens('web', { scope: 'openid offline_access' })
    expect(later.refresh).toBe('')
  })
})
