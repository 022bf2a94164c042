/** OIDC Core §3.1.2.1: max_age, id_token_hint, login_hint, ui_locales, acr. PROTOCOL.md E 12, 13, 15, attack A74. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Page } from '../../support/browser.ts'
import { choose, PASSWORD, SETTINGS, signIn } from '../../support/journeys.ts'
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

describe('max_age', () => {
  it('E12 oidcc-max-age-10000: no login, auth_time unchanged and present', async () => {
    const before = await claimsOf(ann)
    expect(await claimsOf(ann, { max_age: '10000' })).toMatchObject({ auth_time: before.auth_time })
  })

  it('E12 oidcc-max-age-1: after two seconds a login again, newer auth_time', async () => {
    const before = await claimsOf(ann)
    await passes(60)
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { max_age: '1' })
    const page = await ann.browser.get(url)
    expect(stepOf(page)).toBe('password')
    const after = await claimsAt(await signIn(ann.browser, page, 'ann@example.com'), verifier)
    expect(Number(after.auth_time)).toBeGreaterThanOrEqual(Number(before.auth_time) + 60)
    expect(after.sub).toBe(before.sub)
  })

  it('with prompt=none and a sign-in that is too old: login_required', async () => {
    await passes(60)
    expectError(await ann.browser.get(url('own', { max_age: '1', prompt: 'none' })), 'login_required')
  })

  it('max_age=0 is prompt=login', async () => {
    expect(stepOf(await ann.browser.get(url('own', { max_age: '0' })))).toBe('password')
  })
})

describe('id_token_hint', () => {
  const hintOf = async (person: Person) => (await person.tokens('own')).id

  it('E13 oidcc-id-token-hint: of the same person with prompt=none succeeds', async () => {
    const hint = await hintOf(ann)
    const claims = await claimsOf(ann, { prompt: 'none', id_token_hint: hint })
    expect(claims.sub).toBe(payloadOf(hint).sub)
  })

  it('E13 an expired hint is a hint still', async () => {
    const hint = await hintOf(ann)
    await passes(2 * 3600)
    expect((await claimsOf(ann, { prompt: 'none', id_token_hint: hint })).sub).toBe(payloadOf(hint).sub)
  })

  it('E13 A74 of somebody else with prompt=none: login_required', async () => {
    expectError(
      await ann.browser.get(url('own', { prompt: 'none', id_token_hint: await hintOf(bob) })),
      'login_required',
    )
  })

  it('E13 of somebody else: asks who, and gives no token for another than the one expected', async () => {
    const page = await ann.browser.get(url('own', { id_token_hint: await hintOf(bob) }))
    expect(stepOf(page)).toBe('identifier')
    expect(page.html).not.toContain('ann@example.com')
    const end = await signIn(ann.browser, page, 'ann@example.com')
    expectError(end, 'login_required')
  })

  it('the expected person gets in, after saying who is to leave', async () => {
    const eve = await ann.elsewhere()
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { id_token_hint: await hintOf(bob) })
    const asks = await signIn(eve.browser, await eve.browser.get(url), 'bob@example.com')
    expect(stepOf(asks)).toBe('switch_account')
    const end = await eve.browser.submit(asks, {}, { form: '/switch_account', button: 'switch' })
    expect((await claimsAt(end, verifier)).sub).toBe((await claimsOf(bob)).sub)
  })

  it('claims.id_token.sub.value of somebody else: the same answers', async () => {
    const claims = JSON.stringify({ id_token: { sub: { value: (await claimsOf(bob)).sub } } })
    expectError(await ann.browser.get(url('own', { prompt: 'none', claims })), 'login_required')
    expect((await bob.browser.get(url('own', { prompt: 'none', claims }))).params.has('code')).toBe(true)
    const page = await ann.browser.get(url('own', { claims }))
    expect(stepOf(page)).toBe('identifier')
    expectError(await signIn(ann.browser, page, 'ann@example.com'), 'login_required')
  })

  it('E13 tampered, of another client, unsigned, or of another issuer: invalid_request', async () => {
    const hint = await hintOf(ann)
    const [head = '', , signature = ''] = hint.split('.')
    const forged = Buffer.from(JSON.stringify({ ...payloadOf(hint), sub: 'x' })).toString('base64url')
    const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url')
    const foreign = Buffer.from(JSON.stringify({ ...payloadOf(hint), iss: 'https://evil.example' })).toString(
      'base64url',
    )
    const hints = [
      ...[`${head}.${forged}.${signature}`, `${none}.${forged}.`, `${head}.${foreign}.${signature}`],
      ...[`${hint.slice(0, -6)}AAAAAA`, 'x', (await ann.tokens('other', { scope: 'openid email' })).id],
    ]
    for (const given of hints) {
      expectError(await ann.browser.get(url('own', { prompt: 'none', id_token_hint: given })), 'invalid_request')
    }
  })
})

describe('login_hint', () => {
  it.each(['bob@example.com', 'nobody@example.com', ' Bob@EXAMPLE.com '])(
    'oidcc-login-hint: %s goes straight to the password, whether there is such an account or not',
    async (hint) => {
      const page = await clientBrowser().get(url('own', { login_hint: hint }))
      expect(stepOf(page)).toBe('password')
      expect(page.text).toContain(hint.trim().toLowerCase())
    },
  )

  it.each(['not an address', '+358401234567', '"><script>alert(1)</script>', 'a@b@c'])(
    'a hint that names nobody is left out: %s',
    async (hint) => {
      const page = await clientBrowser().get(url('own', { login_hint: hint }))
      expect(stepOf(page)).toBe('identifier')
      expect(page.html).not.toContain('<script>alert')
    },
  )

  it('the hint can be corrected: another person may sign in', async () => {
    const browser = clientBrowser()
    const page = await browser.get(url('own', { login_hint: 'nobody@example.com' }))
    const who = await choose(browser, page, 'identifier')
    expect(stepOf(who)).toBe('identifier')
    expect((await signIn(browser, who, 'bob@example.com')).params.has('code')).toBe(true)
  })
})

describe('ui_locales', () => {
  it.each([
    ['fi', 'fi'],
    ['fi-FI en', 'fi'],
    ['de fr fi en', 'fi'],
    ['en fi', 'en'],
    ['tlh', 'en'],
    ['', 'en'],
  ])('oidcc-ui-locales: "%s" gives a page in %s', async (wanted, locale) => {
    const page = await clientBrowser().get(url('own', { ui_locales: wanted }))
    expect(page.headers['content-language']).toBe(locale)
    expect(page.html).toContain(`<html lang="${locale}"`)
    expect(page.title).toContain(locale === 'fi' ? 'Kirjaudu sisään' : 'Sign in')
  })

  it('every page of the conversation stays in Finnish, errors and consent too', async () => {
    const browser = clientBrowser()
    const start = await browser.get(
      url('web', { ui_locales: 'fi', login_hint: 'ann@example.com', scope: 'openid email' }),
    )
    const wrong = await browser.submit(start, { password: 'not the password' }, { form: '/password' })
    expect(wrong.status).toBe(400)
    const consent = await browser.submit(wrong, { password: PASSWORD }, { form: '/password' })
    expect(stepOf(consent)).toBe('consent')
    for (const page of [start, wrong, consent]) expect(page.headers['content-language']).toBe('fi')
  })
})

describe('the chooser of languages', () => {
  const languageOf = (page: Page) => page.headers['content-language']

  it('beats ui_locales through sign-in and consent, and only in this conversation', async () => {
    const browser = clientBrowser()
    const asked = { ui_locales: 'fi', login_hint: 'bob@example.com', scope: 'openid email', prompt: 'consent' }
    const start = await browser.get(url('web', asked))
    expect([languageOf(start), start.html.match(/<html lang="fi" dir="ltr"/)?.length]).toEqual(['fi', 1])
    const page = await browser.submit(start, {}, { form: '/language', button: 'ar' })
    expect([stepOf(page), page.url, languageOf(page)]).toEqual(['password', start.url, 'ar'])
    expect(page.html).toContain('<html lang="ar" dir="rtl"')
    const wrong = await browser.submit(page, { password: 'not the password' }, { form: '/password' })
    const consent = await browser.submit(wrong, { password: PASSWORD }, { form: '/password' })
    expect([wrong.status, languageOf(wrong), stepOf(consent), languageOf(consent)]).toEqual([
      400,
      'ar',
      'consent',
      'ar',
    ])
    const swedish = await browser.submit(consent, {}, { form: '/language', button: 'sv' })
    expect([stepOf(swedish), languageOf(swedish)]).toEqual(['consent', 'sv'])
    const end = await browser.submit(swedish, {}, { form: '/consent', button: 'allow' })
    expect(end.params.has('code')).toBe(true)

    expect(languageOf(await browser.get(url('web', { ...asked, prompt: 'login' })))).toBe('fi')
    const silent = await browser.get(url('web', { login_hint: 'bob@example.com', prompt: 'login' }))
    expect(languageOf(silent)).toBe('sv')
  })

  it('works on the page of a wrong request, whose ui_locales it takes out of the address', async () => {
    const browser = clientBrowser()
    const page = await browser.get(`${server.issuer}/auth?client_id=nobody&ui_locales=fi&state=a%20b`)
    expect([page.status, languageOf(page)]).toEqual([400, 'fi'])
    const thai = await browser.submit(page, {}, { form: '/language', button: 'th' })
    expect([thai.url, languageOf(thai)]).toEqual([`${server.issuer}/auth?client_id=nobody&state=a+b`, 'th'])
  })
})

describe('acr_values', () => {
  it('E15 oidcc-ensure-request-with-acr-values-succeeds: an advertised level is returned', async () => {
    const metadata = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as {
      acr_values_supported: string[]
    }
    const [level = ''] = metadata.acr_values_supported
    expect(await claimsOf(ann, { acr_values: level })).toMatchObject({ acr: level })
  })

  it('a level that does not exist is voluntary: the sign-in succeeds and says what it reached', async () => {
    expect(await claimsOf(ann, { acr_values: 'urn:example:gold 9' })).toMatchObject({ acr: 'urn:genkan:acr:basic' })
  })

  const essential = (...values: string[]) => JSON.stringify({ id_token: { acr: { essential: true, values } } })

  it.each(['none', undefined])('E15 essential acr that no login reaches: an error, prompt=%s', async (prompt) => {
    const end = await ann.browser.get(url('own', { prompt, claims: essential('urn:example:gold') }))
    expectError(end, 'unmet_authentication_requirements')
  })

  it('E15 essential acr that is reached', async () => {
    const claims = await claimsOf(ann, { claims: essential('urn:example:gold', 'urn:genkan:acr:basic') })
    expect(claims.acr).toBe('urn:genkan:acr:basic')
  })

  it('E15 essential acr before the sign-in', async () => {
    const browser = clientBrowser()
    const page = await browser.get(url('own', { claims: essential('urn:genkan:acr:basic') }))
    expect((await signIn(browser, page, 'bob@example.com')).params.has('code')).toBe(true)
    expectError(
      await clientBrowser().get(url('own', { claims: essential('urn:example:gold') })),
      'unmet_authentication_requirements',
    )
  })
})
