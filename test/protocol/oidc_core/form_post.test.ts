/** OIDC Core §3.1.2.1 and OAuth 2.0 Form Post Response Mode: requests and responses that are posted. PROTOCOL.md E 17, 19. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SETTINGS, WEB } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { clientRequests } from '../../support/token_requests.ts'

let server: Server
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

describe('E17 oidcc-ensure-post-request-succeeds', () => {
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const postBody = (body: string, headers: { [name: string]: string } = form, more = '') =>
    ann.browser.send(`${server.issuer}/auth${more}`, { method: 'POST', body, headers, from: `${WEB}/` })

  it('a form of another site signs in like a link, with the cookies of the session', async () => {
    const { url, verifier } = authorizationRequest(server.issuer, 'own', { prompt: 'none' })
    const { searchParams } = new URL(url)
    const end = await ann.browser.post(`${server.issuer}/auth`, Object.fromEntries(searchParams), `${WEB}/`)
    const code = end.params.get('code') ?? ''
    const redeemed = await clientRequests(server.issuer).redeem({
      clientId: 'own',
      code,
      verifier,
      redirectUri: redirectUri('own'),
    })
    expect(redeemed.status).toBe(200)
  })

  it('answers 303, so that the browser asks again with GET', async () => {
    const { search } = new URL(authorizationRequest(server.issuer, 'web').url)
    const answer = await postBody(search.slice(1))
    expect(answer.status).toBe(303)
    expect(answer.headers.location).toMatch(/^(http:\/\/localhost:\d+)?\/auth\?/)
  })

  it('A78 a parameter in query and body is a repeated one', async () => {
    const { search } = new URL(authorizationRequest(server.issuer, 'own').url)
    const { status, headers } = await postBody(search.slice(1), form, '?client_id=web')
    expect(status).toBe(303)
    const end = await ann.browser.get(new URL(headers.location ?? '', server.issuer).href)
    expect(end.status).toBe(400)
    expect(end.text).toContain('invalid_request')
  })

  it.each([
    ['JSON', 'application/json', '{}', 415],
    ['multipart', 'multipart/form-data; boundary=x', '--x--', 415],
    ['too much', 'application/x-www-form-urlencoded', `state=${'a'.repeat(10_000)}`, 413],
    ['line breaks', 'application/x-www-form-urlencoded', 'client_id=web%0d%0aSet-Cookie:%20a=b', 303],
  ])('%s', async (_name, type, body, status) => {
    const answer = await postBody(body, { 'content-type': type })
    expect(answer.status).toBe(status)
    expect(String(answer.headers['set-cookie'])).not.toMatch(/a=b/)
  })
})

describe('E19 response_mode=form_post', () => {
  it('answers with a page that posts itself, allowed by nothing but the hash of its script', async () => {
    const end = await ann.authorize('own', { response_mode: 'form_post' })
    expect(end.status).toBe(200)
    const [form] = end.forms
    expect(form).toMatchObject({ method: 'post', action: redirectUri('own') })
    const fields = Object.fromEntries((form?.fields ?? []).map(({ name, value }) => [name, value]))
    expect(fields).toMatchObject({ state: 'the-state', iss: server.issuer, code: expect.stringMatching(/./) })
    const policy = String(end.headers['content-security-policy'])
    expect(policy).toMatch(/script-src[^;]*'sha256-/)
    expect(policy).not.toMatch(/unsafe|form-action|script-src[^;]*\*/)
    expect(end.headers['cache-control']).toContain('no-store')
  })

  it('escapes what the request gave', async () => {
    const end = await ann.authorize('own', { response_mode: 'form_post', state: '"><script>alert(1)</script>' })
    expect(end.html).not.toContain('<script>alert')
    expect(end.forms[0]?.fields.find(({ name }) => name === 'state')?.value).toBe('"><script>alert(1)</script>')
  })

  it('carries errors too', async () => {
    const answer = await clientBrowser().send(
      authorizationRequest(server.issuer, 'web', { response_mode: 'form_post', prompt: 'none' }).url,
    )
    expect(answer.status).toBe(400)
    expect(answer.headers.location).toBeUndefined()
    expect(answer.body).toContain('login_required')
  })

  it('response_mode=fragment keeps the code out of the client server logs', async () => {
    const end = await ann.authorize('own', { response_mode: 'fragment' })
    expect(new URL(end.url).search).toBe('')
    expect(end.params.get('code')).toBeTruthy()
  })
})
