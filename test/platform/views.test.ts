import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cp, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { PLAIN_BRAND } from '../../src/platform/brand.ts'
import { createViews } from '../../src/platform/views.ts'
import { MAILS, PAGES } from '../support/page_fixtures.ts'

const viewsDir = join(process.cwd(), 'views')
const views = createViews({ viewsDir })
const base = { nonce: 'n0nce', csrf: 'csrf-token' }
const render = (template: string, values: object, locale = 'en') =>
  views.render(template, { ...base, ...values, locale })
const named = PAGES.map(([template, values], index) => ({ name: `${template} #${index}`, template, values }))

const catalogue = (locale: string): Record<string, string> =>
  Object.assign(
    {},
    ...readdirSync(join(viewsDir, 'messages'))
      .filter((file) => file.startsWith(`${locale}.`))
      .map((file) => JSON.parse(readFileSync(join(viewsDir, 'messages', file), 'utf8')) as object),
  )

const attributes = (html: string, name: string) =>
  [...html.matchAll(new RegExp(` ${name}="([^"]*)"`, 'g'))].map((m) => m[1] ?? '')

describe('message catalogues', () => {
  const placeholders = (message = '') => [...new Set([...message.matchAll(/\{(\w+)(?=,|\})/g)].map((m) => m[1]))].sort()

  it('have the same keys and the same placeholders in every locale', () => {
    expect(views.locales).toEqual(['en', 'fi'])
    const en = catalogue('en')
    const fi = catalogue('fi')
    expect(Object.keys(fi).sort()).toEqual(Object.keys(en).sort())
    for (const key of Object.keys(en)) expect([key, placeholders(fi[key])]).toEqual([key, placeholders(en[key])])
  })

  it('parse as ICU messages, and no message is left untranslated', () => {
    const en = catalogue('en')
    const fi = catalogue('fi')
    for (const key of Object.keys(en)) {
      for (const locale of views.locales) {
        const values = Object.fromEntries(placeholders(en[key]).map((name) => [name ?? '', 5]))
        expect(views.t(locale, key, values)).not.toMatch(/[{}]/)
      }
      expect([key, fi[key]]).not.toEqual([key, en[key]])
    }
  })

  it('say in every error what to do next', () => {
    for (const locale of views.locales) {
      for (const [key, message] of Object.entries(catalogue(locale))) {
        if (key.startsWith('error.') || key.startsWith('oauth_error.'))
          expect([key, message]).toEqual([key, expect.stringMatching(/\S[.:,] \S.*\.$/)])
      }
    }
  })
})

describe('t', () => {
  it('formats plurals by the rules of the locale and leaves markup alone', () => {
    expect(views.t('en', 'common.code_lasts', { minutes: 1 })).toBe('The code works for 1 minute.')
    expect(views.t('fi', 'common.code_lasts', { minutes: 2 })).toBe('Koodi toimii 2 minuuttia.')
    expect(views.t('en', 'common.back_to', { client: '<b>{x}</b>' })).toBe('Back to <b>{x}</b>')
  })

  it('throws for an unknown key, locale or placeholder', () => {
    expect(() => views.t('en', 'no.such.key')).toThrow('no message no.such.key in en')
    expect(() => views.t('sv', 'common.email')).toThrow('in sv')
    expect(() => views.t('en', 'common.back_to')).toThrow(/client/)
    expect(() => views.t('en', '__proto__')).toThrow('no message')
  })
})

describe('pickLocale', () => {
  it.each([
    [[], 'en'],
    [['fi'], 'fi'],
    [['FI-fi'], 'fi'],
    [['fi_FI'], 'fi'],
    [['sv', 'fi'], 'fi'],
    [['sv-FI', 'de'], 'en'],
    [['en-GB', 'fi'], 'en'],
    [['*', 'fi'], 'fi'],
    [['', '-', '../fi', '__proto__'], 'en'],
    [[`fi${'-x'.repeat(50_000)}`], 'fi'],
  ])('%j gives %s', (candidates, expected) => {
    expect(views.pickLocale(candidates)).toBe(expected)
  })
})

describe.each(named)('page $name', ({ template, values }) => {
  it('renders in every locale with the language on it', () => {
    for (const locale of views.locales) {
      const html = render(template, values, locale)
      expect(html).toContain(`<html lang="${locale}" dir="ltr" data-brand="default">`)
      expect(html.match(/<h1[ >]/g)).toHaveLength(1)
      expect(html.match(/<main>/g)).toHaveLength(1)
    }
  })

  it('has an anti-forgery token in each POST form and a name on each control', () => {
    const html = render(template, values)
    for (const [form] of html.matchAll(/<form .*?<\/form>/gs)) {
      expect(form).toMatch(/^<form method="post" action="[^"]+"/)
      expect(form).toContain(
        template === 'logout/confirm' ? 'name="xsrf" value="xsrf"' : 'name="csrf" value="csrf-token"',
      )
    }
    const labels = attributes(html, 'for')
    for (const [control] of html.matchAll(/<input (?![^>]*type="hidden")[^>]*>/g)) {
      if (control.includes('aria-hidden')) continue
      expect(labels).toContain(attributes(control, 'id')[0])
    }
  })

  it('has unique ids, and every reference resolves', () => {
    const html = render(template, values)
    const ids = attributes(html, 'id')
    expect(new Set(ids).size).toBe(ids.length)
    const references = [
      ...attributes(html, 'for'),
      ...attributes(html, 'aria-describedby').flatMap((value) => value.split(' ')),
    ]
    const fragments = attributes(html, 'href').filter((href) => href.startsWith('#'))
    for (const id of [...references, ...fragments.map((href) => href.slice(1))]) expect(ids).toContain(id)
  })

  it('works under a strict policy: no inline script, style or handler', () => {
    const html = render(template, values)
    expect(html).not.toMatch(/ style=| on[a-z]+=|<style|javascript:/)
    for (const [script] of html.matchAll(/<script[^>]*>/g))
      expect(script).toMatch(/ src="\/assets\/genkan\.[0-9a-f]{12}\.js" nonce="n0nce"/)
  })

  it('A97: shows markup, template syntax and quotes in values as text', () => {
    const payload = `"'><script>alert(1)</script>{{ 7*7 }}<img src=x onerror=alert(1)>`
    const html = render(template, poisoned(values, payload))
    expect(html).not.toMatch(/<script>|<img src=x|>49</)
    expect(html).not.toContain(`"'>`)
  })
})

/** Every text of the values with the payload behind it, but what selects a message or must stay a URL of its own kind. */
const UNTOUCHED = ['error.code', 'error.field', 'label', 'restartUrl', 'stayUrl']

function poisoned(value: unknown, payload: string, key = ''): never {
  if (typeof value === 'string') return (UNTOUCHED.includes(key) ? value : value + payload) as never
  if (Array.isArray(value)) return value.map((entry) => poisoned(entry, payload)) as never
  if (typeof value !== 'object' || value === null) return value as never
  const entries = Object.entries(value).map(([name, entry]) => [
    name,
    poisoned(entry, payload, key === 'error' ? `error.${name}` : name),
  ])
  return Object.fromEntries(entries) as never
}

describe('pages', () => {
  it('all have a fixture here', () => {
    const written = readdirSync(viewsDir, { recursive: true, encoding: 'utf8' }).filter(
      (file) =>
        /^(?!mails\/|account_\w+\/).*\.njk$/.test(file) && !/(^|\/)(layout|macros)\.njk$|\.mail\.njk$/.test(file),
    )
    const covered = new Set(PAGES.map(([template]) => `${template}.njk`))
    expect(written.filter((file) => !covered.has(file))).toEqual([])
  })

  it('keep what was typed, never a password, and mark the field that failed', () => {
    const html = render('registration/register', {
      uid: 'u1',
      client: { name: 'Demo' },
      minLength: 8,
      error: { code: 'too_many_requests', field: 'password' },
      values: { email: 'ada@example.com', password: 'secret-password', shared: 'yes' },
    })
    expect(html).toContain('<title>Error: Create an account')
    expect(html).toContain('value="ada@example.com"')
    expect(html).not.toContain('secret-password')
    expect(html).toMatch(/id="shared"[^>]* checked/)
    expect(html).toMatch(/role="alert" tabindex="-1" data-focus/)
    expect(html).toMatch(
      /<input id="password"[^>]* aria-invalid="true" aria-describedby="password-hint password-error"/,
    )
    expect(html).not.toMatch(/<input id="email"[^>]* aria-invalid/)
  })

  it.each([
    ['accounts/identifier', 'identifier', 'username', {}],
    ['registration/register', 'email', 'email', { minLength: 8 }],
    ['registration/register', 'password', 'new-password', { minLength: 8 }],
    ['passwords/password', 'password', 'current-password', { identifier: 'a@b.example' }],
    ['passwords/password', 'identifier', 'username', { identifier: 'a@b.example' }],
    ['recovery/new_password', 'password', 'new-password', { identifier: 'a@b.example', minLength: 8 }],
    ['recovery/new_password', 'identifier', 'username', { identifier: 'a@b.example', minLength: 8 }],
    ['email_codes/verify_email', 'code', 'one-time-code', { email: 'a@b.example', minutes: 10 }],
    ['recovery/recover_code', 'code', 'one-time-code', { email: 'a@b.example', minutes: 10 }],
  ])('%s: field %s says %s to password managers', (template, name, autocomplete, values) => {
    const html = render(template, { uid: 'u1', client: { name: 'Demo' }, ...values })
    const input = [...html.matchAll(/<input [^>]*>/g)]
      .map(([tag]) => tag)
      .find((tag) => tag.includes(` name="${name}"`))
    expect(input).toContain(` autocomplete="${autocomplete}"`)
    if (name === 'code') expect(input).toMatch(/type="text" inputmode="numeric"/)
  })

  it('give Allow and Deny the same weight', () => {
    const html = render('consents/consent', PAGES.find(([template]) => template === 'consents/consent')?.[1] ?? {})
    const classes = [...html.matchAll(/<button type="submit" class="([^"]*)" name="action" value="(allow|deny)">/g)]
    expect(classes.map((m) => m[2]).sort()).toEqual(['allow', 'deny'])
    expect(classes[0]?.[1]).toBe(classes[1]?.[1])
  })

  it('show the first letter of a name whole, and nothing for an empty one', () => {
    const consent = { uid: 'u', account: { email: 'a' }, hadConsent: false, scopes: [] }
    for (const [name, letter] of [
      ['åkerman', 'Å'],
      ['🦊 Fox', '🦊'],
      ['  demo', 'D'],
      ['', ''],
    ] as const) {
      expect(render('consents/consent', { ...consent, client: { name } })).toContain(
        `aria-hidden="true">${letter}</span>`,
      )
    }
  })

  it('are whole or an error: a missing value throws', () => {
    expect(() => render('passwords/password', { uid: 'u1', client: { name: 'Demo' } })).toThrow(/undefined/)
    expect(() => views.render('error', { ...base, locale: 'sv' })).toThrow('no messages for locale sv')
    expect(() => render('no/such/page', {})).toThrow('template not found')
  })
})

describe('texts of a brand', () => {
  const brand = (texts: object) => ({ ...PLAIN_BRAND, texts: { en: texts } }) as never
  const shown = (texts: object, locale = 'en') =>
    views.render('interaction/cookies_blocked', { ...base, retryUrl: '/', brand: brand(texts), locale })

  it('win over the catalogue in their own language, as text', () => {
    const texts = { 'cookies_blocked.heading': 'Allow <cookies>', 'cookies_blocked.explain': 'For {brand}.' }
    expect(shown(texts)).toContain('<h1>Allow &lt;cookies&gt;</h1>\n<p class="lede">For Genkan.</p>')
    expect(shown(texts, 'fi')).not.toContain('Allow')
  })

  it('give way to ours when their message has changed since they were written', () => {
    const html = shown({ 'cookies_blocked.heading': 'Hello {gone}', 'cookies_blocked.explain': '{' })
    expect(html).toContain(`<h1>${views.t('en', 'cookies_blocked.heading')}</h1>`)
    expect(html).toContain(views.t('en', 'cookies_blocked.explain', { brand: 'Genkan' }))
  })
})

describe('mails', () => {
  it.each(MAILS)('%s is whole in every locale, as HTML and as text', (template, values) => {
    for (const locale of views.locales) {
      const mail = views.mail(template, locale, values)
      expect(mail.subject).toMatch(/^\S.*\S$/)
      expect(mail.html).toContain(`<html lang="${locale}"`)
      expect(mail.html).not.toMatch(/<img|<script|src=/)
      expect(mail.text).not.toMatch(/<[a-z/]|&amp;|&#|\n{3}/)
      const { url, code } = values as { url: string; code?: string }
      expect(mail.text).toContain(`\n${url}\n`)
      expect(mail.html).toContain(`href="${url.replaceAll('&', '&amp;')}"`)
      if (code !== undefined) for (const part of [mail.text, mail.html, mail.subject]) expect(part).toContain(code)
    }
  })

  it('A29: markup and line breaks in a value stay inert text and add no header', () => {
    const hostile = 'x\r\nBcc: all@example.com\u0000\u2028<a href="https://evil.example">here</a>'
    const brand = { ...PLAIN_BRAND, name: hostile }
    const mail = views.mail('accounts/security_notice', 'en', { event: 'recovered', device: hostile }, brand)
    expect(mail.subject).not.toMatch(/[\p{Cc}\u2028]/u)
    expect(mail.html).not.toContain('<a href="https://evil.example">')
    expect(mail.html).toContain('&lt;a href=')
  })
})

describe('assets', () => {
  it('carry the hash of their content in their name', () => {
    expect(views.asset('genkan.css')).toMatch(/^\/assets\/genkan\.[0-9a-f]{12}\.css$/)
    expect(() => views.asset('../layout.njk')).toThrow('no asset')
  })

  it('change their name with their content, and a file of unknown kind refuses to start', async () => {
    const copy = mkdtempSync(join(tmpdir(), 'genkan-views-'))
    await cp(viewsDir, copy, { recursive: true })
    writeFileSync(join(copy, 'assets', 'genkan.css'), 'body{}')
    expect(createViews({ viewsDir: copy }).asset('genkan.css')).not.toBe(views.asset('genkan.css'))
    await mkdir(join(copy, 'messages'), { recursive: true })
    writeFileSync(join(copy, 'messages', 'en.more.json'), '{"common.email": "twice"}')
    expect(() => createViews({ viewsDir: copy })).toThrow('message common.email is twice')
    writeFileSync(join(copy, 'messages', 'en.more.json'), '{}')
    writeFileSync(join(copy, 'assets', 'page.html'), '<p>')
    expect(() => createViews({ viewsDir: copy })).toThrow('no content type')
  })
})
