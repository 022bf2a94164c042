/**
 * The hosted pages in a real Chromium, at an https issuer behind a TLS proxy: cookies, Content-Security-Policy, forms
 * without JavaScript, links from mails, narrow and dark screens.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { listenTo, newProfile, startWithoutCookies } from '../support/chromium.ts'
import { type BrowserOfClients, startBrowserOfClients } from '../support/client_site.ts'
import { PASSWORD, SETTINGS } from '../support/journeys.ts'
import { codeFrom, linkFrom, type Mailbox, mailFolder } from '../support/mailbox.ts'
import { type Server, startServer } from '../support/server.ts'
import { freePort } from '../support/services.ts'
import { startTlsProxy, type TlsProxy } from '../support/tls_proxy.ts'

let browser: Browser
let server: Server
let front: TlsProxy
let mailbox: Mailbox
/** Where every client lives: redirects end at a real server, since no tool may answer in its place. */
let clients: BrowserOfClients

beforeAll(async () => {
  const [port, frontPort] = [await freePort(), await freePort()]
  front = await startTlsProxy({ target: `http://127.0.0.1:${port}`, port: frontPort })
  server = await startServer({
    settings: SETTINGS,
    port,
    issuer: front.origin,
    env: { TRUSTED_PROXIES: '127.0.0.1' },
  })
  mailbox = mailFolder(server.dataDir)
  clients = await startBrowserOfClients()
  browser = clients.browser
})
afterAll(async () => {
  await clients?.close()
  await server?.close()
  await front?.stop()
})

/** A fresh profile and its page, with everything that the console says. */
async function open(
  options: BrowserContextOptions = {},
): Promise<{ context: BrowserContext; page: Page; said: string[] }> {
  const context = await newProfile(browser, options)
  const page = await context.newPage()
  return { context, page, said: listenTo(page) }
}

const press = (page: Page, name: string | RegExp) => page.getByRole('button', { name, exact: true }).click()

async function fillRegistration(page: Page, email: string): Promise<void> {
  await page.goto(`${front.origin}/account`)
  await press(page, 'Create an account')
  await page.getByLabel('E-mail').fill(email)
  await page.locator('input[name=password]').fill(PASSWORD)
  await press(page, 'Create account')
}

function authorizationUrl(client: string, origin: string): string {
  const request = new URL(`${front.origin}/auth`)
  request.search = new URLSearchParams({
    client_id: client,
    redirect_uri: `${origin}/callback`,
    response_type: 'code',
    scope: 'openid email',
    state: `of ${client}`,
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
  }).toString()
  return request.href
}

/** From the page that asks who it is, or from the one that knows. */
async function signIn(page: Page, email: string): Promise<void> {
  const identifier = page.locator('input[name=identifier]:not([readonly])')
  if (await identifier.isVisible()) {
    await identifier.fill(email)
    await press(page, 'Continue')
  }
  await page.locator('input[name=password]').fill(PASSWORD)
  await press(page, 'Sign in')
}

async function register(page: Page, email: string): Promise<void> {
  await fillRegistration(page, email)
  await page.locator('input[name=code]').fill(codeFrom(await mailbox.to(email)))
  await press(page, 'Confirm')
  await page.waitForURL(`${front.origin}/account`)
}

describe('an https issuer', () => {
  it('A57: binds its cookies by prefix, path, HttpOnly, Secure and SameSite', async () => {
    const { context, page, said } = await open()
    await fillRegistration(page, 'cookies@example.com')
    const waiting = new Map((await context.cookies(page.url())).map((cookie) => [cookie.name, cookie]))
    expect(waiting.get('__Secure-genkan_interaction')).toMatchObject({
      path: new URL(page.url()).pathname.split('/').slice(0, 3).join('/'),
      httpOnly: true,
      secure: true,
      sameSite: 'Lax',
    })
    await page.locator('input[name=code]').fill(codeFrom(await mailbox.to('cookies@example.com')))
    await press(page, 'Confirm')
    await page.waitForURL(`${front.origin}/account`)
    const cookies = await context.cookies(`${front.origin}/account`)
    for (const name of ['__Host-genkan_session', '__Host-genkan_account', '__Host-genkan_csrf']) {
      const cookie = cookies.find((each) => each.name === name)
      expect([name, cookie]).toEqual([
        name,
        expect.objectContaining({ path: '/', httpOnly: true, secure: true, sameSite: 'Lax' }),
      ])
    }
    expect(cookies.every(({ name }) => /^__(Host|Secure)-/.test(name))).toBe(true)
    expect(said).toEqual([])
    await context.close()
  })

  it('works from registration to sign-out without JavaScript, and its forms may end at a client (form-action)', async () => {
    const { context, page } = await open({ javaScriptEnabled: false })
    await register(page, 'plain@example.com')
    const request = new URL(`${front.origin}/auth`)
    request.search = new URLSearchParams({
      client_id: 'web',
      redirect_uri: 'https://web.test.example/callback',
      response_type: 'code',
      scope: 'openid email',
      state: 'abc',
      prompt: 'login',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
    }).toString()
    await page.goto(request.href)
    await page.locator('input[name=password]').fill('not the password 1')
    await press(page, 'Sign in')
    expect(await page.title()).toMatch(/^Error: /)
    expect(await page.locator('input[name=password]').inputValue()).toBe('')
    await page.locator('input[name=password]').fill(PASSWORD)
    await press(page, 'Sign in')
    await press(page, 'Allow')
    await page.waitForURL('https://web.test.example/callback?**')
    expect(new URL(page.url()).searchParams.get('state')).toBe('abc')
    await page.goto(`${front.origin}/account`)
    await press(page, 'Sign out')
    await page.goto(`${front.origin}/account`)
    await page.locator('input[name=identifier]').waitFor()
    await context.close()
  })

  it('needs neither a password nor JavaScript: an address and the code of a mail, to begin and to come back', async () => {
    const { context, page } = await open({ javaScriptEnabled: false })
    await page.goto(`${front.origin}/account`)
    await press(page, 'Create an account')
    await page.getByLabel('E-mail').fill('bare@example.com')
    await press(page, 'Create account')
    await page.locator('input[name=code]').fill(codeFrom(await mailbox.to('bare@example.com')))
    await press(page, 'Confirm')
    await page.waitForURL(`${front.origin}/account`)
    expect(await page.textContent('main')).toContain('Set a password')
    await press(page, 'Sign out')
    await page.goto(`${front.origin}/account`)
    await page.locator('input[name=identifier]').fill('bare@example.com')
    await press(page, 'Continue')
    await press(page, /^E-mail me a code instead/)
    await press(page, 'Use your password')
    await press(page, /^E-mail me a code instead/)
    await page.locator('input[name=code]').fill(codeFrom(await mailbox.to('bare@example.com', { count: 2 })))
    await press(page, 'Sign in')
    await page.waitForURL(`${front.origin}/account`)
    await context.close()
  })

  it('A30: a link from the mail consumes nothing by itself, completes here, and shows the code elsewhere', async () => {
    const { context, page } = await open()
    await fillRegistration(page, 'link@example.com')
    const link = linkFrom(await mailbox.to('link@example.com'), '/interaction/')
    for (const method of ['GET', 'HEAD', 'GET'])
      expect((await context.request.fetch(link, { method })).status()).toBe(200)

    const other = await open()
    await other.page.goto(link)
    expect(await other.page.textContent('main')).toContain(codeFrom(await mailbox.to('link@example.com')))
    expect(await other.page.getByRole('button').count()).toBe(0)
    await other.context.close()

    await page.goto(link)
    await press(page, 'Confirm')
    await page.waitForURL(`${front.origin}/account`)
    await context.close()
  })

  it('says so when cookies are blocked, and does not loop', async () => {
    const context = await startWithoutCookies()
    const page = await context.newPage()
    await page.goto(`${front.origin}/account`)
    expect(await page.title()).toMatch(/cookie/i)
    await context.close()
  })

  it('A59: shows nothing after sign-out, not by the back button either', async () => {
    const { context, page } = await open()
    await register(page, 'back@example.com')
    await page.goto(`${front.origin}/account/profile`)
    await press(page, 'Sign out')
    await page.waitForURL('**/account/signed-out')
    await page.goBack()
    await page.waitForLoadState()
    expect(await page.content()).not.toContain('back@example.com')
    await context.close()
  })

  it('two tabs with two clients finish in reverse order, each at its own client', async () => {
    const { context, page: first } = await open()
    await register(first, 'tabs@example.com')
    await press(first, 'Sign out')
    const second = await context.newPage()
    const tabs = [
      ['web', 'https://web.test.example', first],
      ['other', 'https://other.test.example', second],
    ] as const
    for (const [client, origin, page] of tabs) {
      await page.goto(authorizationUrl(client, origin))
      await page.getByText(`The ${client} shop`).first().waitFor()
    }
    await signIn(second, 'tabs@example.com')
    await press(second, 'Allow')
    await second.waitForURL('https://other.test.example/callback?**')
    // The first tab began earlier and is not lost: it goes on where it stood.
    await signIn(first, 'tabs@example.com')
    await press(first, 'Allow')
    await first.waitForURL('https://web.test.example/callback?**')
    for (const [client, , page] of tabs) expect(new URL(page.url()).searchParams.get('state')).toBe(`of ${client}`)
    await context.close()
  })

  it('the back button after a sign-in leads on, never to an error', async () => {
    const { context, page } = await open()
    await register(page, 'backwards@example.com')
    await press(page, 'Sign out')
    await page.goto(authorizationUrl('own', 'https://own.test.example'))
    await signIn(page, 'backwards@example.com')
    await page.waitForURL('https://own.test.example/callback?**')
    await page.goBack()
    await page.waitForLoadState()
    const submit = page.getByRole('button', { name: 'Sign in' })
    if (await submit.isVisible()) {
      await page.locator('input[name=password]').fill(PASSWORD)
      await submit.click()
    }
    // The client's own start: either it signs in again by itself, or the page says how.
    const way = page.getByRole('link', { name: /Start again at The own shop/ })
    await Promise.any([page.waitForURL('https://own.test.example/**'), way.waitFor()])
    await context.close()
  })

  it('one double click is one sign-in', async () => {
    const { context, page } = await open()
    await register(page, 'double@example.com')
    await page.goto(`${front.origin}/account`)
    await press(page, 'Sign out')
    await page.goto(`${front.origin}/account`)
    await page.locator('input[name=identifier]').fill('double@example.com')
    await press(page, 'Continue')
    await page.locator('input[name=password]').fill(PASSWORD)
    await page.getByRole('button', { name: 'Sign in', exact: true }).dblclick()
    await page.waitForURL(`${front.origin}/account`)
    const { stdout } = await server.run('audit', 'list', '--type', 'session.started', '--json')
    const started = (JSON.parse(stdout) as { accountId: string }[]).map(({ accountId }) => accountId)
    const me = started[0]
    // Registration and this sign-in.
    expect(started.filter((id) => id === me)).toHaveLength(2)
    await context.close()
  })
})

describe.each([
  ['phone, light', { viewport: { width: 320, height: 640 }, colorScheme: 'light' }],
  ['phone, dark', { viewport: { width: 390, height: 844 }, colorScheme: 'dark' }],
  ['desktop, dark', { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }],
] as const)('on a %s screen', (_name, options) => {
  it('no page scrolls sideways, says anything on the console, or has a control smaller than 24 px', async () => {
    const { context, page, said } = await open(options)
    const email = `screen${options.viewport.width}@example.com`
    const check = async () => {
      expect([page.url(), await page.evaluate('document.documentElement.scrollWidth <= innerWidth')]).toEqual([
        page.url(),
        true,
      ])
      for (const button of await page.getByRole('button').all()) {
        const box = await button.boundingBox()
        expect(Math.min(box?.height ?? 24, box?.width ?? 24)).toBeGreaterThanOrEqual(24)
      }
    }
    await page.goto(`${front.origin}/account`)
    await check()
    await fillRegistration(page, email)
    await check()
    await page.locator('input[name=code]').fill(codeFrom(await mailbox.to(email)))
    await press(page, 'Confirm')
    await page.waitForURL(`${front.origin}/account`)
    for (const path of ['', '/profile', '/password', '/email', '/sessions', '/clients', '/language', '/delete']) {
      await page.goto(`${front.origin}/account${path}`)
      await check()
    }
    await context.clearCookies()
    await page.goto(`${front.origin}/account`)
    await page.locator('input[name=identifier]').fill(email)
    await press(page, 'Continue')
    await check()
    await press(page, /^E-mail me a code instead/)
    await page.locator('input[name=code]').waitFor()
    await check()
    expect(said).toEqual([])
    await context.close()
  })
})
