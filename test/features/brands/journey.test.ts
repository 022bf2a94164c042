/** Brands by the front door: two instances, clients of three brands, mails, the command line, and what the files are served as. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createBrowser, type Page } from '../../support/browser.ts'
import { choose, PASSWORD, SETTINGS } from '../../support/journeys.ts'
import { codeFrom, type SmtpMailbox, startMailbox } from '../../support/mailbox.ts'
import { authorizationRequest } from '../../support/people.ts'
import { png } from '../../support/png.ts'
import { type Pair, type Server, startPair } from '../../support/server.ts'

const LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 10"><path d="M0 0h40v10H0z"/><desc>x</desc></svg>'
const folder = mkdtempSync(join(tmpdir(), 'genkan-brands-'))
const file = (name: string, content: string | Buffer) => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

let pair: Pair
let mailbox: SmtpMailbox
let one: Server

beforeAll(async () => {
  mailbox = await startMailbox()
  const [web, other, own, ...rest] = SETTINGS.clients
  const settings = {
    ...SETTINGS,
    brands: [
      { id: 'default', name: 'The House', links: { imprint: 'https://house.example/imprint' } },
      {
        id: 'acme',
        name: 'Acme & Söhne',
        logo: file('acme.svg', LOGO),
        logo_dark: file('acme.png', png()),
        css: file('acme.css', '/* gone */ h1 { text-transform: uppercase }'),
        colours: { accent: '#ffd400' },
        radius: 3,
        links: { privacy: 'https://acme.example/privacy', support: 'mailto:help@acme.example' },
        default_locale: 'fi',
        texts: { en: { 'identifier.heading': 'Welcome <to> Acme' } },
      },
      { id: 'shop', name: 'Shop' },
    ],
    clients: [{ ...web, brand: 'acme' }, { ...other, brand: 'shop' }, own, ...rest],
  }
  pair = await startPair({ settings, env: { SMTP_URL: mailbox.url } })
  one = pair.servers[0]
})
afterAll(async () => {
  await pair?.close()
  await mailbox?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const browser = (locale = 'en') => createBrowser({ stopAt: ['https://'], locale })
const open = (clientId: string, locale?: string) => browser(locale).get(authorizationRequest(pair.issuer, clientId).url)
const brandOf = ({ html }: Page) => /<html [^>]*data-brand="([^"]*)"/.exec(html)?.[1]
const header = ({ html }: Page) => /<header class="brand">([\s\S]*?)<\/header>/.exec(html)?.[1] ?? ''
const stylesheets = ({ html }: Page) =>
  [...html.matchAll(/<link rel="stylesheet" href="([^"]+)"/g)].map(([, href]) => href ?? '')
const get = (path: string, origin = pair.issuer) => fetch(`${origin}${path}`)

describe('a client shows its brand', () => {
  it('with name, logo, stylesheet, texts and links; other clients show theirs', async () => {
    const acme = await open('web')
    expect(brandOf(acme)).toBe('acme')
    expect(acme.title).toMatch(/ · Acme & Söhne$/)
    expect(acme.text).toContain('Welcome <to> Acme')
    expect(acme.html).toContain('Welcome &lt;to&gt; Acme')
    expect(header(acme)).toMatch(
      /^<picture><source srcset="\/brands\/acme\/logo-dark\.[0-9a-f]{12}\.png" media="\(prefers-color-scheme: dark\)"><img class="logo" src="\/brands\/acme\/logo-light\.[0-9a-f]{12}\.svg" alt="Acme &amp; Söhne" width="1024" height="256"><\/picture>$/,
    )
    expect(stylesheets(acme)).toEqual([
      expect.stringMatching(/^\/assets\/genkan\./),
      expect.stringMatching(/^\/brands\/acme\.[0-9a-f]{12}\.css$/),
    ])
    expect(acme.html).not.toMatch(/<style| style=/)
    expect(acme.links.map(({ href }) => href)).toEqual(
      expect.arrayContaining(['https://acme.example/privacy', 'mailto:help@acme.example']),
    )

    const shop = await open('other')
    expect([brandOf(shop), shop.text.includes('Welcome'), stylesheets(shop).length]).toEqual(['shop', false, 1])
    expect(header(shop)).toMatch(/^<svg class="mark"[\s\S]*<span>Shop<\/span>$/)

    const house = await open('own')
    expect([brandOf(house), header(house).includes('The House')]).toEqual(['default', true])
    expect(house.links.map(({ href }) => href)).toContain('https://house.example/imprint')
  })

  it('speaks its language to whoever asks for none that we have', async () => {
    expect((await open('web', 'de')).html).toContain('<html lang="fi"')
    expect((await open('web', 'en')).html).toContain('<html lang="en"')
    expect((await open('own', 'de')).html).toContain('<html lang="en"')
  })

  it('on error pages too, where the client is known; else the default one', async () => {
    const url = new URL(authorizationRequest(pair.issuer, 'web').url)
    url.searchParams.set('redirect_uri', 'https://evil.example/')
    const known = await browser().get(url.href)
    expect([known.status, brandOf(known)]).toEqual([400, 'acme'])
    url.searchParams.set('client_id', 'nobody')
    const unknown = await browser().get(url.href)
    expect([unknown.status, brandOf(unknown)]).toEqual([400, 'default'])
    const missing = await browser().get(`${pair.issuer}/no/such/page`)
    expect([missing.status, brandOf(missing), header(missing).includes('The House')]).toEqual([404, 'default', true])
  })

  it('in its mails: name, colour, links, and no picture', async () => {
    const person = browser()
    const start = await person.get(authorizationRequest(pair.issuer, 'web', { prompt: 'create' }).url)
    const sent = await person.submit(start, { email: 'ann@example.com', password: PASSWORD }, { form: '/register' })
    const mail = await mailbox.to('ann@example.com')
    expect(mail.subject).toContain('Acme & Söhne')
    expect(mail.text).toContain('https://acme.example/privacy')
    expect(mail.html).toContain('href="mailto:help@acme.example"')
    expect(mail.html).not.toMatch(/<img|#2b4c9b|Genkan|The House/)
    await person.submit(sent, { code: codeFrom(mail) }, { form: '/verify_email' })

    const again = browser()
    const known = authorizationRequest(pair.issuer, 'other', { login_hint: 'ann@example.com' })
    const asked = await choose(again, await again.get(known.url), 'recover')
    await again.submit(asked, { identifier: 'ann@example.com' }, { form: '/recover' })
    expect((await mailbox.to('ann@example.com', { count: 2 })).subject).toContain('Shop')
  })
})

describe('what is served', () => {
  it('a stylesheet is layered, readable, written anew, and kept for ever under its own name only', async () => {
    const [, path = ''] = stylesheets(await open('web'))
    const answer = await get(path)
    const css = await answer.text()
    expect(answer.headers.get('Content-Type')).toBe('text/css; charset=utf-8')
    expect(answer.headers.get('Cache-Control')).toBe('public, max-age=31536000, immutable')
    expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff')
    expect(css).toMatch(
      /^@layer brand,custom;\n@layer brand\{:root\{--accent:light-dark\(#(?!ffd400)[0-9a-f]{6},#ffd400\);/,
    )
    expect(css).toContain('--radius:3px')
    expect(css).toContain('@layer custom{h1{text-transform:uppercase}}')
    const old = await get('/brands/acme.000000000000.css')
    expect([old.status, old.headers.get('Cache-Control'), await old.text()]).toEqual([200, 'no-store', css])
  })

  it('A98: a logo can do nothing when it is opened by itself', async () => {
    const [, dark = '', light = ''] = /srcset="([^"]+)".*? src="([^"]+)"/.exec(header(await open('web'))) ?? []
    for (const [path, type] of [
      [light, 'image/svg+xml'],
      [dark, 'image/png'],
    ] as const) {
      const answer = await get(path)
      expect([answer.status, answer.headers.get('Content-Type')]).toEqual([200, type])
      expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff')
      expect(answer.headers.get('Content-Security-Policy')).toBe(
        "default-src 'none'; style-src 'unsafe-inline'; sandbox",
      )
      expect(answer.headers.get('Cache-Control')).toBe('public, max-age=31536000, immutable')
      expect((await get(path.replace(/\.[0-9a-f]{12}\./, '.000000000000.'))).headers.get('Cache-Control')).toBe(
        'no-store',
      )
    }
  })

  it.each([
    '/brands/gone.000000000000.css',
    '/brands/acme.css',
    '/brands/acme',
    '/brands/shop.000000000000.css',
    '/brands/shop/logo-light.000000000000.svg',
    '/brands/acme/logo-light.svg',
    '/brands/acme/logo-__proto__.000000000000.svg',
    '/brands/..%2f..%2fetc/logo-light.000000000000.svg',
    '/brands/%00/logo-light.000000000000.svg',
    '/brands/acme/..%2f..%2fpackage.json',
  ])('%s is not there', async (path) => {
    expect((await get(path)).status).toBe(404)
  })

  it('warns at start of what is hard to read', () => {
    expect(one.logs().join('\n')).toContain('brands.acme.colours: accent on sheet (light) is 1.4')
  })
})

describe('the command line', () => {
  const seen = async (server: Server, wanted: (page: Page) => boolean): Promise<number> => {
    pair.route(pair.servers[0] === server ? 0 : 1)
    const start = Date.now()
    while (!wanted(await open('late')) && Date.now() - start < 5000) await sleep(20)
    pair.route('both')
    return Date.now() - start
  }

  it('makes, changes and deletes a brand; every instance shows it within a second', async () => {
    const missing = await one.run(
      'clients',
      'create',
      'late',
      '--metadata',
      file('c.json', '{"brand":"late"}'),
      '--redirect-uri',
      'https://late.test.example/callback',
    )
    expect(missing).toMatchObject({ code: 1, stderr: 'genkan: brand: "late" is not a brand\n' })
    const made = await one.run('brands', 'set', 'late', '--name', 'Late', '--accent', '#ffd400')
    expect(made).toMatchObject({ code: 0, stderr: '' })
    expect(made.stdout).toMatch(/^brand late saved\nwarning: accent on sheet \(light\) is 1\.4/)
    await one.run(
      'clients',
      'create',
      'late',
      '--metadata',
      file('c.json', '{"brand":"late"}'),
      '--redirect-uri',
      'https://late.test.example/callback',
    )
    for (const server of pair.servers) expect(await seen(server, (page) => brandOf(page) === 'late')).toBeLessThan(1000)
    await one.run(
      'brands',
      'set',
      'late',
      '--name',
      'Later',
      '--settings',
      file('s.yaml', 'links: { terms: https://late.example/ }'),
    )
    for (const server of pair.servers) {
      expect(await seen(server, (page) => header(page).includes('Later'))).toBeLessThan(1000)
    }
    expect(await one.run('brands', 'logo', 'late', '--light', file('l.png', png()))).toMatchObject({
      code: 0,
      stderr: '',
    })
    expect(await one.run('brands', 'css', 'late', '--file', file('l.css', 'p{color:red}'))).toMatchObject({ code: 0 })
    for (const server of pair.servers) {
      expect(
        await seen(server, (page) => stylesheets(page).length === 2 && header(page).includes('.png')),
      ).toBeLessThan(1000)
    }
    const shown = await one.run('brands', 'show', 'late', '--json')
    expect(JSON.parse(shown.stdout)).toMatchObject({
      brand: 'late',
      managed: 'command',
      settings: { name: 'Later', colours: { accent: '#ffd400' }, links: { terms: 'https://late.example/' } },
      logo: 'image/png, 4 × 3',
    })
    expect((await one.run('brands', 'list')).stdout).toMatch(/^acme +Acme & Söhne +file +enabled$/m)
    expect((await one.run('brands', 'delete', 'late')).stdout).toBe('brand late deleted\n')
    for (const server of pair.servers) {
      expect(await seen(server, (page) => brandOf(page) === 'default')).toBeLessThan(1000)
    }
  })

  it('leaves alone what the file declares', async () => {
    const refused = await one.run('brands', 'css', 'acme', '--file', file('ok.css', 'a{color:red}'))
    expect(refused).toMatchObject({ code: 1, stderr: 'genkan: brand acme is declared: change the configuration\n' })
  })

  it('states facts for the audit', async () => {
    const { stdout } = await one.run('audit', 'list', '--json')
    for (const type of ['brand.created', 'brand.updated', 'brand.deleted']) expect(stdout).toContain(`"${type}"`)
  })
})
