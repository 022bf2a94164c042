/** RFC 9207: every authorization response names its issuer, and our own client insists on it. PROTOCOL.md E 18, attack A75. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { createBrowser } from '../../support/browser.ts'
import { authorization, discover, SETTINGS, SPA } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import type { Fields } from '../../support/token_requests.ts'

let server: Server
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

const url = (clientId: string, parameters: Fields) => authorizationRequest(server.issuer, clientId, parameters).url

describe('E18 every response carries iss, equal to the issuer', () => {
  it.each<[string, Fields]>([
    ['success by query', {}],
    ['success by fragment', { response_mode: 'fragment' }],
    ['success without state', { state: undefined }],
    ['login_required', { prompt: 'none', max_age: '0' }],
    ['invalid_request', { prompt: 'none login' }],
    ['invalid_request of PKCE', { code_challenge: undefined }],
    ['invalid_scope', { scope: 'openid phone' }],
    ['unsupported_response_type', { response_type: 'token' }],
    ['unsupported_response_mode', { response_mode: 'x' }],
    ['an error by fragment', { prompt: 'none', max_age: '0', response_mode: 'fragment' }],
    ['request_not_supported', { request: 'x' }],
    ['invalid_target', { resource: 'urn:x' }],
    ['an error without state', { prompt: 'none', max_age: '0', state: undefined }],
  ])('%s', async (name, parameters) => {
    const end = await ann.browser.get(url('own', parameters))
    expect(end.url.startsWith('https://own.test.example/callback')).toBe(true)
    expect(end.params.getAll('iss')).toEqual([server.issuer])
    expect(end.params.has('code')).toBe(name.startsWith('success'))
    expect(end.params.has('error')).toBe(!name.startsWith('success'))
  })

  it('form_post, success and error', async () => {
    for (const more of [{}, { prompt: 'none', max_age: '0' }]) {
      const end = await ann.browser.get(url('own', { response_mode: 'form_post', ...more }))
      expect(end.forms[0]?.fields.filter(({ name }) => name === 'iss')).toMatchObject([{ value: server.issuer }])
    }
  })

  it('a refusal by the person', async () => {
    const page = await ann.browser.get(url('web', {}))
    const end = await ann.browser.submit(page, {}, { form: '/consent', button: 'deny' })
    expect(end.params.get('error')).toBe('access_denied')
    expect(end.params.getAll('iss')).toEqual([server.issuer])
  })

  it('is announced, so that clients may insist', async () => {
    const config = await discover(server.issuer, 'spa')
    expect(config.serverMetadata().authorization_response_iss_parameter_supported).toBe(true)
  })
})

describe('A75 mix-up', () => {
  it.each(['https://evil.example', '', undefined])('a client library refuses a response of issuer %s', async (iss) => {
    const config = await discover(server.issuer, 'spa')
    const request = await authorization(config, `${SPA}/callback`)
    const end = new URL((await ann.browser.get(request.url)).url)
    if (iss === undefined) end.searchParams.delete('iss')
    else end.searchParams.set('iss', iss)
    await expect(oidc.authorizationCodeGrant(config, end, request.checks)).rejects.toThrow()
    // The same response with its own issuer is good: nothing was sent.
    end.searchParams.set('iss', server.issuer)
    expect((await oidc.authorizationCodeGrant(config, end, request.checks)).claims()?.sub).toBeTruthy()
  })

  /** The account pages are a client too: a browser that stops before its callback, signed in as Ann. */
  async function atCallback() {
    const browser = createBrowser({ stopAt: ['https://', `${server.issuer}/account/callback`] })
    for (const cookie of ann.browser.jar.all()) {
      browser.jar.store(new URL(server.issuer), [`${cookie.name}=${cookie.value}; Path=${cookie.path}; HttpOnly`])
    }
    browser.jar.delete('genkan_account')
    const page = await browser.get(`${server.issuer}/account`)
    expect(page.params.get('code')).toBeTruthy()
    return { browser, callback: new URL(page.url) }
  }

  it.each<[string, (callback: URL) => void]>([
    ['another iss', ({ searchParams }) => searchParams.set('iss', 'https://evil.example')],
    ['no iss', ({ searchParams }) => searchParams.delete('iss')],
    ['two iss', ({ searchParams }) => searchParams.append('iss', 'https://evil.example')],
    ['an issuer with a slash more', ({ searchParams }) => searchParams.set('iss', `${server.issuer}/`)],
    ['another state', ({ searchParams }) => searchParams.set('state', 'x')],
    ['no state', ({ searchParams }) => searchParams.delete('state')],
    ['two codes', ({ searchParams }) => searchParams.append('code', 'x')],
  ])('our account pages refuse %s, and take the right response afterwards', async (_name, change) => {
    const { browser, callback } = await atCallback()
    const changed = new URL(callback)
    change(changed)
    const refused = await browser.send(changed.href)
    expect(refused.headers['set-cookie']?.some((line) => /^genkan_account=[^;]/.test(line)) ?? false).toBe(false)
    const right = await browser.send(callback.href)
    expect(right.status).toBe(303)
    expect((await browser.send(`${server.issuer}/account`)).status).toBe(200)
  })

  it('a response for somebody else browser is worth nothing here', async () => {
    const { callback } = await atCallback()
    const answer = await clientBrowser().get(callback.href)
    expect(answer.status).toBe(400)
    expect(answer.text).not.toContain('ann@example.com')
  })
})
