/** Cookies behind a TLS proxy, as in production: names, attributes, tossed ones (A57), and ones that break things (A58). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../support/browser.ts'
import { choose, PASSWORD, signIn } from '../support/journeys.ts'
import { freePort } from '../support/services.ts'
import { startTarget, type Target } from '../support/target.ts'
import { startTlsProxy, type TlsProxy } from '../support/tls_proxy.ts'

let target: Target
let proxy: TlsProxy
let member: { email: string; browser: Browser }

beforeAll(async () => {
  const port = await freePort()
  target = await startTarget({ issuer: `https://localhost:${port}` })
  proxy = await startTlsProxy({ target: target.server.origin, port })
  const browser = person()
  const start = await choose(browser, await target.open(browser), 'create')
  await browser.submit(start, { email: 'tls@shop.example', password: PASSWORD }, { form: '/register' })
  const { code } = await mailed('tls@shop.example')
  const page = await browser.get(start.url)
  expect((await browser.submit(page, { code }, { form: '/verify_email' })).params.has('code')).toBe(true)
  await browser.get(`${target.issuer}/account`)
  member = { email: 'tls@shop.example', browser }
})
afterAll(async () => {
  await proxy?.stop()
  await target?.close()
})

/** A person beyond the proxy: who they are is what the proxy says. */
const person = () => target.person({ ca: proxy.ca })

async function mailed(email: string) {
  const mail = await target.mailbox.to(email)
  return { code: /\b\d{3} ?\d{3}\b/.exec(mail.text)?.[0].replace(' ', '') ?? '', mail }
}

interface Attributes {
  readonly name: string
  readonly value: string
  readonly flags: { readonly [name: string]: string | true }
}

function cookiesOf(lines: readonly string[]): Attributes[] {
  return lines.map((line) => {
    const [pair = '', ...rest] = line.split(/;\s*/)
    const cut = pair.indexOf('=')
    const flags = rest
      .map((part) => part.split('='))
      .map(([name = '', value]) => [name.toLowerCase(), value ?? true] as const)
    return { name: pair.slice(0, cut), value: pair.slice(cut + 1), flags: Object.fromEntries(flags) }
  })
}

describe('A57: names and attributes', () => {
  it('every cookie has the prefix of its kind, HttpOnly, Secure, SameSite and no Domain, and fits', async () => {
    const browser = person()
    const seen: Attributes[] = []
    const send = browser.send
    const walk = async (url: string, init: Parameters<typeof send>[1] = {}): Promise<string> => {
      let [at, request] = [url, init]
      for (let hops = 0; hops < 10; hops++) {
        const answer = await send(at, request)
        seen.push(...cookiesOf(answer.headers['set-cookie'] ?? []))
        const { location } = answer.headers
        if (location === undefined || !new URL(location, at).href.startsWith(target.issuer)) return at
        at = new URL(location, at).href
        request = { from: url }
      }
      return at
    }
    await walk(`${target.issuer}/account`)
    const start = await target.open(browser)
    const page = await browser.submit(start, { identifier: member.email }, { form: '/identifier' })
    const { action = '', fields = [] } = page.forms.find((form) => form.action.endsWith('/password')) ?? {}
    const csrf = fields.find(({ name }) => name === 'csrf')?.value ?? ''
    const form = { method: 'POST', from: page.url, headers: { 'content-type': 'application/x-www-form-urlencoded' } }
    await walk(new URL(action, page.url).href, {
      ...form,
      body: new URLSearchParams({ csrf, password: PASSWORD }).toString(),
    })
    await walk(`${target.issuer}/account`)
    const language = await browser.get(`${target.issuer}/account/language`)
    const token = language.forms.flatMap((each) => each.fields).find(({ name }) => name === 'csrf')?.value ?? ''
    await walk(`${target.issuer}/account/language`, { ...form, from: language.url, body: `csrf=${token}&locale=en` })

    const named = new Map(seen.map((cookie) => [cookie.name, cookie]))
    const host = [
      '__Host-genkan_session',
      '__Host-genkan_account',
      '__Host-genkan_account_pending',
      '__Host-genkan_csrf',
      '__Host-genkan_device',
      '__Host-genkan_done',
      '__Host-genkan_locale',
      '__Host-genkan_method',
    ]
    const bound = ['__Secure-genkan_interaction', '__Secure-genkan_resume']
    expect([...named.keys()].sort()).toEqual([...host, ...bound].sort())
    for (const { name, value, flags } of seen) {
      expect(Object.keys(flags)).not.toContain('domain')
      expect({ name, secure: flags.secure, httpOnly: flags.httponly }).toEqual({ name, secure: true, httpOnly: true })
      expect([name, String(flags.samesite).toLowerCase()]).toEqual([name, expect.stringMatching(/^(lax|strict)$/)])
      expect(name.length + value.length).toBeLessThanOrEqual(4096)
      if (name.startsWith('__Host-')) expect([name, flags.path]).toEqual([name, '/'])
      if (bound.includes(name))
        expect([name, flags.path]).toEqual([name, expect.stringMatching(/^\/(interaction|auth)\/[\w-]{20,}$/)])
    }
    // What a real browser would not have kept is what the jar of these tests has refused.
    expect(browser.jar.all().map(({ name }) => name)).toEqual(
      expect.arrayContaining(['__Host-genkan_session', '__Host-genkan_csrf']),
    )
  })

  it('without TLS in front nothing is handed out that only https protects', async () => {
    const plain = await fetch(`${target.server.origin}/account`, { redirect: 'manual' })
    for (const { flags } of cookiesOf(plain.headers.getSetCookie())) expect(flags.secure).toBe(true)
  })
})

describe('A57: tossed cookies', () => {
  const cookieHeader = (browser: Browser, url: string) =>
    browser.jar.header(new URL(url), { crossSite: false, topLevelGet: true }) ?? ''

  it('names without the prefix, as a sibling host can set them, count for nothing', async () => {
    const stolen = cookieHeader(member.browser, `${target.issuer}/account`)
    for (const prefix of [
      '__Secure-',
      '',
      '__host-',
      '__HOST-',
      '__Host_',
      '__Host-%00',
      '\u00a0__Host-',
      '\u0085__Host-',
    ]) {
      const tossed = stolen.replaceAll('__Host-', prefix)
      const answer = await person().send(`${target.issuer}/account`, { headers: { cookie: tossed } })
      expect([prefix, answer.status]).toEqual([prefix, 303])
      expect(answer.body).not.toContain(member.email)
    }
    // The twin: with the real names it is the account.
    const own = await person().send(`${target.issuer}/account`, { headers: { cookie: stolen } })
    expect(own.status).toBe(200)
    expect(own.body).toContain(member.email)
  })

  it.each([
    ['both path-bound cookies', '__Secure-'],
    ['the one of the interaction only, so that the victim cannot resume', '__Secure-genkan_interaction'],
  ])("an interaction that A began does not become the victim's: %s", async (_name, prefix) => {
    const attacker = person()
    const begun = await target.open(attacker)
    const planted = attacker.jar.all().filter(({ name }) => name.startsWith(prefix))
    expect(planted.length).toBeGreaterThan(0)
    const victim = person()
    // A sibling host plants A's path-bound cookies in the victim's browser; `__Host-` ones it cannot set.
    const refused = victim.jar.store(
      new URL(target.issuer),
      planted.map(({ name, value, path }) => `${name}=${value}; Path=${path}; Secure; HttpOnly; Domain=localhost`),
    )
    expect(refused).toEqual([])
    expect(
      victim.jar.store(new URL(target.issuer), ['__Host-genkan_session=x; Path=/; Secure; Domain=localhost']),
    ).toHaveLength(1)
    const opened = await victim.get(begun.url)
    if (opened.forms.some(({ action }) => action.endsWith('/identifier'))) await signIn(victim, opened, member.email)
    // Whatever the victim did: A, who holds the same cookies, must not come out as the victim.
    const resumed = await attacker.get(`${target.issuer}/auth/${new URL(begun.url).pathname.split('/')[2]}`)
    expect(resumed.params.has('code') && !resumed.params.has('error')).toBe(false)
    const account = await attacker.get(`${target.issuer}/account`)
    expect(account.text).not.toContain(member.email)
  })

  it('once A has answered anything, the planted interaction is shown to nobody else', async () => {
    const attacker = person()
    const page = await attacker.submit(
      await target.open(attacker),
      { identifier: 'attacker@evil.example' },
      { form: '/identifier' },
    )
    const planted = attacker.jar.all().filter(({ name }) => name.startsWith('__Secure-'))
    const victim = person()
    victim.jar.store(
      new URL(target.issuer),
      planted.map(({ name, value, path }) => `${name}=${value}; Path=${path}; Secure; Domain=localhost`),
    )
    const shown = await victim.get(page.url)
    expect(shown.status).toBe(400)
    expect(shown.text).not.toContain('attacker@evil.example')
    expect(shown.forms.map(({ action }) => action)).toEqual([expect.stringMatching(/\/language$/)])
  })

  it('a second value beside the right one never makes one account another', async () => {
    const stolen = cookieHeader(member.browser, `${target.issuer}/account`)
    const pairs = stolen.split('; ')
    for (const evil of ['x', 'evil'.repeat(10), '']) {
      const doubled = pairs.map((pair) => `${pair.slice(0, pair.indexOf('='))}=${evil}`)
      for (const cookie of [
        [...doubled, ...pairs],
        [...pairs, ...doubled],
      ].map((all) => all.join('; '))) {
        const answer = await person().send(`${target.issuer}/account`, { headers: { cookie } })
        expect([200, 303]).toContain(answer.status)
        if (answer.status === 200) expect(answer.body).toContain(member.email)
      }
    }
  })

  it('an anti-forgery cookie that A plants under another name or value opens no form', async () => {
    const attacker = person()
    const own = await target.open(attacker)
    const token = own.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
    const victim = person()
    const page = await target.open(victim)
    const real = cookieHeader(victim, page.url)
    const foreign = attacker.jar.all().find(({ name }) => name.includes('csrf'))?.value ?? ''
    for (const name of ['genkan_csrf', '__Secure-genkan_csrf', '__host-genkan_csrf']) {
      const { status } = await victim.send(`${page.url}/identifier`, {
        method: 'POST',
        from: page.url,
        body: new URLSearchParams({ csrf: token, identifier: 'evil@evil.example' }).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded', cookie: `${name}=${foreign}; ${real}` },
      })
      expect([name, status]).toEqual([name, 403])
    }
  })
})

describe('A58: cookies that break things', () => {
  const NAMES = [
    ...['__Host-genkan_session', '__Host-genkan_account', '__Host-genkan_account_pending', '__Host-genkan_csrf'],
    ...['__Secure-genkan_interaction', '__Secure-genkan_resume', '__Host-genkan_done', '__Host-genkan_locale'],
  ]
  const VALUES = [
    '1e9',
    '9'.repeat(400),
    '=',
    '%',
    '%00',
    '%E0%A4%A',
    'not base64 !',
    'AAAA====',
    '[]',
    '{}',
    '"',
    'a.b.c',
    '-1',
    'null',
    '__proto__',
  ]
  const PATHS = [
    '/account',
    '/account/callback?state=x&code=y',
    '/interaction/none',
    '/auth?client_id=own',
    '/session/end',
    '/account/sessions',
  ]

  it('are as good as none: an answer at once, no loop, no 5xx', async () => {
    for (const value of VALUES) {
      const cookie = NAMES.map((name) => `${name}=${value}`).join('; ')
      for (const path of PATHS) {
        const { status } = await person().send(`${target.issuer}${path}`, { headers: { cookie } })
        expect([path, value, status < 500, status >= 200]).toEqual([path, value, true, true])
      }
    }
    // A browser that keeps such cookies arrives at a page: redirects end.
    const browser = person()
    browser.jar.store(
      new URL(target.issuer),
      NAMES.map((name) => `${name}=1e9; Path=/; Secure; HttpOnly`),
    )
    const page: Page = await browser.get(`${target.issuer}/account`)
    expect(page.status).toBe(200)
    expect(page.forms.some(({ action }) => action.endsWith('/identifier'))).toBe(true)
  })

  it('50 cookies of 8 KB are refused before anybody reads them', async () => {
    const cookie = Array.from({ length: 50 }, (_, i) => `__Host-genkan_${i}=${'x'.repeat(8192)}`).join('; ')
    const before = await target.observe()
    const started = performance.now()
    for (let times = 0; times < 5; times++) {
      const answer = await fetch(`${target.server.origin}/account`, { headers: { cookie }, redirect: 'manual' })
      expect(answer.status).toBe(431)
    }
    expect((performance.now() - started) / 5).toBeLessThan(500)
    expect((await target.observe()).hashes).toBe(before.hashes)
    expect((await member.browser.get(`${target.issuer}/account`)).status).toBe(200)
  })

  it('many small cookies and long values within the limit are read in no time', async () => {
    const cookie = `${Array.from({ length: 700 }, (_, i) => `c${i}=${'='.repeat(8)}`).join('; ')}; __Host-genkan_session=${'a'.repeat(4000)}`
    await target.observe()
    const answer = await person().send(`${target.issuer}/account`, { headers: { cookie } })
    expect(answer.status).toBe(303)
    expect((await target.observe()).heldMs).toBeLessThan(250)
  })
})
