/** OIDC Core §3.1.2.1 and OAuth 2.0 Form Post Response Mode: requests and responses that are posted. PROTOCOL.md E 17, 19. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { SETTINGS, WEB } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, type Person, redirectUri } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { clientRequests, type Fields } from '../../support/token_requests.ts'

let server: Server
let ann: Person

beforeAll(async () => {
  server = await startServer({ settings: SETTINGS })
  ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
})
afterAll(() => server.close())

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const REQUEST_URI = 'urn:ietf:params:oauth:request_uri:posted.'

describe('E17 oidcc-ensure-post-request-succeeds', () => {
  const postBody = (body: string, headers: { [name: string]: string } = FORM, more = '') =>
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
    const { status, headers } = await postBody(search.slice(1), FORM, '?client_id=web')
    expect(status).toBe(303)
    const end = await ann.browser.get(new URL(headers.location ?? '', server.issuer).href)
    expect(end.status).toBe(400)
    expect(end.text).toContain('invalid_request')
  })

  it.each([
    ['JSON', 'application/json', '{}', 415],
    ['multipart', 'multipart/form-data; boundary=x', '--x--', 415],
    ['too much', 'application/x-www-form-urlencoded', `state=${'a'.repeat(66_000)}`, 413],
    ['too many', 'application/x-www-form-urlencoded', `${'a=&'.repeat(300)}b=`, 400],
    ['line breaks', 'application/x-www-form-urlencoded', 'client_id=web%0d%0aSet-Cookie:%20a=b', 303],
  ])('%s', async (_name, type, body, status) => {
    const answer = await postBody(body, { 'content-type': type })
    expect(answer.status).toBe(status)
    expect(String(answer.headers['set-cookie'])).not.toMatch(/a=b/)
  })
})

describe('E17 a request by POST that is too long for an address', () => {
  const long = 'long'.repeat(5000)
  const claims = JSON.stringify({ userinfo: { [long]: null } })
  const post = (clientId: string, parameters: Fields = {}, more = '', browser = ann.browser) => {
    const { url, verifier } = authorizationRequest(server.issuer, clientId, { prompt: 'none', claims, ...parameters })
    const request = { method: 'POST', body: new URL(url).search.slice(1) + more, headers: FORM, from: `${WEB}/` }
    return browser.send(`${server.issuer}/auth`, request).then(({ status, headers }) => {
      return { status, verifier, location: new URL(headers.location ?? '/', server.issuer).href }
    })
  }
  const expectRefused = async (location: string, browser = ann.browser) => {
    const end = await browser.get(location)
    expect([end.status, end.url.startsWith(server.issuer)]).toEqual([400, true])
    expect(end.text).toContain('invalid_request')
  }

  it('comes back whole by GET, once', async () => {
    const { status, location, verifier } = await post('own')
    expect([status, location.length < 300]).toEqual([303, true])
    const end = await ann.browser.get(location, `${WEB}/`)
    expect(end.params.get('state')).toBe('the-state')
    const code = { clientId: 'own', code: end.params.get('code') ?? '', verifier, redirectUri: redirectUri('own') }
    expect((await clientRequests(server.issuer).redeem(code)).status).toBe(200)
    await expectRefused(location)
  })

  it('of many at once exactly one gets it', async () => {
    const { location } = await post('own')
    const all = await Promise.all(Array.from({ length: 20 }, () => ann.browser.send(location)))
    expect(all.filter(({ status }) => status === 303)).toHaveLength(1)
    expect(all.filter(({ status }) => status === 400)).toHaveLength(19)
  })

  it.each([
    ['another client', (url: URL) => url.searchParams.set('client_id', 'web')],
    ['no client', (url: URL) => url.searchParams.delete('client_id')],
    ['the client twice', (url: URL) => url.searchParams.append('client_id', 'own')],
    ['a second id', (url: URL) => url.searchParams.append('request_uri', 'urn:ietf:params:oauth:request_uri:x')],
    ['a parameter more', (url: URL) => url.searchParams.set('redirect_uri', redirectUri('own'))],
    [
      'an id that nobody was given',
      (url: URL) => url.searchParams.set('request_uri', `${REQUEST_URI}${'A'.repeat(43)}`),
    ],
  ])('beside %s its id is as good as none', async (_, change) => {
    const url = new URL((await post('own')).location)
    expect(url.searchParams.get('request_uri')).toMatch(/^urn:ietf:params:oauth:request_uri:posted\.[\w-]{43}$/)
    change(url)
    const end = await ann.browser.get(url.href)
    expect(end.params.has('code')).toBe(false)
    expect(end.params.get('error') ?? end.text).toMatch(/invalid_request/)
  })

  it('A78 a repeated parameter is seen', async () => {
    for (const more of ['&client_id=web', '&client_id=own', '&state=x', '&scope=openid']) {
      const end = await ann.browser.get((await post('own', {}, more)).location)
      expect([more, end.params.has('code')]).toEqual([more, false])
      expect(end.params.get('error') ?? end.text).toMatch(/invalid_request/)
    }
  })

  it('is checked like any other', async () => {
    const wrong = await ann.browser.get((await post('own', { redirect_uri: 'https://evil.example/' })).location)
    expect([wrong.status, wrong.text.includes('invalid_redirect_uri')]).toEqual([400, true])
    const none = await ann.browser.get((await post('own', { code_challenge: undefined })).location)
    expect(none.params.get('error')).toBe('invalid_request')
  })

  it('waits for a minute', async () => {
    const { location } = await post('own')
    await server.shiftDate(61)
    await expectRefused(location)
  })

  it('a long logout request is known again, too', async () => {
    const { id } = await ann.tokens('own')
    const body = new URLSearchParams({
      id_token_hint: id,
      state: long,
      post_logout_redirect_uri: 'https://own.test.example/',
    })
    const request = { method: 'POST', body: body.toString(), headers: FORM, from: `${WEB}/` }
    const { status, headers } = await ann.browser.send(`${server.issuer}/session/end`, request)
    expect([status, (headers.location ?? '').length < 300]).toEqual([303, true])
    const end = await ann.browser.get(new URL(headers.location ?? '', server.issuer).href)
    expect(end.html).toContain(long)
    // At the other endpoint the id means nothing.
    const other = await post('own')
    const moved = other.location.replace('/auth?', '/session/end?')
    expect((await ann.browser.get(moved)).html).not.toContain(long)
  })

  it('one network keeps only so many waiting', async () => {
    const answers: number[] = []
    for (let i = 0; i < 61; i++) answers.push((await post('own')).status)
    expect(new Set(answers)).toEqual(new Set([303, 429]))
    const { search } = new URL(authorizationRequest(server.issuer, 'own', { prompt: 'none' }).url)
    const short = { method: 'POST', body: search.slice(1), headers: FORM, from: `${WEB}/` }
    expect((await ann.browser.send(`${server.issuer}/auth`, short)).status).toBe(303)
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
