import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import Router from '@koa/router'
import type { Context } from 'koa'
import { createCsrf } from '../../src/http/csrf.ts'
import { createErrorHandler } from '../../src/http/error_handler.ts'
import { byPriority, createLanguageRouter, createLanguages } from '../../src/http/language.ts'
import { createPages } from '../../src/http/page.ts'
import { createRequestContext } from '../../src/http/request_context.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { createViews } from '../../src/platform/views.ts'
import { type Browser, createBrowser } from '../support/browser.ts'
import { type KoaServer, serveKoa } from '../support/koa_server.ts'

const views = createViews({ viewsDir: 'views' })

/** As our pages name a place. */
const coded = (path: string) => Buffer.from(path).toString('base64url')

type Layer = (ctx: Context, next: () => Promise<unknown>) => unknown

interface Said {
  readonly uiLocales?: unknown
  readonly account?: string
  readonly cookie?: string
  readonly accept?: string
}

describe('the language of an answer: ui_locales, account, cookie, Accept-Language, default', () => {
  it.each<[string, Said, string]>([
    ['nothing is said', {}, 'en'],
    ['the browser accepts one', { accept: 'fi' }, 'fi'],
    ['the browser prefers one', { accept: 'en;q=0.5, fi;q=0.9, sv;q=0.8' }, 'fi'],
    ['equal quality: the first', { accept: 'th, ja' }, 'th'],
    ['a language that is refused', { accept: 'fi;q=0, sv;q=0.1' }, 'sv'],
    ['a region of it', { accept: 'sv-FI,sv;q=0.9,fi;q=0.8' }, 'sv'],
    ['anything', { accept: '*' }, 'en'],
    ['none of ours', { accept: 'zh-TW, de;q=0.9' }, 'en'],
    ['none of ours, then one', { accept: 'nb, ar-EG;q=0.5' }, 'ar'],
    ['nonsense', { accept: '<script>, ../fi, en_;q=x, ;;, ja' }, 'ja'],
    ['a header of 100 KB is not read', { accept: `${'xx,'.repeat(33_000)}fi` }, 'en'],
    ['the cookie beats the browser', { cookie: 'ja', accept: 'fi' }, 'ja'],
    ['a cookie of another language does not', { cookie: 'tlh', accept: 'fi' }, 'fi'],
    ['a tossed cookie does nothing', { cookie: '../../etc/passwd', accept: 'fi' }, 'fi'],
    ['the account beats cookie and browser', { account: 'th', cookie: 'ja', accept: 'fi' }, 'th'],
    ['an account in a language that is gone', { account: 'tlh', cookie: 'ja', accept: 'fi' }, 'ja'],
    ['the request beats all', { uiLocales: 'ar', account: 'th', cookie: 'ja', accept: 'fi' }, 'ar'],
    ['the first that we speak of its list', { uiLocales: 'de fr-CA sv', account: 'th' }, 'sv'],
    ['a region of its list', { uiLocales: 'zh ja-JP', account: 'th' }, 'ja'],
    ['a list without ours', { uiLocales: 'de tlh', account: 'th' }, 'th'],
    ['an empty list', { uiLocales: '', cookie: 'ja' }, 'ja'],
    ['a list that is no text', { uiLocales: ['ar', 'fi'], cookie: 'ja' }, 'ja'],
    ['the end of a list of 100 KB is not read', { uiLocales: `${'xx '.repeat(33_000)}ar`, cookie: 'ja' }, 'ja'],
  ])('%s', (_name, { accept = '', ...said }, expected) => {
    expect(views.pickLocale(byPriority({ ...said, accept }))).toBe(expected)
  })
})

describe('the chooser', () => {
  const secretBox = createSecretBox([Buffer.alloc(32, 1)])
  let server: KoaServer
  let browser: Browser
  let handle: readonly Layer[] | undefined
  const url = (path: string) => `${server.origin}${path}`

  beforeAll(async () => {
    // The issuer is known only once the port is.
    server = await serveKoa(async (ctx, next) => {
      const layers = handle ?? chain(server.origin)
      handle = layers
      const run = async (index: number): Promise<unknown> => layers[index]?.(ctx, () => run(index + 1)) ?? next()
      await run(0)
    })
  })
  afterAll(() => server.close())
  beforeEach(() => {
    browser = createBrowser()
  })

  function chain(issuer: string): readonly Layer[] {
    const pages = createPages({ views })
    const languages = createLanguages({ issuer, locales: views.locales, pickLocale: views.pickLocale })
    const csrf = createCsrf({
      issuer,
      mac: (value) => secretBox.mac(value, 'csrf'),
      macMatches: (value, mac) => secretBox.macMatches(value, 'csrf', mac),
    })
    const router = new Router()
    router.all(/^\/(page|post|deep\/er)$/, (ctx) => {
      // As the engine's pages do it.
      ctx.state.locale = languages.of(ctx, { uiLocales: ctx.query.ui_locales })
      pages.render(ctx, 'logout/done', { client: undefined, backUrl: undefined, signInUrl: '/account' })
    })
    return [
      createRequestContext({ issuer, trustedProxies: [], languages }),
      createErrorHandler({ pages, logger: { error: () => {}, warn: () => {} } }),
      csrf.offer,
      createLanguageRouter({ languages, csrf }).routes(),
      router.routes(),
    ] as unknown as readonly Layer[]
  }

  const choose = async (path: string, locale: string) =>
    browser.submit(await browser.get(url(path)), {}, { form: '/language', button: locale })

  it('leads back to the same page with its parameters, in the language chosen, and keeps it for a year', async () => {
    const page = await choose('/page?a=1&b=%C3%A4%26', 'ja')
    expect(page.url).toBe(url('/page?a=1&b=%C3%A4%26'))
    expect(page.headers['content-language']).toBe('ja')
    expect(page.headers.vary).toBe('Accept-Language, Cookie')
    expect(page.html).toContain('<html lang="ja" dir="ltr"')
    expect((await browser.get(url('/deep/er'))).headers['content-language']).toBe('ja')
    const cookie = browser.jar.all().find(({ name }) => name === 'genkan_locale')
    expect(cookie).toMatchObject({ value: 'ja', path: '/', httpOnly: true, sameSite: 'lax' })
    expect(Math.abs((cookie?.expires ?? 0) - Date.now() - 365 * 86_400_000)).toBeLessThan(60_000)
  })

  it('beats the ui_locales of the address, which goes', async () => {
    const start = await browser.get(url('/page?state=x&ui_locales=fi&ui_locales=sv'))
    expect(start.headers['content-language']).toBe('en')
    const finnish = await browser.get(url('/page?state=x&ui_locales=fi'))
    expect(finnish.headers['content-language']).toBe('fi')
    const page = await browser.submit(finnish, {}, { form: '/language', button: 'ar' })
    expect([page.url, page.headers['content-language']]).toEqual([url('/page?state=x'), 'ar'])
    expect(page.html).toContain('<html lang="ar" dir="rtl"')
  })

  it('shows failures in the language chosen, and comes back to a page', async () => {
    await choose('/page', 'sv')
    const missing = await browser.get(url('/nothing?x=1'))
    expect([missing.status, missing.headers['content-language']]).toEqual([404, 'sv'])
    const back = await browser.submit(missing, {}, { form: '/language', button: 'th' })
    expect([back.url, back.headers['content-language']]).toEqual([url('/nothing?x=1'), 'th'])
    const answer = await browser.post(url('/post'), {})
    expect((await browser.submit(answer, {}, { form: '/language', button: 'fi' })).url).toBe(url('/post'))
  })

  const post = (fields: { readonly [name: string]: string }) =>
    browser.send(url('/language'), {
      method: 'POST',
      from: url('/page'),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(fields).toString(),
    })
  const token = async () => {
    const { forms } = await browser.get(url('/page'))
    return forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
  }

  it('A55: takes no form but our own', async () => {
    await token()
    for (const fields of [{ locale: 'fi' }, { locale: 'fi', csrf: 'x' }]) {
      expect((await post({ ...fields, return_to: coded('/page') })).status).toBe(403)
    }
    const csrf = await token()
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const body = new URLSearchParams({ csrf, locale: 'fi', return_to: coded('/page') }).toString()
    const foreign = { method: 'POST', body, headers, from: 'https://evil.example/' }
    expect((await browser.send(url('/language'), foreign)).status).toBe(403)
    expect((await browser.send(url('/language'))).status).toBe(404)
    expect(browser.jar.all().map(({ name }) => name)).not.toContain('genkan_locale')
  })

  it.each(['', 'tlh', 'EN', '__proto__', 'fi; Domain=evil.example', 'fi\r\nSet-Cookie: a=b'])(
    'sets no cookie for %j',
    async (locale) => {
      const answer = await post({ csrf: await token(), locale, return_to: coded('/page') })
      expect(answer.status).toBe(400)
      expect(String(answer.headers['set-cookie'] ?? '')).not.toContain('genkan_locale')
    },
  )

  it.each([
    ...['https://evil.example', '//evil.example', '///evil.example', '/\\evil.example', '\\\\evil.example'],
    ...['/%5cevil.example', '/%5Cevil.example', '/%2fevil.example', '/%2F%2Fevil.example', '/.//evil.example'],
    ...['/\t/evil.example', '/\r\nLocation: https://evil.example', '/page\r\nSet-Cookie: a=b', '/page\u2028', '/a b'],
    ...['https:evil.example', 'javascript:alert(1)', 'data:text/html,x', '@evil.example', '.evil.example', '／／evil'],
    ...['http://localhost@evil.example/', '', 'page', '?x', '#x', '/..//evil.example', '/x/..//evil.example'],
  ])('A100: %j leads nowhere but home', async (returnTo) => {
    const answer = await post({ csrf: await token(), locale: 'fi', return_to: coded(returnTo) })
    expect([answer.status, answer.headers.location]).toEqual([303, '/account'])
  })

  it.each([
    ['/page', '/page'],
    ['/page?next=//evil.example', '/page?next=//evil.example'],
    ['/account/../page', '/page'],
    ['/page@evil.example', '/page@evil.example'],
    ['/page/%2f%2fevil.example', '/page/%2f%2fevil.example'],
    ['/page#//evil.example', '/page#//evil.example'],
  ])('%s is a path of ours', async (returnTo, expected) => {
    const answer = await post({ csrf: await token(), locale: 'fi', return_to: coded(returnTo) })
    expect([answer.status, answer.headers.location]).toEqual([303, `${server.origin}${expected}`])
  })

  it('A57: is bound to the host by its name on https', () => {
    const set: unknown[] = []
    const ctx = { cookies: { set: (...cookie: unknown[]) => set.push(cookie) } } as never
    const languages = createLanguages({ issuer: 'https://id.example', locales: ['en'], pickLocale: () => 'en' })
    expect(languages.choose(ctx, 'en')).toBe('en')
    expect(set).toEqual([
      [
        '__Host-genkan_locale',
        'en',
        {
          ...{ httpOnly: true, sameSite: 'lax', secure: true, signed: false, path: '/', overwrite: true },
          maxAge: 365 * 86_400_000,
        },
      ],
    ])
  })
})
