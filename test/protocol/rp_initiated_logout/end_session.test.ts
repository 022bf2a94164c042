/** OpenID Connect RP-Initiated Logout 1.0. PROTOCOL.md E 38, attacks A56 and A59. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../../support/browser.ts'
import { SETTINGS } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, type Fields, payloadOf } from '../../support/token_requests.ts'

const AFTER = 'https://own.test.example/'

let server: Server
let client: ClientRequests
let ann: Person
let hint: string

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
  hint = (await ann.tokens('own')).id
})
afterAll(() => server.close())

const endUrl = (parameters: Fields = {}) => {
  const present = Object.entries(parameters).filter((field): field is [string, string] => field[1] !== undefined)
  return `${server.issuer}/session/end?${new URLSearchParams(present)}`
}
const leave = (parameters: Fields, browser: Browser = ann.browser) => browser.get(endUrl(parameters))
const confirm = (browser: Browser, page: Page) =>
  browser.submit(page, {}, { form: '/session/end/confirm', button: 'yes' })

function expectAsks(page: Page) {
  expect(page.status).toBe(200)
  expect(page.url.startsWith(server.issuer)).toBe(true)
  expect(page.title).toContain('Sign out')
  expect(page.forms.find(({ action }) => action.endsWith('/session/end/confirm'))?.fields).toContainEqual(
    expect.objectContaining({ name: 'logout', value: 'yes' }),
  )
  expect(page.headers['cache-control']).toContain('no-store')
}

describe('the confirmation', () => {
  it('oidcc-rp-initiated-logout: asks, ends the session, returns with state; then login_required', async () => {
    const person = await ann.elsewhere()
    const { id, access } = await person.tokens('own')
    const page = await leave({ id_token_hint: id, post_logout_redirect_uri: AFTER, state: 'x y&z' }, person.browser)
    expectAsks(page)
    expect(page.text).toContain('The own shop')
    expect(await person.signedIn()).toBe(true)
    const end = await confirm(person.browser, page)
    expect(end.url).toMatch(/^https:\/\/own\.test\.example\/\?state=/)
    expect([...end.params]).toEqual([['state', 'x y&z']])
    const silent = await person.authorize('own', { prompt: 'none' })
    expect(silent.params.get('error')).toBe('login_required')
    expect((await client.userinfo(access)).status).toBe(401)
    expect(await ann.signedIn()).toBe(true)
  })

  it('A56 oidcc-rp-initiated-logout-no-params and -no-id-token-hint: asks, and only the button signs out', async () => {
    for (const parameters of [{}, { client_id: 'own' }, { post_logout_redirect_uri: AFTER }, { id_token_hint: hint }]) {
      expectAsks(await leave(parameters))
      expect(await ann.signedIn()).toBe(true)
    }
  })

  it('A56 a forged confirmation changes nothing: without the token, with another one, from another site', async () => {
    const other = await ann.elsewhere()
    const mine = await leave({}, other.browser)
    const xsrf = mine.forms[0]?.fields.find(({ name }) => name === 'xsrf')?.value ?? ''
    expect(xsrf).not.toBe('')
    await leave({})
    const url = `${server.issuer}/session/end/confirm`
    for (const given of ['', 'x', xsrf]) {
      const page = await ann.browser.post(url, { xsrf: given, logout: 'yes' })
      expect(page.status).toBe(400)
    }
    const crossSite = await ann.browser.post(url, { xsrf, logout: 'yes' }, 'https://evil.example/')
    expect(crossSite.status).toBe(400)
    expect(await ann.signedIn()).toBe(true)
    expect(await other.signedIn()).toBe(true)
  })

  it('A56 an image or a link of another site does not sign out', async () => {
    await ann.browser.send(endUrl({ id_token_hint: hint }), { from: 'https://evil.example/' })
    expect(await ann.signedIn()).toBe(true)
  })

  it('the logout request may be posted (§2)', async () => {
    const person = await ann.elsewhere()
    const { id } = await person.tokens('own')
    const form = { id_token_hint: id, post_logout_redirect_uri: AFTER, state: 'posted' }
    const page = await person.browser.post(`${server.issuer}/session/end`, form, `${server.issuer}/`)
    expectAsks(page)
    expect((await confirm(person.browser, page)).params.get('state')).toBe('posted')
  })

  it('"Stay signed in" is a link: back to the registered address, and nothing has changed', async () => {
    const page = await leave({ id_token_hint: hint, post_logout_redirect_uri: AFTER, state: 'the-state' })
    const stay = page.links.find(({ text }) => text === 'Stay signed in')
    expect(stay?.href).toBe(`${AFTER}?state=the-state`)
    const { access, refresh } = await ann.tokens('spa')
    await ann.browser.get(stay?.href ?? '', page)
    expect(await ann.signedIn()).toBe(true)
    expect((await client.userinfo(access)).status).toBe(200)
    expect((await client.refresh('spa', refresh)).status).toBe(200)
  })

  it('"Stay signed in" without a registered address leads to the account page', async () => {
    for (const parameters of [{}, { post_logout_redirect_uri: AFTER }, { id_token_hint: hint }]) {
      const page = await leave(parameters)
      expect(page.links.find(({ text }) => text === 'Stay signed in')?.href).toBe('/account')
    }
  })

  it('speaks the language of the request', async () => {
    const page = await leave({ ui_locales: 'fi', id_token_hint: hint })
    expect(page.headers['content-language']).toBe('fi')
  })
})

describe('where the browser goes afterwards', () => {
  const end = async (parameters: Fields) => {
    const person = await ann.elsewhere()
    return confirm(person.browser, await leave(parameters, person.browser))
  }

  it('oidcc-rp-initiated-logout-no-state: no state in, none out', async () => {
    expect((await end({ id_token_hint: hint, post_logout_redirect_uri: AFTER })).url).toBe(AFTER)
  })

  it('oidcc-rp-initiated-logout-no-post-logout-redirect-uri and -only-state: our own page', async () => {
    const page = await end({ id_token_hint: hint, state: 'x' })
    expect(page.status).toBe(200)
    expect(page.url.startsWith(server.issuer)).toBe(true)
    expect(page.text).toContain('You are signed out')
  })

  it('an address without a hint and without a client is not followed', async () => {
    const page = await end({ post_logout_redirect_uri: AFTER })
    expect(page.url.startsWith(server.issuer)).toBe(true)
    expect(page.status).toBe(200)
  })

  it('client_id in place of the hint serves too, after the same question', async () => {
    expect((await end({ client_id: 'own', post_logout_redirect_uri: AFTER })).url).toBe(AFTER)
  })

  it('an expired hint is a hint still (§2)', async () => {
    await server.shiftDate(2 * 3600)
    expect((await end({ id_token_hint: hint, post_logout_redirect_uri: AFTER })).url).toBe(AFTER)
    await server.shiftDate(0)
  })

  it('who is not signed in passes through to the registered address, script or not', async () => {
    const browser = clientBrowser()
    const page = await leave({ id_token_hint: hint, post_logout_redirect_uri: AFTER, state: 's' }, browser)
    expect(page.status).toBe(200)
    const end = await browser.submit(page)
    expect(end.url).toBe(`${AFTER}?state=s`)
  })
})

describe('oidcc-rp-initiated-logout-bad-id-token-hint and -modified-id-token-hint', () => {
  it.each<[string, (token: string) => string]>([
    ['nonsense', () => 'x'],
    ['three parts of nonsense', () => 'a.b.c'],
    ['another signature', (token) => `${token.slice(0, -8)}AAAAAAAA`],
    ['unsigned', (token) => `${Buffer.from('{"alg":"none"}').toString('base64url')}.${token.split('.')[1]}.`],
    ['another audience', (token) => changed(token, { aud: 'web' })],
    ['an audience that is no client', (token) => changed(token, { aud: 'nobody' })],
    ['an audience that is an object', (token) => changed(token, { aud: { a: 1 } })],
    ['an audience with a NUL', (token) => changed(token, { aud: 'own\0' })],
    ['another issuer', (token) => changed(token, { iss: 'https://evil.example' })],
    ['another subject', (token) => changed(token, { sub: 'somebody' })],
  ])('%s: an error page, no redirect, still signed in', async (_name, change) => {
    const page = await leave({ id_token_hint: change(hint), post_logout_redirect_uri: AFTER, state: 'x' })
    expect(page.status).toBe(400)
    expect(page.url.startsWith(server.issuer)).toBe(true)
    expect(page.forms.some(({ action }) => action.includes('/session/end'))).toBe(false)
    expect(await ann.signedIn()).toBe(true)
  })

  it.each(['nobody', '', 'own\0', '"><script>'])('client_id %j', async (clientId) => {
    const page = await leave({ client_id: clientId, post_logout_redirect_uri: AFTER })
    expect(page.url.startsWith(server.issuer)).toBe(true)
    expect(page.status).toBe(clientId === '' ? 200 : 400)
    expect(page.html).not.toContain('"><script>')
  })

  it.each(['id_token_hint', 'post_logout_redirect_uri', 'state', 'client_id'])('A78 %s twice', async (name) => {
    const page = await ann.browser.get(`${endUrl({ [name]: name === 'id_token_hint' ? hint : 'own' })}&${name}=x`)
    expect(page.status).toBe(400)
    expect(page.text).toContain('invalid_request')
  })
})

describe('A59 what is left after a sign-out', () => {
  it('old cookies, the back button and cached pages show nothing', async () => {
    const person = await ann.elsewhere()
    const account = await person.browser.get(`${server.issuer}/account`)
    expect(account.text).toContain('ann@example.com')
    expect(account.headers['cache-control']).toContain('no-store')
    const cookies = person.browser.jar.all()
    await confirm(person.browser, await leave({}, person.browser))
    expect(person.browser.jar.all().map(({ name }) => name)).not.toContain('genkan_session')

    const again = await person.browser.get(account.url)
    expect(again.text).not.toContain('ann@example.com')
    for (const kept of [cookies, cookies.filter(({ name }) => name === 'genkan_account')]) {
      const thief = clientBrowser()
      for (const { name, value } of kept)
        thief.jar.store(new URL(server.issuer), [`${name}=${value}; Path=/; HttpOnly`])
      const silent = await thief.get(authorizationRequest(server.issuer, 'own', { prompt: 'none' }).url)
      expect(silent.params.get('error')).toBe('login_required')
      expect((await thief.get(`${server.issuer}/account`)).text).not.toContain('ann@example.com')
    }
  })

  it('the confirmation cannot be used twice', async () => {
    const person = await ann.elsewhere()
    const page = await leave({}, person.browser)
    await confirm(person.browser, page)
    expect((await confirm(person.browser, page)).status).toBe(400)
  })
})

/** The token with other claims and its old signature. */
function changed(token: string, claims: object): string {
  const [head = '', , signature = ''] = token.split('.')
  const payload = Buffer.from(JSON.stringify({ ...payloadOf(token), ...claims })).toString('base64url')
  return `${head}.${payload}.${signature}`
}
