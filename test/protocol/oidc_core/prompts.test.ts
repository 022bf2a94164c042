/** OIDC Core §3.1.2.1: prompt, and Initiating User Registration 1.0. PROTOCOL.md E 8-11 and attack A74. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Page } from '../../support/browser.ts'
import { allow, choose, register, SETTINGS, signIn } from '../../support/journeys.ts'
import { type Mailbox, mailFolder } from '../../support/mailbox.ts'
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
let mailbox: Mailbox
let client: ClientRequests
let ann: Person
let bob: Person
/** Seconds by which the server's clock is ahead. */
let shifted = 0

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  mailbox = mailFolder(server.dataDir)
  client = clientRequests(server.issuer)
  ann = await newPerson(server.issuer, mailbox, 'ann@example.com')
  bob = await newPerson(server.issuer, mailbox, 'bob@example.com')
})
afterAll(() => server.close())

const passes = async (seconds: number) => {
  shifted += seconds
  await server.shiftDate(shifted)
}
const url = (clientId: string, parameters: Fields) => authorizationRequest(server.issuer, clientId, parameters).url
const claimsOf = async (person: Person, parameters: Fields = {}) =>
  payloadOf((await person.tokens('own', parameters)).id)

/** The ID token of a journey that has ended at the client `own`. */
async function claimsAt(end: Page, verifier: string) {
  const code = { clientId: 'own', code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri('own') }
  return payloadOf(tokensOf(await client.redeem(code)).id)
}

function expectError(end: Page, error: string) {
  expect(end.url.startsWith('https://')).toBe(true)
  expect(Object.fromEntries(end.params)).toMatchObject({ error, state: 'the-state', iss: server.issuer })
  expect(end.params.has('code')).toBe(false)
}

describe('prompt=none', () => {
  it('E8 oidcc-prompt-none-not-logged-in: login_required with state and iss, no page of ours on the way', async () => {
    const end = await clientBrowser().get(url('own', { prompt: 'none' }))
    expectError(end, 'login_required')
    expect(end.visited).toHaveLength(2)
  })

  it('E9 oidcc-prompt-none-logged-in: a code, same sub and auth_time', async () => {
    const first = await claimsOf(ann)
    await passes(3)
    const second = await claimsOf(ann, { prompt: 'none' })
    expect(second).toMatchObject({ sub: first.sub, auth_time: first.auth_time })
    expect(Number(second.iat)).toBeGreaterThan(Number(first.iat))
  })

  it.each(['none login', 'login none', 'none consent', 'none select_account', 'none create', 'none none login'])(
    'E11 prompt="%s": invalid_request',
    async (prompt) => {
      expectError(await ann.browser.get(url('own', { prompt })), 'invalid_request')
    },
  )

  it('A74 without consent: consent_required, and nothing is agreed to by asking', async () => {
    for (const _ of [1, 2]) expectError(await bob.browser.get(url('web', { prompt: 'none' })), 'consent_required')
    expect((await bob.authorize('web')).params.has('code')).toBe(true)
    expect((await bob.browser.get(url('web', { prompt: 'none' }))).params.has('code')).toBe(true)
  })

  it('A74 with more than was agreed to: consent_required', async () => {
    await bob.authorize('web')
    expectError(await bob.browser.get(url('web', { prompt: 'none', scope: 'openid email' })), 'consent_required')
  })

  it.each(['ann@example.com', 'nobody@example.com'])('A74 tells nothing of %s by login_hint', async (hint) => {
    const end = await clientBrowser().get(url('own', { prompt: 'none', login_hint: hint }))
    expectError(end, 'login_required')
    expect(end.params.get('error_description')).toBe('End-User authentication is required')
  })

  it('max_age=0 asks for a login, which none forbids', async () => {
    expectError(await ann.browser.get(url('own', { prompt: 'none', max_age: '0' })), 'login_required')
  })
})

describe('prompt=login', () => {
  it('E10 oidcc-prompt-login: asks for the password again, newer auth_time, same sub and session', async () => {
    const before = await claimsOf(ann)
    await passes(5)
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { prompt: 'login' })
    const page = await ann.browser.get(url)
    expect(stepOf(page)).toBe('password')
    expect(page.text).toContain('ann@example.com')
    const after = await claimsAt(await signIn(ann.browser, page, 'ann@example.com'), verifier)
    expect(after).toMatchObject({ sub: before.sub })
    expect(Number(after.auth_time)).toBeGreaterThanOrEqual(Number(before.auth_time) + 5)
    expect(await claimsOf(ann, { prompt: 'none' })).toMatchObject({ auth_time: after.auth_time })
  })

  it('asks each time: the proof of one request serves no other', async () => {
    const first = await ann.browser.get(url('own', { prompt: 'login' }))
    const second = await ann.browser.get(url('own', { prompt: 'login' }))
    expect((await signIn(ann.browser, first, 'ann@example.com')).params.has('code')).toBe(true)
    expect(stepOf(await ann.browser.get(second.url))).toBe('password')
    expect(stepOf(await ann.browser.get(url('own', { prompt: 'login' })))).toBe('password')
  })

  it('a way back without the password: cancelling answers access_denied and the session lives on', async () => {
    const page = await ann.browser.get(url('own', { prompt: 'login' }))
    expectError(await ann.browser.submit(page, {}, { form: '/abort' }), 'access_denied')
    expect(await ann.signedIn()).toBe(true)
  })

  it('prompt="login consent" asks for both, in this order', async () => {
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { prompt: 'login consent' })
    const page = await ann.browser.get(url)
    expect(stepOf(page)).toBe('password')
    const consent = await signIn(ann.browser, page, 'ann@example.com')
    expect(stepOf(consent)).toBe('consent')
    expect((await claimsAt(await allow(ann.browser, consent), verifier)).sub).toBeDefined()
  })
})

describe('prompt=consent and what was agreed to', () => {
  it('asks once, then no more, and again when the client insists', async () => {
    const first = await ann.browser.get(url('other', { scope: 'openid email' }))
    expect(stepOf(first)).toBe('consent')
    expect(first.text).toContain('The other shop')
    expect((await allow(ann.browser, first)).params.has('code')).toBe(true)
    expect((await ann.browser.get(url('other', { scope: 'openid email' }))).params.has('code')).toBe(true)
    expect(stepOf(await ann.browser.get(url('other', { scope: 'openid email', prompt: 'consent' })))).toBe('consent')
  })

  it('E oidcc user rejects: Deny answers access_denied and changes nothing', async () => {
    const page = await ann.browser.get(url('web', { scope: 'openid' }))
    expectError(await ann.browser.submit(page, {}, { form: '/consent', button: 'deny' }), 'access_denied')
    expect(stepOf(await ann.browser.get(url('web', { scope: 'openid' })))).toBe('consent')
  })

  it('a first-party client is not asked for, unless it insists', async () => {
    expect((await ann.browser.get(url('own', {}))).params.has('code')).toBe(true)
    expect(stepOf(await ann.browser.get(url('own', { prompt: 'consent' })))).toBe('consent')
  })
})

describe('prompt=select_account', () => {
  it('goes on as the account of this browser, without a password', async () => {
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { prompt: 'select_account' })
    const before = await claimsOf(ann)
    const page = await ann.browser.get(url)
    expect(stepOf(page)).toBe('choose_account')
    expect(page.text).toContain('ann@example.com')
    const end = await ann.browser.submit(page, {}, { form: '/choose_account', button: 'continue' })
    expect(await claimsAt(end, verifier)).toMatchObject({ sub: before.sub, auth_time: before.auth_time })
  })

  it('or as another, after asking whether to leave the first', async () => {
    const eve = await bob.elsewhere()
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { prompt: 'select_account' })
    const page = await eve.browser.get(url)
    const other = await eve.browser.submit(page, {}, { form: '/choose_account', button: 'other' })
    expect(stepOf(other)).toBe('identifier')
    const asks = await signIn(eve.browser, other, 'ann@example.com')
    expect(stepOf(asks)).toBe('switch_account')
    const end = await eve.browser.submit(asks, {}, { form: '/switch_account', button: 'switch' })
    expect((await claimsAt(end, verifier)).sub).toBe((await claimsOf(ann)).sub)
    expect((await claimsOf(eve)).sub).toBe((await claimsOf(ann)).sub)
    expect(await bob.signedIn()).toBe(true)
  })

  it('without a session there is nothing to choose from', async () => {
    expect(stepOf(await clientBrowser().get(url('own', { prompt: 'select_account' })))).toBe('identifier')
  })

  it('prompt="select_account login": chooses, then proves', async () => {
    const page = await ann.browser.get(url('own', { prompt: 'select_account login' }))
    const password = await ann.browser.submit(page, {}, { form: '/choose_account', button: 'continue' })
    expect(stepOf(password)).toBe('password')
    expect((await signIn(ann.browser, password, 'ann@example.com')).params.has('code')).toBe(true)
  })

  it('prompt="select_account consent": chooses, then agrees', async () => {
    const page = await ann.browser.get(url('own', { prompt: 'select_account consent' }))
    const consent = await ann.browser.submit(page, {}, { form: '/choose_account', button: 'continue' })
    expect(stepOf(consent)).toBe('consent')
    expect((await allow(ann.browser, consent)).params.has('code')).toBe(true)
  })
})

describe('prompt=create (Initiating User Registration 1.0)', () => {
  it('opens the registration; who has an account can sign in from there', async () => {
    const browser = clientBrowser()
    const page = await browser.get(url('own', { prompt: 'create', login_hint: 'new@example.com' }))
    expect(stepOf(page)).toBe('register')
    expect(page.html).toContain('new@example.com')
    const login = await choose(browser, page, 'login')
    expect(['identifier', 'password']).toContain(stepOf(login))
  })

  it('beside a session: registers, and asks before the other account is left', async () => {
    const first = await claimsOf(ann)
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { prompt: 'create' })
    const page = await ann.browser.get(url)
    expect(stepOf(page)).toBe('register')
    const asks = await register(ann.browser, page, mailbox, 'anns-second@example.com')
    expect(stepOf(asks)).toBe('switch_account')
    const end = await ann.browser.submit(asks, {}, { form: '/switch_account', button: 'stay' })
    expect((await claimsAt(end, verifier)).sub).toBe(first.sub)
  })

  it('prompt="create consent": both', async () => {
    const browser = clientBrowser()
    const page = await browser.get(url('own', { prompt: 'create consent' }))
    const consent = await register(browser, page, mailbox, 'carol@example.com')
    expect(stepOf(consent)).toBe('consent')
    expect((await allow(browser, consent)).params.has('code')).toBe(true)
  })
})
