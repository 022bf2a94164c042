/**
 * OIDC Core §3.1.2.3-4 in the hands of people: tabs, back buttons, double clicks, expired and bookmarked pages.
 */
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

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  client = clientRequests(server.issuer)
  const mailbox = mailFolder(server.dataDir)
  ann = await newPerson(server.issuer, mailbox, 'ann@example.com')
  await newPerson(server.issuer, mailbox, 'bob@example.com')
})
afterAll(() => server.close())

const open = (browser: Browser, clientId: string, parameters: Fields = {}) =>
  browser.get(authorizationRequest(server.issuer, clientId, parameters).url)
const atClient = (page: Page, clientId: string) =>
  page.url.startsWith(`${redirectUri(clientId)}?`) && page.params.has('code')

/** An error page of ours with one way to go on. */
/** Third-party-initiated login (§4): with the issuer. */
const startOf = (clientId: string) => `https://${clientId}.test.example/start?iss=${encodeURIComponent(server.issuer)}`

function expectRestart(page: Page, href: string) {
  expect(page.status).toBe(400)
  expect(page.url.startsWith(server.issuer)).toBe(true)
  expect(page.links.map((link) => link.href)).toContain(href)
  expect(page.forms.some(({ action }) => action.includes('/interaction/'))).toBe(false)
}

async function tokensAt(end: Page, verifier: string, clientId: string) {
  const code = { clientId, code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri(clientId) }
  return tokensOf(await client.redeem(code))
}

describe('pages that have had their time', () => {
  it('an expired sign-in restarts at the client', async () => {
    const browser = clientBrowser()
    const page = await open(browser, 'web')
    // The browser has dropped the cookies by then, or still sends them: the same page either way.
    await server.shiftDate(3700)
    const expired = await browser.get(page.url)
    expectRestart(expired, startOf('web'))
    expect(expired.text).toContain('The web shop')
    const submitted = await browser.submit(page, { identifier: 'ann@example.com' }, { form: '/identifier' })
    expectRestart(submitted, startOf('web'))
    await server.shiftDate(0)
  })

  it('of a client without initiate_login_uri at the account page', async () => {
    const browser = clientBrowser()
    const page = await open(browser, 'spa')
    await server.shiftDate(3700)
    expectRestart(await browser.get(page.url), '/account')
    await server.shiftDate(0)
  })

  it('a bookmark opened later, in a browser that knows nothing', async () => {
    const page = await open(clientBrowser(), 'web')
    await server.shiftDate(120)
    expectRestart(await clientBrowser().get(page.url), startOf('web'))
    await server.shiftDate(0)
  })

  it('a browser that takes no cookies is told so, in a page and not in a loop', async () => {
    const browser = clientBrowser()
    const answer = await browser.send(authorizationRequest(server.issuer, 'web').url)
    browser.jar.clear()
    const page = await browser.get(new URL(answer.headers.location ?? '', server.issuer).href)
    expectRestart(page, startOf('web'))
    expect(page.text).toMatch(/cookie/i)
  })

  it.each(['x', 'a'.repeat(43), '%00', '..%2f..', '<script>', 'a'.repeat(3000)])(
    'an address that never was: %s',
    async (uid) => {
      const page = await clientBrowser().get(`${server.issuer}/interaction/${uid}`)
      expect([400, 404]).toContain(page.status)
      expect(page.html).not.toContain('<script>')
      if (page.status === 400) expect(page.links.map(({ href }) => href)).toContain('/account')
    },
  )

  it('the back button after the sign-in: a way on, no second sign-in, no fault', async () => {
    const browser = clientBrowser()
    const page = await open(browser, 'own', { login_hint: 'ann@example.com' })
    const end = await signIn(browser, page, 'ann@example.com')
    expect(atClient(end, 'own')).toBe(true)
    expectRestart(await browser.get(page.url), startOf('own'))
    expectRestart(await browser.submit(page, { password: PASSWORD }, { form: '/password' }), startOf('own'))
    for (const url of end.visited.filter((each) => each.includes('/auth/'))) {
      const resumed = await browser.get(url)
      expect(resumed.status).toBe(400)
      expect(resumed.params.has('code')).toBe(false)
    }
  })
})

describe('the same page more than once', () => {
  it('the back button within the sign-in shows where it stands, and old forms do no harm', async () => {
    const browser = clientBrowser()
    const who = await open(browser, 'own')
    const password = await browser.submit(who, { identifier: 'ann@example.com' }, { form: '/identifier' })
    expect(stepOf(await browser.get(who.url))).toBe('password')
    const again = await browser.submit(who, { identifier: 'bob@example.com' }, { form: '/identifier' })
    expect(stepOf(again)).toBe('password')
    expect(again.text).toContain('ann@example.com')
    expect(atClient(await signIn(browser, password, 'ann@example.com'), 'own')).toBe(true)
  })

  it('a double click on the password: one session, and both clicks end somewhere sensible', async () => {
    const browser = clientBrowser()
    const page = await open(browser, 'own', { login_hint: 'bob@example.com' })
    const click = () => browser.submit(page, { password: PASSWORD }, { form: '/password' })
    const ends = await Promise.all([click(), click()])
    expect(ends.some((end) => atClient(end, 'own'))).toBe(true)
    for (const end of ends) expect([0, 200, 303, 400]).toContain(end.status)
    const sessions = await browser.get(`${server.issuer}/account/sessions`)
    // Bob registered in one browser and signed in in this one.
    expect(sessions.forms.filter(({ action }) => /\/account\/sessions\/[^/]+\/end$/.test(action))).toHaveLength(1)
    expect(sessions.text).toContain('bob@example.com')
  })

  it('a double click on Allow', async () => {
    const page = await open(ann.browser, 'web')
    expect(stepOf(page)).toBe('consent')
    const ends = await Promise.all([allow(ann.browser, page), allow(ann.browser, page)])
    expect(ends.some((end) => atClient(end, 'web'))).toBe(true)
    for (const end of ends) expect([0, 200, 303, 400]).toContain(end.status)
    expect(await ann.signedIn()).toBe(true)
  })
})

describe('two tabs', () => {
  it('with two clients, finishing in reverse order: each ends at its own client with its own state', async () => {
    const browser = clientBrowser()
    const first = await open(browser, 'web', { state: 'first', scope: 'openid email' })
    const second = await open(browser, 'other', { state: 'second', login_hint: 'ann@example.com' })
    const secondConsent = await signIn(browser, second, 'ann@example.com')
    expect(secondConsent.text).toContain('The other shop')
    const secondEnd = await allow(browser, secondConsent)
    expect(atClient(secondEnd, 'other')).toBe(true)
    expect(secondEnd.params.get('state')).toBe('second')

    const firstConsent = await signIn(browser, first, 'ann@example.com')
    expect(firstConsent.text).toContain('The web shop')
    const firstEnd = await allow(browser, firstConsent)
    expect(atClient(firstEnd, 'web')).toBe(true)
    expect(firstEnd.params.get('state')).toBe('first')
  })

  it('a consent that waited while another tab signed out names the client and a way back', async () => {
    const person = await ann.elsewhere()
    const consent = await open(person.browser, 'web', { prompt: 'consent' })
    const page = await person.browser.get(`${server.issuer}/session/end`)
    await person.browser.submit(page, {}, { button: 'yes' })
    const late = await allow(person.browser, consent)
    expect(late.params.has('code')).toBe(false)
    expectRestart(late, startOf('web'))
    expect(late.text).toContain('The web shop')
  })

  it('as two people: the second is asked before the first is left, and each token is of who proved it', async () => {
    const browser = clientBrowser()
    const a = authorizationRequest(server.issuer, 'own')
    const b = authorizationRequest(server.issuer, 'own')
    const [first, second] = [await browser.get(a.url), await browser.get(b.url)]
    const bobs = await tokensAt(await signIn(browser, second, 'bob@example.com'), b.verifier, 'own')
    const asks = await signIn(browser, first, 'ann@example.com')
    expect(stepOf(asks)).toBe('switch_account')
    const end = await browser.submit(asks, {}, { form: '/switch_account', button: 'switch' })
    const anns = await tokensAt(end, a.verifier, 'own')
    expect(payloadOf(anns.id).sub).not.toBe(payloadOf(bobs.id).sub)
    expect(payloadOf(anns.id).sub).toBe(payloadOf((await ann.tokens('own')).id).sub)
    expect((await client.userinfo(bobs.access)).status).toBe(401)
  })
})
