/** What every answer says to browsers and caches (A99): all routes, all kinds of answers, behind TLS. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Answer, Browser } from '../support/browser.ts'
import { SECRET, SPA } from '../support/journeys.ts'
import { sendRaw } from '../support/raw_http.ts'
import { freePort } from '../support/services.ts'
import { startTarget, type Target } from '../support/target.ts'
import { startTlsProxy, type TlsProxy } from '../support/tls_proxy.ts'

let target: Target
let proxy: TlsProxy
let browser: Browser

beforeAll(async () => {
  const port = await freePort()
  target = await startTarget({ issuer: `https://localhost:${port}` })
  proxy = await startTlsProxy({ target: target.server.origin, port })
  browser = target.person({ ca: proxy.ca })
})
afterAll(async () => {
  await proxy?.stop()
  await target?.close()
})

const JSON_BODY = { 'content-type': 'application/json' }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const BASIC = { authorization: `Basic ${Buffer.from(`own:${SECRET}`).toString('base64')}` }

interface Ask {
  readonly path: string
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  readonly body?: string
}

/** Ours by route, the engine's from its discovery document, and what is not there. */
async function asks(): Promise<Ask[]> {
  const discovery = JSON.parse((await browser.send(`${target.issuer}/.well-known/openid-configuration`)).body) as object
  const endpoints = Object.values(discovery).filter(
    (value): value is string => typeof value === 'string' && value.startsWith(`${target.issuer}/`),
  )
  const start = await target.open(browser)
  const { pathname } = new URL(start.url)
  const own = [
    ...[
      '/',
      '/account',
      '/account/profile',
      '/account/password',
      '/account/email',
      '/account/email/code',
      '/account/sessions',
    ],
    ...['/account/sessions/others', '/account/clients', '/account/language', '/account/delete', '/account/deleted'],
    ...['/account/callback', '/account/callback?state=x&code=y', '/account/signed-out', '/account/sign-out'],
    ...[
      '/.well-known/change-password',
      '/robots.txt',
      '/livez',
      '/readyz',
      '/nothing',
      '/account/nothing',
      '/interaction',
    ],
    ...[pathname, `${pathname}/verify_email?code=123456`, '/interaction/none', '/session/end', '/session/end/success'],
    ...[
      '/.well-known/openid-configuration',
      '/.well-known/oauth-authorization-server',
      '/jwks',
      '/auth',
      '/auth?client_id=own',
    ],
    ...['/auth/none', '/assets/none.css', '/metrics', '/%ff', '//evil.example', '/session/end?id_token_hint=x'],
  ]
  const paths = [...new Set([...own, ...endpoints.map((url) => new URL(url).pathname)])]
  const posts: Ask[] = paths.flatMap((path) => [
    { path, method: 'POST', headers: FORM, body: 'a=b' },
    { path, method: 'POST', headers: { ...FORM, ...BASIC }, body: 'grant_type=none&token=x' },
    { path, method: 'POST', headers: JSON_BODY, body: '{' },
  ])
  const others = ['PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH', 'TRACE'].flatMap((method) =>
    paths.map((path) => ({ path, method })),
  )
  const cors = paths.map((path) => ({ path, headers: { origin: SPA } }))
  return [...paths.map((path) => ({ path })), ...posts, ...others, ...cors]
}

/**
 * Ids, challenges, tokens and nonces are random letters, among which any short word turns up one day. Those of 16 or 32 bytes
 * need not have a digit.
 */
function withoutRandom(body: string): string {
  return body.replace(/([\w+/-]{21,})={0,2}/g, (word, letters: string) => {
    const isMixed = /[A-Z]/.test(word) && /[a-z]/.test(word)
    return isMixed && (/\d/.test(word) || letters.length === 22 || letters.length === 43) ? '' : word
  })
}

const name = ({ path, method = 'GET' }: Ask) => `${method} ${path}`

describe('A99: headers of every answer', () => {
  let answers: readonly (readonly [Ask, Answer])[]
  beforeAll(async () => {
    const all: (readonly [Ask, Answer])[] = []
    for (const ask of await asks()) all.push([ask, await browser.send(`${target.issuer}${ask.path}`, ask)])
    answers = all
  })

  const failing = (rule: (headers: Answer['headers'], answer: Answer, ask: Ask) => boolean) =>
    answers
      .filter(([ask, answer]) => !rule(answer.headers, answer, ask))
      .map(([ask, { status }]) => `${name(ask)} ${status}`)

  it('covers pages, redirects, protocol answers and refusals', () => {
    const statuses = new Set(answers.map(([, { status }]) => status))
    for (const status of [200, 303, 400, 401, 404, 405]) expect(statuses).toContain(status)
    expect(answers.length).toBeGreaterThan(200)
    expect(failing((_, { status }) => status > 0 && (status < 500 || status === 501))).toEqual([])
  })

  it('no frame may hold it, in old browsers either', () => {
    expect(failing((headers) => /frame-ancestors 'none'/.test(String(headers['content-security-policy'])))).toEqual([])
    expect(failing((headers) => headers['x-frame-options'] === 'DENY')).toEqual([])
  })

  it('Strict-Transport-Security for a year at least, with subdomains', () => {
    expect(
      failing((headers) => {
        const [, age] = /max-age=(\d+)/.exec(String(headers['strict-transport-security'])) ?? []
        return Number(age) >= 31_536_000 && /includeSubDomains/i.test(String(headers['strict-transport-security']))
      }),
    ).toEqual([])
  })

  it('nosniff, no-referrer, its own browsing context, a policy for resources', () => {
    expect(failing((headers) => headers['x-content-type-options'] === 'nosniff')).toEqual([])
    expect(failing((headers) => headers['referrer-policy'] === 'no-referrer')).toEqual([])
    expect(failing((headers) => headers['cross-origin-opener-policy'] === 'same-origin')).toEqual([])
    expect(failing((headers) => headers['cross-origin-resource-policy'] !== undefined)).toEqual([])
  })

  it('a policy of content that runs only the scripts of this very answer', () => {
    const seen = new Set<string>()
    const policies = answers.filter(
      ([, { headers, body }]) => String(headers['content-type']).includes('html') && body !== '',
    )
    expect(policies.length).toBeGreaterThan(10)
    for (const [ask, { headers, body }] of policies) {
      const policy = String(headers['content-security-policy'])
      expect([name(ask), policy]).toEqual([name(ask), expect.stringMatching(/default-src 'none'/)])
      expect([name(ask), policy]).toEqual([name(ask), expect.stringMatching(/base-uri 'none'/)])
      expect(policy).not.toMatch(/unsafe-inline|unsafe-eval|script-src[^;]*(\*|https?:)/)
      const [, nonce] = /script-src 'nonce-([\w+/=-]+)'/.exec(policy) ?? []
      if (nonce !== undefined) {
        expect(seen.has(nonce)).toBe(false)
        expect(Buffer.from(nonce, 'base64').length).toBeGreaterThanOrEqual(16)
        seen.add(nonce)
      }
      for (const [, attributes = '', script = ''] of body.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)) {
        const hash = createHash('sha256').update(script).digest('base64')
        if (nonce === undefined) expect(policy).toContain(`'sha256-${hash}'`)
        else expect(attributes).toContain(`nonce="${nonce}"`)
      }
      expect(body).not.toMatch(/\son\w+="|style="|javascript:/i)
    }
    expect(seen.size).toBeGreaterThan(5)
  })

  it('nothing personal is kept by caches', () => {
    const PUBLIC = /^\/(assets\/|\.well-known\/(openid|oauth)|jwks|robots)/
    expect(
      failing((headers, _, { path }) => PUBLIC.test(path) || /no-store/.test(String(headers['cache-control']))),
    ).toEqual([])
  })

  it('no versions, no names of software, no TRACE', () => {
    expect(failing((headers) => headers['x-powered-by'] === undefined && headers.server === undefined)).toEqual([])
    const SOFTWARE = /oidc-provider|koa|node\.js|postgres|\bat .*\.ts:\d/i
    expect(failing((_, { body }) => !SOFTWARE.test(withoutRandom(body)))).toEqual([])
    expect(SOFTWARE.test(withoutRandom('<a href="/auth?state=x">koa/3</a>'))).toBe(true)
    expect(
      failing((_, { status, body }, { method }) => method !== 'TRACE' || (status >= 400 && !body.includes('TRACE /'))),
    ).toEqual([])
  })

  it('content types say their charset, and problems are told in the form that was asked for', async () => {
    expect(
      failing(
        (headers, { body }) =>
          body === '' || /charset=utf-8|application\/(problem\+)?json/i.test(String(headers['content-type'])),
      ),
    ).toEqual([])
    const problem = await browser.send(`${target.issuer}/nothing`, { headers: { accept: 'application/json' } })
    expect([problem.status, problem.headers['content-type']]).toEqual([404, expect.stringContaining('json')])
  })

  it('a request that is no HTTP is refused and the connection ends', async () => {
    for (const bytes of [
      'GARBAGE\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      `GET /${'a'.repeat(70_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
    ]) {
      const { status, body } = await sendRaw(target.server.port, bytes)
      expect([400, 414, 431, 505]).toContain(status)
      expect(body).toBe('')
    }
  })
})
