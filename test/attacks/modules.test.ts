/** A96: a module that is switched off is off at the server: its pages, its forms and its parameters, not only its links. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../support/browser.ts'
import { choose, PASSWORD, SETTINGS, signIn } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { authorizationRequest, clientBrowser, newPerson, stepOf } from '../support/people.ts'
import { sampleKinds } from '../support/sample.ts'
import { realStores, type Server, type ServerOptions, startServer } from '../support/server.ts'

const EMAIL = 'ann@example.com'

type Kind = 'embedded' | 'postgres and redis'
type Modules = { readonly registration?: false; readonly recovery?: false; readonly account_pages?: false }

/** Where each kind of stores keeps the one account, which was made while everything was on. */
const made = new Map<Kind, ServerOptions>()
const closers: (() => Promise<void>)[] = []
afterAll(() => Promise.all(closers.map((close) => close())))

async function makeAccount(kind: Kind): Promise<ServerOptions> {
  const stores = kind === 'embedded' ? kind : await realStores()
  const before = await startServer({ settings: SETTINGS, stores })
  closers.push(before.close)
  await newPerson(before.issuer, mailFolder(before.dataDir), EMAIL)
  await before.stop()
  return { stores, ...(kind === 'embedded' ? { dataDir: before.dataDir } : {}) }
}

/** A server on these stores; the one before it must have ended. */
async function startWithout(modules: Modules, kind: Kind = 'embedded'): Promise<Server> {
  const options = made.get(kind) ?? (await makeAccount(kind))
  made.set(kind, options)
  return startServer({ ...options, settings: { ...SETTINGS, modules } })
}

const open = (server: Server, browser: Browser, parameters = {}) =>
  browser.get(authorizationRequest(server.issuer, 'own', parameters).url)
const interactionOf = ({ url }: Page) => new URL(url).pathname
const csrfOf = ({ forms }: Page) =>
  forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
const targets = ({ forms, links }: Page) => [
  ...forms.flatMap(({ fields }) => fields.filter(({ name }) => name === 'to').map(({ value }) => value)),
  ...links.map(({ href }) => href),
]

/** Posts what the page offers no form for, with everything a forged form of our own page would have. */
async function post(server: Server, browser: Browser, page: Page, action: string, fields: { [name: string]: string }) {
  return browser.send(`${server.issuer}${interactionOf(page)}/${action}`, {
    method: 'POST',
    from: page.url,
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'text/html' },
    body: new URLSearchParams({ csrf: csrfOf(page), ...fields }).toString(),
  })
}

const accounts = async (server: Server) =>
  JSON.parse((await server.run('accounts', 'list', '--json')).stdout) as { email: string }[]
const signsIn = async (server: Server) => {
  const browser = clientBrowser()
  return (await signIn(browser, await open(server, browser), EMAIL)).params.has('code')
}

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))(
  'without registration on %s',
  (kind) => {
    let server: Server
    beforeAll(async () => {
      server = await startWithout({ registration: false }, kind)
    })
    afterAll(async () => {
      await server.stop()
      await server.close()
    })

    it('no page leads there, and the people who are there sign in', async () => {
      const browser = clientBrowser()
      const page = await open(server, browser)
      expect(stepOf(page)).toBe('identifier')
      expect(targets(page)).not.toContain('create')
      const password = await browser.submit(page, { identifier: 'nobody@example.com' }, { form: '/identifier' })
      expect(targets(password)).toEqual(expect.arrayContaining(['identifier', 'recover']))
      expect(targets(password)).not.toContain('create')
      expect(await signsIn(server)).toBe(true)
    })

    it('its form, its page and the way to it are refused with 403, and make no account', async () => {
      const browser = clientBrowser()
      const page = await open(server, browser)
      const form = { email: 'eve@example.com', password: PASSWORD }
      const answers = [
        await post(server, browser, page, 'register', form),
        await post(server, browser, page, 'switch', { to: 'create' }),
        await post(server, browser, page, 'switch', { to: 'register' }),
        await post(server, browser, page, 'register', form),
        await browser.send(`${server.issuer}${interactionOf(page)}/register`, { headers: { accept: 'text/html' } }),
      ]
      expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403])
      for (const { body } of answers) expect(body).not.toContain('name="email"')
      expect(stepOf(await browser.get(page.url))).toBe('identifier')
      expect((await accounts(server)).map(({ email }) => email)).toEqual([EMAIL])
    })

    it('prompt=create is an error to the client, and discovery does not promise it', async () => {
      for (const prompt of ['create', 'create login', 'login create']) {
        const end = await open(server, clientBrowser(), { prompt })
        expect(end.url.startsWith('https://own.test.example/callback')).toBe(true)
        expect(Object.fromEntries(end.params)).toMatchObject({
          ...{ error: 'invalid_request', state: 'the-state', iss: server.issuer },
        })
      }
      const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()
      expect(metadata).toMatchObject({ prompt_values_supported: ['none', 'login', 'consent', 'select_account'] })
    })
  },
)

describe('without recovery', () => {
  let server: Server
  beforeAll(async () => {
    server = await startWithout({ recovery: false })
  })
  afterAll(async () => {
    await server.stop()
    await server.close()
  })

  it('no page leads there, and its forms, pages and links of mails are refused', async () => {
    const browser = clientBrowser()
    const page = await open(server, browser)
    const password = await browser.submit(page, { identifier: EMAIL }, { form: '/identifier' })
    expect(stepOf(password)).toBe('password')
    expect(targets(password)).not.toContain('recover')
    const refused = [
      await post(server, browser, password, 'switch', { to: 'recover' }),
      await post(server, browser, password, 'switch', { to: 'new_password' }),
      await post(server, browser, password, 'recover', { identifier: EMAIL }),
      await post(server, browser, password, 'recover_code', { code: '123456' }),
      await post(server, browser, password, 'new_password', { password: 'another quiet harbour 11' }),
      await browser.send(`${server.issuer}${interactionOf(page)}/recover_code?code=123456`, {
        headers: { accept: 'text/html' },
      }),
    ]
    expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 403))
    expect(stepOf(await browser.get(page.url))).toBe('password')
    expect(await signsIn(server)).toBe(true)
  })

  it('registering is still there', async () => {
    const browser = clientBrowser()
    expect(stepOf(await choose(browser, await open(server, browser), 'create'))).toBe('register')
  })
})

describe('without account pages', () => {
  let server: Server
  beforeAll(async () => {
    server = await startWithout({ account_pages: false })
  })
  afterAll(async () => {
    await server.stop()
    await server.close()
  })

  it.each([
    '/account',
    '/account/',
    '/account/password',
    '/account/callback?code=x&state=y',
    '/account/signed-out',
    '/account/deleted',
    '/.well-known/change-password',
  ])('%s is not there, read or written', async (path) => {
    for (const method of ['GET', 'POST']) {
      const answer = await fetch(`${server.issuer}${path}`, { method, redirect: 'manual', headers: { accept: '*/*' } })
      expect([method, answer.status]).toEqual([method, 404])
    }
  })

  it('their client is nobody', async () => {
    const redirect_uri = `${server.issuer}/account/callback`
    const page = await clientBrowser().get(authorizationRequest(server.issuer, 'genkan-account', { redirect_uri }).url)
    expect([page.status, page.text.includes('invalid_client')]).toEqual([400, true])
    const taken = await server.run('clients', 'create', 'genkan-account', '--redirect-uri', 'https://evil.example/')
    expect(taken.code).toBe(1)
  })

  it('the root says where to go, and no page leads to them', async () => {
    const browser = clientBrowser()
    const front = await browser.get(`${server.issuer}/`)
    expect([front.status, front.title]).toEqual([200, 'Sign in · Genkan'])
    expect(front.text).toContain('Open the application')
    const expired = await browser.get(`${server.issuer}/interaction/unknown`)
    const logout = await browser.get(`${server.issuer}/session/end`)
    const out = await browser.submit(logout, {}, { form: '/session/end/confirm' })
    for (const page of [front, expired, logout, out]) {
      expect(targets(page).filter((target) => target.includes('/account'))).toEqual([])
    }
    expect(targets(expired)).toContain('/')
    expect(await signsIn(server)).toBe(true)
  })
})

describe('a module that does not exist', () => {
  it('is refused at the start, with the nearest one', async () => {
    const server = await startServer({ settings: { modules: { registraton: false } }, wait: false })
    expect(await server.exited()).toBe(1)
    expect(server.logs().join('\n')).toContain('modules.registraton: unknown key, did you mean registration?')
    await server.close()
  })
})
