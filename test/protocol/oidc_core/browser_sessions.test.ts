/** Whose session it is: before and after a sign-in, for the next person, and for who follows a link. Attacks A51, A52, A66. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../../support/browser.ts'
import { allow, PASSWORD, SETTINGS, signIn } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import {
  authorizationRequest,
  clientBrowser,
  newPerson,
  type Person,
  redirectUri,
  stepOf,
} from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { type ClientRequests, clientRequests, type Fields, payloadOf, tokensOf } from '../../support/token_requests.ts'

let server: Server
let client: ClientRequests
let ann: Person
let bob: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  const mailbox = mailFolder(server.dataDir)
  ann = await newPerson(server.issuer, mailbox, 'ann@example.com')
  bob = await newPerson(server.issuer, mailbox, 'bob@example.com')
})
afterAll(() => server.close())

const open = (browser: Browser, clientId: string, parameters: Fields = {}) =>
  browser.get(authorizationRequest(server.issuer, clientId, parameters).url)
const atClient = (page: Page, clientId: string) =>
  page.url.startsWith(`${redirectUri(clientId)}?`) && page.params.has('code')

async function tokensAt(end: Page, verifier: string, clientId: string) {
  const code = { clientId, code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri(clientId) }
  return tokensOf(await client.redeem(code))
}

describe('A51 fixation', () => {
  it('cookies and addresses of before the sign-in are worth nothing after it', async () => {
    const attacker = clientBrowser()
    const page = await open(attacker, 'own', { login_hint: 'ann@example.com' })
    const planted = attacker.jar.all()
    const victim = clientBrowser()
    for (const { name, value, path } of planted) {
      victim.jar.store(new URL(server.issuer), [`${name}=${value}; Path=${path}; HttpOnly; SameSite=Lax`])
    }
    const end = await signIn(victim, await victim.get(page.url), 'ann@example.com')
    const after = victim.jar.all().find(({ name }) => name === 'genkan_session')
    expect(after).toBeDefined()
    expect(planted.map(({ value }) => value)).not.toContain(after?.value)
    expect(atClient(end, 'own')).toBe(true)

    const uid = new URL(page.url).pathname.split('/')[2]
    for (const url of [
      page.url,
      `${server.issuer}/auth/${uid}`,
      authorizationRequest(server.issuer, 'own', { prompt: 'none' }).url,
    ]) {
      const got = await attacker.get(url)
      expect(got.params.has('code')).toBe(false)
      expect(got.text).not.toContain('ann@example.com')
    }
    expect((await attacker.get(`${server.issuer}/account`)).text).not.toContain('ann@example.com')
  })

  it('the cookie changes with each sign-in, and the old value dies', async () => {
    const person = await ann.elsewhere()
    const value = () => person.browser.jar.all().find(({ name }) => name === 'genkan_session')?.value ?? ''
    const before = value()
    await signIn(person.browser, await open(person.browser, 'own', { prompt: 'login' }), 'ann@example.com')
    expect(value()).not.toBe(before)
    const thief = clientBrowser()
    thief.jar.store(new URL(server.issuer), [`genkan_session=${before}; Path=/; HttpOnly`])
    expect((await open(thief, 'own', { prompt: 'none' })).params.get('error')).toBe('login_required')
    expect(await person.signedIn()).toBe(true)
  })
})

describe('A52 the next person at the same browser', () => {
  it('inherits nothing: other subject, other session, own tokens, and the first session ends alone', async () => {
    const browser = clientBrowser()
    const first = authorizationRequest(server.issuer, 'own')
    const anns = await tokensAt(
      await signIn(browser, await browser.get(first.url), 'ann@example.com'),
      first.verifier,
      'own',
    )
    // Closed without signing out: the cookies are lost, the session lives on at the server.
    const kept = browser.jar.all()
    browser.jar.clear()
    const second = authorizationRequest(server.issuer, 'own')
    const bobs = await tokensAt(
      await signIn(browser, await browser.get(second.url), 'bob@example.com'),
      second.verifier,
      'own',
    )
    expect(payloadOf(bobs.id).sub).not.toBe(payloadOf(anns.id).sub)
    expect((await client.userinfo(anns.access)).body.sub).toBe(payloadOf(anns.id).sub)
    expect((await client.userinfo(bobs.access)).body.sub).toBe(payloadOf(bobs.id).sub)
    const pages = [
      await browser.get(`${server.issuer}/account`),
      await browser.get(`${server.issuer}/account/sessions`),
    ]
    for (const page of pages) expect(page.text).not.toContain('ann@example.com')
    expect(kept.map(({ value }) => value)).not.toContain(
      browser.jar.all().find(({ name }) => name === 'genkan_session')?.value,
    )
  })

  it('signed out with the cookie kept: the old id does not become the new session', async () => {
    const person = await ann.elsewhere()
    const old = person.browser.jar.all().find(({ name }) => name === 'genkan_session')?.value ?? ''
    const page = await person.browser.get(`${server.issuer}/session/end`)
    await person.browser.submit(page, {}, { button: 'yes' })
    person.browser.jar.store(new URL(server.issuer), [`genkan_session=${old}; Path=/; HttpOnly`])
    await signIn(person.browser, await open(person.browser, 'own'), 'bob@example.com')
    expect(person.browser.jar.all().find(({ name }) => name === 'genkan_session')?.value).not.toBe(old)
    const thief = clientBrowser()
    thief.jar.store(new URL(server.issuer), [`genkan_session=${old}; Path=/; HttpOnly`])
    expect((await open(thief, 'own', { prompt: 'none' })).params.get('error')).toBe('login_required')
  })
})

describe('A66 finishing for somebody else', () => {
  it("the address of A's consent page is nothing in V's browser, signed in or not", async () => {
    const consent = await open(bob.browser, 'web', { prompt: 'consent' })
    expect(stepOf(consent)).toBe('consent')
    for (const victim of [ann.browser, clientBrowser()]) {
      const page = await victim.get(consent.url)
      expect(page.status).toBe(400)
      expect(page.text).not.toContain('bob@example.com')
      expect((await victim.submit(consent, {}, { form: '/consent', button: 'allow' })).params.has('code')).toBe(false)
    }
    // A's own browser can still finish it (the positive twin).
    expect(atClient(await allow(bob.browser, consent), 'web')).toBe(true)
  })

  it("V who follows A's link is shown A's client: its name and where the answer goes", async () => {
    const page = await open(ann.browser, 'other', { state: 'of-the-attacker', prompt: 'consent' })
    expect(page.text).toContain('The other shop')
    expect(page.text).toContain('other.test.example')
    expect(page.text).toContain('ann@example.com')
  })
})

describe('session cookies', () => {
  const sessionOf = (browser: Browser) => browser.jar.all().find(({ name }) => name === 'genkan_session')

  it('are for us alone: HttpOnly, Lax, no Domain, the whole host, and last as long as a session may', async () => {
    const cookie = sessionOf(ann.browser)
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'lax', hostOnly: true, path: '/' })
    expect((cookie?.expires ?? 0) - Date.now()).toBeGreaterThan(3600_000)
    expect((cookie?.expires ?? Number.POSITIVE_INFINITY) - Date.now()).toBeLessThanOrEqual(30 * 86_400_000)
  })

  it('on a shared computer go with the browser', async () => {
    const browser = clientBrowser()
    const page = await open(browser, 'own', { login_hint: 'ann@example.com' })
    expect(
      atClient(await browser.submit(page, { password: PASSWORD, shared: true }, { form: '/password' }), 'own'),
    ).toBe(true)
    expect(sessionOf(browser)).toBeDefined()
    expect(sessionOf(browser)?.expires).toBeUndefined()
    browser.jar.endSession()
    expect((await open(browser, 'own', { prompt: 'none' })).params.get('error')).toBe('login_required')
  })
})
