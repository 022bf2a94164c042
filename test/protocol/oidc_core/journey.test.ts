/** OpenID Connect Core §3.1: three kinds of clients, one person, the whole way, on both kinds of stores. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { createBrowser } from '../../support/browser.ts'
import {
  API,
  allow,
  authorization,
  discover,
  redeem,
  register,
  SETTINGS,
  SPA,
  signIn,
  WEB,
} from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { freshDatabaseUrl } from '../../support/services.ts'

const KINDS = {
  'the embedded default': async () => startServer({ settings: SETTINGS, stores: 'embedded' }),
  'PostgreSQL and Redis': async () =>
    startServer({
      settings: SETTINGS,
      stores: await realStores(),
    }),
  'PostgreSQL alone': async () =>
    startServer({ settings: SETTINGS, stores: { databaseUrl: await freshDatabaseUrl() } }),
}

describe.each(Object.entries(KINDS))('on %s', (_name, start) => {
  let server: Server
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server.close())

  it('registers, proves the address, agrees, and signs in to a web client; then SSO to a browser app', async () => {
    const browser = createBrowser({ stopAt: [WEB, SPA] })
    const mailbox = mailFolder(server.dataDir)
    const web = await discover(server.issuer, 'web')
    const request = await authorization(web, `${WEB}/callback`, { scope: 'openid email' })
    const page = await register(browser, await browser.get(request.url), mailbox, 'ann@example.com')
    expect(page.text).toContain('The web shop')
    const tokens = await redeem(web, request, await allow(browser, page))
    const claims = tokens.claims()
    expect(claims).toMatchObject({ iss: server.issuer, aud: 'web', amr: ['pwd'], acr: 'urn:genkan:acr:basic' })
    const userinfo = await oidc.fetchUserInfo(web, tokens.access_token, claims?.sub ?? '')
    expect(userinfo).toMatchObject({ sub: claims?.sub, email: 'ann@example.com', email_verified: true })

    const spa = await discover(server.issuer, 'spa')
    const silent = await authorization(spa, `${SPA}/callback`, { prompt: 'none' })
    const spaTokens = await redeem(spa, silent, await browser.get(silent.url))
    expect(spaTokens.claims()).toMatchObject({ sub: claims?.sub, auth_time: claims?.auth_time })
    const renewed = await oidc.refreshTokenGrant(spa, spaTokens.refresh_token ?? '')
    expect(renewed.refresh_token).toBeDefined()
    expect(renewed.refresh_token).not.toBe(spaTokens.refresh_token)
  })

  it('signs in again with the password in another browser', async () => {
    const browser = createBrowser({ stopAt: [SPA] })
    const spa = await discover(server.issuer, 'spa')
    const request = await authorization(spa, `${SPA}/callback`, { login_hint: 'Ann@Example.com' })
    const end = await signIn(browser, await browser.get(request.url), 'ann@example.com')
    expect((await redeem(spa, request, end)).claims()?.sub).toBeDefined()
  })

  it('gives a machine a JWT access token for its resource server', async () => {
    const machine = await discover(server.issuer, 'machine')
    const tokens = await oidc.clientCredentialsGrant(machine, { resource: API, scope: 'orders:read' })
    expect(tokens).toMatchObject({ token_type: 'bearer', scope: 'orders:read', expires_in: 300 })
  })
})
