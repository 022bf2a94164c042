import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createBrowser } from './browser.ts'
import { createCookieJar } from './cookie_jar.ts'
import { formsOf, textOf } from './html.ts'
import { startTlsProxy } from './tls_proxy.ts'

const PAGE = `<!doctype html><title>Sign &amp; in</title><form method="post" action="/next">
  <input type="hidden" name="csrf" value="a&quot;b"><label>E-mail <input name="email" value=""></label>
  <input type="checkbox" name="shared" value="yes"> <select name="locale"><option value="en"><option value="fi" selected></select>
  <textarea name="note">one &lt; two</textarea><button name="action" value="go">Go</button><button name="action" value="back">Back</button></form>`

describe('formsOf', () => {
  it('finds fields of every kind with decoded values', () => {
    const [form] = formsOf(PAGE)
    expect(form?.method).toBe('post')
    expect(form?.fields.map(({ name, type, value }) => [name, type, value])).toEqual([
      ['csrf', 'hidden', 'a"b'],
      ['email', 'text', ''],
      ['shared', 'checkbox', 'yes'],
      ['locale', 'select', 'fi'],
      ['note', 'textarea', 'one < two'],
      ['action', 'submit', 'go'],
      ['action', 'submit', 'back'],
    ])
    expect(textOf('<style>x</style><p>a&nbsp;&amp; <b>b</b></p>')).toBe('a & b')
  })
})

describe('createCookieJar', () => {
  const https = new URL('https://id.example/interaction/u1')
  it.each([
    ['__Host-a=1; Secure; Path=/', https, true],
    ['__Host-a=1; Secure; Path=/x', https, false],
    ['__Host-a=1; Secure; Path=/; Domain=id.example', https, false],
    ['__Secure-a=1; Path=/interaction', https, false],
    ['__Host-a=1; Secure; Path=/', new URL('http://localhost/'), false],
    ['a=1; Secure', new URL('http://localhost/'), true],
    ['a=1; Secure', new URL('http://id.example/'), false],
    ['a=1; Domain=other.example', https, false],
    ['a=1; SameSite=None', https, false],
  ])('%s from %s is kept: %s', (line, url, kept) => {
    expect(createCookieJar().store(url, [line])).toHaveLength(kept ? 0 : 1)
  })

  it('sends by path, expiry and SameSite', () => {
    let now = 0
    const jar = createCookieJar(() => now)
    jar.store(https, ['deep=1; Path=/interaction/u1; Max-Age=10', 'strict=1; Path=/; SameSite=Strict', 'lax=1; Path=/'])
    const own = { crossSite: false, topLevelGet: true }
    expect(jar.header(https, own)).toBe('deep=1; strict=1; lax=1')
    expect(jar.header(new URL('https://id.example/interaction/u12'), own)).toBe('strict=1; lax=1')
    expect(jar.header(https, { crossSite: true, topLevelGet: true })).toBe('deep=1; lax=1')
    expect(jar.header(https, { crossSite: true, topLevelGet: false })).toBeUndefined()
    now = 11_000
    expect(jar.header(https, own)).toBe('strict=1; lax=1')
    jar.store(https, ['lax=; Path=/; Max-Age=0'])
    expect(jar.all().map(({ name }) => name)).toEqual(['strict'])
    jar.endSession()
    expect(jar.all()).toEqual([])
  })
})

describe('createBrowser', () => {
  let server: Server
  let origin: string
  const seen: { url: string; method: string; headers: IncomingMessage['headers']; body: string }[] = []
  const answer = (incoming: IncomingMessage, outgoing: ServerResponse, body: string): ServerResponse => {
    seen.push({ url: incoming.url ?? '', method: incoming.method ?? '', headers: incoming.headers, body })
    if (incoming.url === '/start') {
      return outgoing.writeHead(303, { location: '/page#kept', 'set-cookie': 'sid=1; Path=/; HttpOnly' }).end()
    }
    if (incoming.url === '/next') return outgoing.writeHead(303, { location: 'http://client.invalid/cb?code=x' }).end()
    return outgoing.writeHead(200, { 'content-type': 'text/html' }).end(PAGE)
  }

  beforeAll(async () => {
    server = createServer((incoming, outgoing) => {
      let body = ''
      incoming.on('data', (part) => {
        body += part
      })
      incoming.on('end', () => answer(incoming, outgoing, body))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `http://localhost:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => new Promise((resolve) => server.close(resolve)))

  it('follows redirects, keeps cookies, fills forms and stops at the client', async () => {
    const browser = createBrowser({ stopAt: ['http://client.invalid/'] })
    const page = await browser.get(`${origin}/start`)
    expect(page.url).toBe(`${origin}/page#kept`)
    expect(page.title).toBe('Sign & in')
    const end = await browser.submit(page, { email: 'mari@example.com', shared: true }, { button: 'back' })
    expect(end.status).toBe(0)
    expect(end.params.get('code')).toBe('x')
    const posted = seen.find(({ method }) => method === 'POST')
    expect(posted?.body).toBe('csrf=a%22b&email=mari%40example.com&shared=yes&locale=fi&note=one+%3C+two&action=back')
    expect(posted?.headers).toMatchObject({ cookie: 'sid=1', origin, 'sec-fetch-site': 'same-origin' })
    await expect(browser.submit(page, { phone: '1' })).rejects.toThrow('no field phone')
  })

  it('speaks https through the TLS proxy and sends what another site would send', async () => {
    const proxy = await startTlsProxy({ target: origin })
    const browser = createBrowser({ ca: proxy.ca })
    const page = await browser.post(`${proxy.origin}/page`, { a: '1' }, 'https://evil.example/x')
    expect(page.status).toBe(200)
    expect(seen.at(-1)?.headers).toMatchObject({
      origin: 'https://evil.example',
      'sec-fetch-site': 'cross-site',
      'x-forwarded-proto': 'https',
      host: `localhost:${proxy.port}`,
    })
    await expect(createBrowser().get(proxy.origin)).rejects.toThrow(/self-signed/)
    await proxy.stop()
  })
})
