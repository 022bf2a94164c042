/** OpenID Connect Core 1.0 §4: a login that we send the person to the client for. Modules of oidcc-3rdparty-init-login. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { authorization, redeem, SECRET, SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'

const [, , own] = SETTINGS.clients
const client = (clientId: string, start: string) => ({
  ...{ ...own, client_id: clientId, redirect_uris: [redirectUri(clientId)] },
  initiate_login_uri: `https://${clientId}.test.example${start}`,
})
const CLIENTS = [client('plain', '/start'), client('tenants', '/start?tenant=a%26b'), client('rooted', '/')]

let server: Server
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...CLIENTS] } })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

/** Pages that lead back to the client. */
const PAGES: { readonly [page: string]: (clientId: string) => Promise<{ readonly href: string }[]> } = {
  'an error of the request': async (clientId) => {
    const request = authorizationRequest(server.issuer, clientId, { redirect_uri: 'https://evil.example/' })
    return [...(await ann.browser.get(request.url)).links]
  },
  'a conversation of another browser': async (clientId) => {
    const page = await clientBrowser().get(authorizationRequest(server.issuer, clientId).url)
    await server.shiftDate(120)
    const { links } = await clientBrowser().get(page.url)
    await server.shiftDate(0)
    return [...links]
  },
  'a browser without cookies': async (clientId) => {
    const browser = clientBrowser()
    const answer = await browser.send(authorizationRequest(server.issuer, clientId).url)
    browser.jar.clear()
    return [...(await browser.get(new URL(answer.headers.location ?? '', server.issuer).href)).links]
  },
  'the end of a session': async (clientId) => {
    const { links } = await clientBrowser().get(`${server.issuer}/session/end/success?client_id=${clientId}`)
    return [...links]
  },
}

describe.each(Object.keys(PAGES))('oidcc-3rd_party-init-login: %s', (page) => {
  it.each([
    ['plain', 'https://plain.test.example/start?iss='],
    ['tenants', 'https://tenants.test.example/start?tenant=a%26b&iss='],
    ['rooted', 'https://rooted.test.example/?iss='],
  ])('leads to %s with iss, and what its address said before', async (clientId, before) => {
    const hrefs = (await PAGES[page]?.(clientId))?.map(({ href }) => href)
    expect(hrefs).toContain(`${before}${encodeURIComponent(server.issuer)}`)
  })
})

it('the client finds us by iss and nothing else, and the person is signed in', async () => {
  const links = (await PAGES['an error of the request']?.('plain')) ?? []
  const started = new URL(links.find(({ href }) => href.includes('iss='))?.href ?? '')
  const issuer = new URL(started.searchParams.get('iss') ?? '')
  const execute = [oidc.allowInsecureRequests]
  const config = await oidc.discovery(issuer, 'plain', undefined, oidc.ClientSecretBasic(SECRET), { execute })
  const request = await authorization(config, redirectUri('plain'))
  expect((await redeem(config, request, await ann.browser.get(request.url))).claims()?.iss).toBe(server.issuer)
})

it('oidcc-3rd_party-init-login-nohttps: an address without https is refused', async () => {
  const clients = [{ ...client('plain', '/start'), initiate_login_uri: 'http://plain.test.example/start' }]
  const refused = startServer({ settings: { ...SETTINGS, clients } })
  await expect(refused).rejects.toThrow('clients.plain.initiate_login_uri: must be https')
})
