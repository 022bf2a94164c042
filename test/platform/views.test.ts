import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cp, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { PLAIN_BRAND } from '../../src/platform/brand.ts'
import { createViews } from '../../src/platform/views.ts'

const viewsDir = join(process.cwd(), 'views')
const views = createViews({ viewsDir })
const chooser = { action: '/language', returnTo: '/account?a=1&b="2' }
const base = { nonce: 'n0nce', csrf: 'csrf-token', chooser }
const render = (template: string, values: object, locale = 'en') =>
  views.render(template, { ...base, ...values, locale })
const { pages: PAGES, mails: MAILS } = views.fixtures()
const named = PAGES.map(({ template, state, values }) => ({ name: `${template} (${state})`, template, values }))

const attributes = (html: string, name: string) =>
  [...html.matchAll(new RegExp(` ${name}="([^"]*)"`, 'g'))].map((m) => m[1] ?? '')

describe('t', () => {
  it('formats plurals by the rules of the locale and leaves markup alone', () => {
    expect(views.t('en', 'common.code_lasts', { minutes: 1 })).toBe('The code works for 1 minute.')
    expect(views.t('fi', 'common.code_lasts', { minutes: 2 })).toBe('Koodi toimii 2 minuuttia.')
    expect(views.t('en', 'common.back_to', { client: '<b>{x}</b>' })).toBe('Back to <b>{x}</b>')
  })

  it('isolates values in right-to-left text (UAX #9), so that an address moves no word around it', () => {
    expect(views.t('ar', 'common.back_to', { client: 'a@b.example' })).toBe('العودة إلى \u2068a@b.example\u2069')
    expect(views.t('ar', 'common.code_lasts', { minutes: 3 })).toContain('3 دقائق')
    expect(views.t('sv', 'common.back_to', { client: 'X' })).toBe('Tillbaka till X')
  })

  it('throws for an unknown key, locale or placeholder', () => {
    expect(() => views.t('en', 'no.such.key')).toThrow('no message no.such.key in en')
    expect(() => views.t('tlh', 'common.email')).toThrow('in tlh')
    expect(() => views.t('en', 'common.back_to')).toThrow(/client/)
    expect(() => views.t('en', '__proto__')).toThrow('no message')
  })
})

describe.each(named)('page $name', ({ template, values }) => {
  it('renders in every locale with the language on it', () => {
    for (const locale of views.locales) {
      const html = render(template, values, locale)
      expect(html).toContain(`<html lang="${locale}" dir="${locale === 'ar' ? 'rtl' : 'ltr'}" data-brand="default">`)
      expect(html.match(/<h1[ >]/g)).toHaveLength(1)
      expect(html.match(/<main>/g)).toHaveLength(1)
    }
  })

  it('has an anti-forgery token in each POST form and a name on each control', () => {
    const html = render(template, values)
    for (const [form] of html.matchAll(/<form .*?<\/form>/gs)) {
      // Asks for the same page again, and changes nothing.
      if (template === 'waiting_room' && form.startsWith('<form method="get">')) continue
      expect(form).toMatch(/^<form method="post" action="[^"]+"/)
      expect(form).toContain(
        // Of the engine's own pages the engine makes it.
        /action="(\/device|[^"]*\/session\/end\/confirm)"/.test(form)
          ? 'name="xsrf" value="xsrf"'
          : 'name="csrf" value="csrf-token"',
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
      expect(script).toMatch(
        / src="\/assets\/(genkan|captcha|challenge|copy|passkeys)\.[0-9a-f]{12}\.js" nonce="n0nce"/,
      )
  })

  it('lets every language be chosen by its own name, and marks the present one', () => {
    // It is gone after some seconds.
    if (template === 'busy') return
    for (const locale of views.locales) {
      const html = render(template, values, locale)
      const form = /<details class="language">(.*?)<\/details>/s.exec(html)?.[1] ?? ''
      expect(form).toContain(`<span>${views.t(locale, 'language.name')}</span></summary>`)
      expect(attributes(form, 'value').slice(2)).toEqual(['en', 'fi', 'sv', 'ar', 'th', 'ja'])
      expect(attributes(form, 'lang')).toEqual(attributes(form, 'value').slice(2))
      expect(form).toContain(`lang="${locale}" aria-current="true">${views.t(locale, 'language.name')}</button>`)
      // A page that is made once for everybody asks for itself again.
      const back =
        template === 'waiting_room'
          ? 'name="state" value="&quot;&lt;s&gt;"'
          : 'name="return_to" value="/account?a=1&amp;b=&quot;2"'
      expect(form).toContain(back)
    }
  })

  it('keeps e-mail addresses, passwords, codes and phone numbers left to right in every direction', () => {
    for (const [input] of render(template, values, 'ar').matchAll(/<input [^>]*>/g)) {
      if (/type="(password|email|tel)"|inputmode="(email|numeric|url)"|autocomplete="username"/.test(input))
        expect(input).toContain(' dir="ltr"')
    }
  })

  it('A97: shows markup, template syntax and quotes in values as text', () => {
    const payload = `"'><script>alert(1)</script>{{ 7*7 }}<img src=x onerror=alert(1)>`
    const html = render(template, poisoned(values, payload))
    expect(html).not.toMatch(/<script>|<img src=x|>49</)
    expect(html).not.toContain(`"'>`)
  })
})

/** Every text of the values with the payload behind it, but what selects a message or must stay a URL of its own kind. */
const UNTOUCHED = [
  ...['error.code', 'error.field', 'claim', 'label', 'restartUrl', 'stayUrl', 'done', 'current', 'logoUri'],
  // How a method stands, and why it is asked for, are keys of messages.
  ...['state', 'reason', 'purpose'],
]

function poisoned(value: unknown, payload: string, key = ''): never {
  if (typeof value === 'string') return (UNTOUCHED.includes(key) ? value : value + payload) as never
  if (Array.isArray(value))
    return value.map((entry) => poisoned(entry, payload, key === 'error.others' ? 'error' : '')) as never
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
        /^(?!mails\/|dev_pages\/).*\.njk$/.test(file) && !/(^|\/)(layout|macros|frame)\.njk$|\.mail\.njk$/.test(file),
    )
    const covered = new Set(PAGES.map(({ template }) => `${template}.njk`))
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
    ['accounts/identifier', 'identifier', 'username webauthn', {}],
    ['registration/register', 'email', 'email', { minLength: 8 }],
    ['registration/register', 'password', 'new-password', { minLength: 8 }],
    ['passwords/password', 'password', 'current-password webauthn', { identifier: 'a@b.example' }],
    ['passwords/password', 'identifier', 'username', { identifier: 'a@b.example' }],
    ['recovery/new_password', 'password', 'new-password', { identifier: 'a@b.example', minLength: 8 }],
    ['recovery/new_password', 'identifier', 'username', { identifier: 'a@b.example', minLength: 8 }],
    ['email_codes/verify_email', 'code', 'one-time-code', { email: 'a@b.example', minutes: 10 }],
    ['email_codes/email_code', 'code', 'one-time-code', { email: 'a@b.example', minutes: 10 }],
    ...[
      ['name', 'name'],
      ['given_name', 'given-name'],
      ['family_name', 'family-name'],
      ['nickname', 'nickname'],
      ['birthdate', 'bday'],
      ['phone_number', 'tel'],
      ['website', 'url'],
    ].map(([claim = '', token = '']) => {
      const fields = [{ claim, required: false }]
      return ['registration/register', claim, token, { minLength: 8, today: '2026-11-01', fields }] as const
    }),
    ['recovery/recover_code', 'code', 'one-time-code', { email: 'a@b.example', minutes: 10 }],
  ])('%s: field %s says %s to password managers', (template, name, autocomplete, values) => {
    const html = render(template, { uid: 'u1', paths: [], client: { name: 'Demo' }, ...values })
    const input = [...html.matchAll(/<input [^>]*>/g)]
      .map(([tag]) => tag)
      .find((tag) => tag.includes(` name="${name}"`))
    expect(input).toContain(` autocomplete="${autocomplete}"`)
    if (name === 'code') expect(input).toMatch(/type="text" inputmode="numeric"/)
  })

  it('give Allow and Deny the same weight', () => {
    const html = render('consents/consent', PAGES.find(({ template }) => template === 'consents/consent')?.values ?? {})
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
    expect(() => render('passwords/password', { uid: 'u1', paths: [], client: { name: 'Demo' } })).toThrow(/undefined/)
    expect(() => views.render('error', { ...base, locale: 'tlh' })).toThrow('no messages for locale tlh')
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
  it.each(MAILS)('$template ($state) is whole in every locale, as HTML and as text', ({ template, values }) => {
    for (const locale of views.locales) {
      const mail = views.mail(template, locale, values)
      expect(mail.subject).toMatch(/^\S.*\S$/)
      expect(mail.html).toContain(`<html lang="${locale}"`)
      expect(mail.html).toContain(`dir="${locale === 'ar' ? 'rtl' : 'ltr'}"`)
      expect(mail.html).not.toMatch(/<img|<script|src=/)
      expect(mail.text).not.toMatch(/<[a-z/]|&amp;|&#|\n{3}/)
      const { url, code } = values as { url?: string; code?: string }
      if (url !== undefined) {
        expect(mail.text).toContain(`\n${url}\n`)
        expect(mail.html).toContain(`href="${url.replaceAll('&', '&amp;')}"`)
      }
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
  it('the style sheet knows start and end, never left and right', () => {
    const css = readFileSync(join(viewsDir, 'assets', 'genkan.css'), 'utf8').replace(/\/\*.*?\*\//gs, '')
    expect(css.match(/\b(left|right)\b/g)).toBeNull()
    // Four values are top, right, bottom, left.
    const physical = /(?:margin|padding|inset|border-radius):(?: [^\s;,()]+){4};/g
    expect(css.match(physical)).toBeNull()
    expect('margin: 0 1px 0 2px;'.match(physical)).not.toBeNull()
  })

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
