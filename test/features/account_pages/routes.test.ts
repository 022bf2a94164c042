import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Context, Next } from 'koa'
import { createAccountArea } from '../../../src/features/account_area/index.ts'
import { createAccountRouter } from '../../../src/features/account_pages/routes.ts'
import type { AccountActs } from '../../../src/features/account_pages/service.ts'
import { createAccountSignIn } from '../../../src/features/account_sign_in/index.ts'
import type { SessionView } from '../../../src/features/sessions/types.ts'
import { createCsrf } from '../../../src/http/csrf.ts'
import { createErrorHandler } from '../../../src/http/error_handler.ts'
import { createLanguages } from '../../../src/http/language.ts'
import { createPages } from '../../../src/http/page.ts'
import { createRequestContext } from '../../../src/http/request_context.ts'
import type { AccountView } from '../../../src/interaction/step.ts'
import { newToken } from '../../../src/platform/ids.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { createViews } from '../../../src/platform/views.ts'
import { type Browser, createBrowser, type Page } from '../../support/browser.ts'
import { type KoaServer, serveKoa } from '../../support/koa_server.ts'
import { DEFAULT_LEVELS } from '../../support/levels.ts'

const views = createViews({ viewsDir: fileURLToPath(new URL('../../../views', import.meta.url)) })
const secretBox = createSecretBox([Buffer.alloc(32, 1)])
const MINUTE = 60_000

const ann: AccountView = {
  ...{
    accountId: 'ann',
    email: 'ann@example.com',
    emailVerified: true,
    active: true,
    epoch: 0,
    factors: [],
    name: '<b>Ann</b>',
  },
}
const session = (uid: string): SessionView => ({
  ...{
    uid,
    accountId: 'ann',
    amr: ['pwd'],
    methods: ['pwd'],
    clientIds: [],
    transient: false,
    ip: '192.0.2.1',
    userAgent: 'x',
  },
  ...{ createdAt: new Date(0), authenticatedAt: new Date(0), seenAt: new Date(0) },
  device: { browser: 'Firefox', system: '<i>Linux</i>', kind: 'desktop' },
})

describe('account pages', () => {
  let server: KoaServer
  let now: number
  let live: Set<string>
  let account: AccountView | undefined
  let log: unknown[]
  let failure: { code: string; field?: string; retryAfter?: number } | undefined
  let pendingEmail: string | undefined
  let hasPassword: boolean
  /** Parameters of the authorization requests that the provider saw. */
  let asked: URLSearchParams[]
  let browser: Browser
  const url = (path: string) => `${server.origin}${path}`

  /** Stands for the provider: everybody is Ann, and asking for a login makes a new proof. */
  let authTime: number
  async function provider(ctx: Context, next: Next): Promise<void> {
    if (ctx.path !== '/auth') return next()
    const params = new URLSearchParams(ctx.querystring)
    asked.push(params)
    if (params.get('prompt') === 'login') authTime = now
    live.add('here')
    ctx.redirect(
      `/account/callback?code=${params.get('nonce')}&state=${params.get('state')}&iss=${encodeURIComponent(server.origin)}`,
    )
  }

  const outcome = () => (failure === undefined ? { ok: true, value: undefined } : { ok: false, ...failure })
  const acts = new Proxy({} as AccountActs, {
    get: (_, name: string) => {
      if (name === 'sessions') return async () => [session('there'), session('here')]
      if (name === 'clients') return async () => clients
      if (name === 'delegates') return async () => delegates
      if (name === 'profile') return async () => ({ name: 'Ann', website: 'https://ann.example', role: 'x' })
      if (name === 'hasPassword') return async () => hasPassword
      if (name === 'openApprovals') return async () => 0
      if (name === 'pendingEmail') return async () => pendingEmail
      if (name === 'resendIn') return async () => 0
      if (name === 'refuseInRealm') return async () => {}
      return async (...values: unknown[]) => {
        log.push([name, ...values.slice(1)])
        if (name === 'endSession') return values[1] === 'there'
        if (name === 'revokeClient') return values[1] === 'demo/web'
        if (name === 'takeBackDelegate' || name === 'allowDelegate') return values[2] === 'demo/web'
        return outcome()
      }
    },
  })
  const at = (resource: string, revokedAt?: Date) => ({
    ...{ actorClientId: 'https://buyer.example/id', subjectClientId: 'shop', resource, scopes: ['ledger:read'] },
    ...{ firstUsedAt: new Date(0), lastUsedAt: new Date('2026-11-01T09:00:00.000Z'), revokedAt },
  })
  const delegates = [
    {
      client: { clientId: 'https://buyer.example/id', name: '<b>Buyer', firstParty: false },
      ways: [
        {
          through: { clientId: 'demo/web', name: '<script>alert(1)</script>', firstParty: false },
          at: [at('https://ledger.example')],
        },
        {
          through: { clientId: 'shop', name: 'Shop', firstParty: false },
          // A resource server that was reached while the other was being taken back.
          at: [at('https://vault.example'), at('https://ledger.example', new Date(0))],
        },
      ],
    },
  ]
  const clients = [
    {
      client: { clientId: 'demo/web', name: '<script>alert(1)</script>', firstParty: false },
      permissions: [
        { name: 'openid', isNew: false, resource: '' },
        { name: 'orders:read', isNew: false, resource: 'https://api.example' },
      ],
      details: [],
      ...{ offline: true, since: new Date('2026-11-01T00:00:00.000Z') },
    },
  ]

  beforeAll(async () => {
    // The issuer is known only once the port is: the routes are built on the first request.
    let handle: ((ctx: Context, next: Next) => Promise<unknown>) | undefined
    server = await serveKoa(async (ctx, next) => {
      handle ??= build(server.origin)
      await handle(ctx, next)
    })
  })
  afterAll(() => server.close())

  function build(issuer: string) {
    const pages = createPages({ views })
    const csrf = createCsrf({
      issuer,
      mac: (value) => secretBox.mac(value, 'csrf'),
      macMatches: (value, mac) => secretBox.macMatches(value, 'csrf', mac),
    })
    const { locales, pickLocale } = views
    const languages = createLanguages({ issuer, locales, pickLocale })
    const signIn = createAccountSignIn({
      ...{
        issuer,
        clientId: 'genkan-account',
        authorizationEndpoint: `${issuer}/auth`,
        secretBox,
        newToken,
        pages,
        csrf,
        languages,
      },
      clock: { now: () => new Date(now) },
      redeem: async (code) => ({
        accountId: 'ann',
        sessionUid: 'here',
        authTime: Math.floor(authTime / 1000),
        acr: 'urn:genkan:acr:basic',
        nonce: code,
      }),
      sessions: {
        findLive: async (uid) => (live.has(uid) ? { accountId: 'ann', seenAt: new Date(now) } : undefined),
        touch: async () => {},
        end: async (uid) => live.delete(uid),
      },
      accounts: { view: async () => account },
      isClosed: async () => false,
      levels: DEFAULT_LEVELS,
    })
    const area = createAccountArea({ issuer, gate: signIn.gate, pages, csrf, idleSeconds: 28_800 })
    const router = createAccountRouter({
      ...{ acts, area, pages, clock: { now: () => new Date(now) }, passwordMinLength: 8 },
      agentIdleDays: 90,
      languages,
    })
    const failed = { error: () => {}, warn: () => {} }
    const chain = [
      createRequestContext({ issuer, trustedProxies: [], languages }),
      createErrorHandler({ pages, logger: failed }),
      csrf.offer,
      provider,
      signIn.router?.routes(),
      router.routes(),
    ]
    return (ctx: Context, next: Next) => {
      const run = (index: number): Promise<unknown> =>
        Promise.resolve(
          (chain[index] as ((ctx: Context, next: Next) => unknown) | undefined)?.(ctx, () => run(index + 1)) ?? next,
        )
      return run(0)
    }
  }

  beforeEach(() => {
    now = Date.parse('2026-11-01T12:00:00.000Z')
    authTime = now - MINUTE
    live = new Set(['here'])
    account = ann
    log = []
    failure = undefined
    hasPassword = true
    pendingEmail = undefined
    asked = []
    browser = createBrowser()
  })

  const pageOf = (path: string) => browser.get(url(path))
  const here = (page: Page) => new URL(page.url).pathname

  describe('signing in', () => {
    it('leads through the provider back to the page that was asked for', async () => {
      const page = await pageOf('/account/sessions')
      expect([here(page), page.status]).toEqual(['/account/sessions', 200])
      expect(asked).toHaveLength(1)
      await pageOf('/account')
      expect(asked).toHaveLength(1)
    })

    it('the issuer’s root leads to it', async () => {
      expect(here(await pageOf('/'))).toBe('/account')
    })

    it('the address for password managers leads to the password page', async () => {
      const answer = await browser.send(url('/.well-known/change-password'))
      expect([answer.status, answer.headers.location]).toEqual([302, '/account/password'])
    })

    it('blocked cookies end on a page that says so', async () => {
      const answer = await browser.send(url('/account'))
      browser.jar.clear()
      const callback = await browser.send(answer.headers.location ?? '')
      browser.jar.clear()
      const page = await browser.get(callback.headers.location?.replace(/^\//, url('/')) ?? '')
      expect([page.status, here(page)]).toEqual([400, '/account/callback'])
      expect(page.text).toContain('cookies')
    })

    it('a bookmarked callback begins again', async () => {
      await pageOf('/account')
      const page = await pageOf('/account/callback?code=old&state=old')
      expect([here(page), page.status]).toEqual(['/account', 200])
    })

    it('A59: an old cookie shows nothing once the session has ended', async () => {
      await pageOf('/account')
      live.clear()
      const answer = await browser.send(url('/account'))
      expect([answer.status, answer.body.includes('ann@example.com')]).toEqual([303, false])
      expect(answer.headers['cache-control']).toBe('no-store')
    })

    it('A53: a disabled account sees a page and no loop', async () => {
      await pageOf('/account')
      account = { ...ann, active: false }
      const page = await pageOf('/account')
      expect([page.status, here(page)]).toEqual([400, '/account/callback'])
    })
  })

  describe('fresh authentication', () => {
    const SENSITIVE = ['/account/password', '/account/email', '/account/sessions/others', '/account/delete']
    it.each(SENSITIVE)('%s asks again five minutes after the last proof, and comes back', async (path) => {
      await pageOf('/account')
      now += 6 * MINUTE
      const page = await pageOf(path)
      expect([here(page), page.status]).toEqual([path, 200])
      expect(asked.at(-1)?.get('prompt')).toBe('login')
      expect(asked.at(-1)?.get('login_hint')).toBe('ann@example.com')
    })

    it.each([
      ['/account/password', { current: 'a', password: 'b' }],
      ['/account/email', { email: 'new@example.com' }],
      ['/account/sessions/others', {}],
      ['/account/delete', { confirmation: 'ann@example.com' }],
    ])('%s does nothing for a form that was left open too long', async (path, values) => {
      const page = await pageOf(path)
      now += 6 * MINUTE
      const after = await browser.submit(page, values, { form: path })
      expect([here(after), log]).toEqual([path, []])
      expect(asked.at(-1)?.get('prompt')).toBe('login')
    })

    it.each(['/account', '/account/profile', '/account/sessions', '/account/clients', '/account/language'])(
      '%s does not ask again',
      async (path) => {
        await pageOf('/account')
        now += 60 * MINUTE
        await pageOf(path)
        expect(asked).toHaveLength(1)
      },
    )
  })

  describe('A55: every act refuses what our own pages did not send', () => {
    const ACTS: readonly (readonly [string, Record<string, string>])[] = [
      ['/account/profile', { name: 'x' }],
      ['/account/password', { current: 'a', password: 'b' }],
      ['/account/email', { email: 'evil@example.com' }],
      ['/account/email/code', { code: '123456' }],
      ['/account/sessions/others', {}],
      ['/account/sessions/there/end', {}],
      ['/account/clients/demo%2Fweb/revoke', {}],
      ['/account/agents/buyer/through/demo%2Fweb/revoke', {}],
      ['/account/agents/buyer/through/demo%2Fweb/allow', {}],
      ['/account/language', { locale: 'fi' }],
      ['/account/delete', { confirmation: 'ann@example.com' }],
      ['/account/sign-out', {}],
    ]

    it.each(ACTS)('%s', async (path, values) => {
      const page = await pageOf('/account')
      const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
      expect(csrf).not.toBe('')
      const body = (fields: object) => new URLSearchParams({ ...fields }).toString()
      const form = 'application/x-www-form-urlencoded'
      const from = url('/account')
      const post = (type: string, text: string, origin = from) =>
        browser.send(url(path), { method: 'POST', body: text, from: origin, headers: { 'content-type': type } })
      const answers = [
        await post(form, body(values)),
        await post(form, body({ ...values, csrf: `${csrf}x` })),
        await post(form, body({ ...values, csrf }), 'https://evil.example/'),
        await post('text/plain', body({ ...values, csrf })),
        await post('multipart/form-data; boundary=x', '--x--'),
        await post('application/json', JSON.stringify({ ...values, csrf })),
      ]
      expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 415, 415, 415])
      const get = await browser.send(`${url(path)}?${body({ ...values, csrf })}`)
      expect([200, 303, 404, 405]).toContain(get.status)
      expect([log, live.has('here')]).toEqual([[], true])
    })
  })

  describe('acts', () => {
    it('saves the profile, says so once, and redirects (PRG)', async () => {
      const form = await pageOf('/account/profile')
      const page = await browser.submit(form, { nickname: 'Annie' }, { form: '/account/profile' })
      expect([here(page), page.text.includes('Your profile is saved.')]).toEqual(['/account/profile', true])
      expect(log).toEqual([['saveProfile', expect.objectContaining({ name: 'Ann', nickname: 'Annie' })]])
      expect((await pageOf('/account/profile')).text).not.toContain('Your profile is saved.')
    })

    it('shows a bad profile again with what was typed', async () => {
      const form = await pageOf('/account/profile')
      const page = await browser.submit(form, { website: 'javascript:alert(1)' }, { form: '/account/profile' })
      expect([page.status, page.title.startsWith('Error:'), log]).toEqual([400, true, []])
      const field = page.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'website')
      expect(field).toMatchObject({ value: 'javascript:alert(1)', attributes: { 'aria-invalid': 'true' } })
    })

    it('changes the password, other sessions ending by default', async () => {
      const form = await pageOf('/account/password')
      const fields = form.forms.flatMap((each) => each.fields)
      const autocomplete = fields.map(({ attributes }) => attributes.autocomplete).filter(Boolean)
      expect(autocomplete).toEqual(['username', 'current-password', 'new-password'])
      const page = await browser.submit(form, { current: 'old', password: 'new' }, { form: '/account/password' })
      expect(page.text).toContain('Your password is changed.')
      expect(log).toEqual([
        [
          'changePassword',
          expect.objectContaining({ current: 'old', password: 'new', others: true }),
          expect.anything(),
        ],
      ])
    })

    it('sets the first password of an account without one, and asks for no current one', async () => {
      hasPassword = false
      expect((await pageOf('/account')).text).toContain('Set a password')
      const form = await pageOf('/account/password')
      expect(form.title).toContain('Set a password')
      const fields = form.forms.flatMap((each) => each.fields)
      const autocomplete = fields.map(({ attributes }) => attributes.autocomplete).filter(Boolean)
      expect(autocomplete).toEqual(['username', 'new-password'])
      const page = await browser.submit(form, { password: 'new' }, { form: '/account/password' })
      expect(page.text).toContain('Your password is set.')
      expect(log).toEqual([['setPassword', 'new', 'en']])
    })

    it('a stale page cannot set a password past the current one', async () => {
      hasPassword = false
      const form = await pageOf('/account/password')
      hasPassword = true
      await browser.submit(form, { password: 'new' }, { form: '/account/password' })
      expect(log).toEqual([['changePassword', expect.objectContaining({ current: '' }), expect.anything()]])
    })

    it('unticked, other sessions stay', async () => {
      const form = await pageOf('/account/password')
      const values = { current: 'old', password: 'new', others: false }
      await browser.submit(form, values, { form: '/account/password' })
      expect(log).toEqual([['changePassword', expect.objectContaining({ others: false }), expect.anything()]])
    })

    it.each([
      [{ code: 'current_password_wrong', field: 'current' }, 400],
      [{ code: 'too_many_requests', retryAfter: 30 }, 429],
    ])('a password that cannot be changed: %j', async (failed, status) => {
      failure = failed
      const form = await pageOf('/account/password')
      const page = await browser.submit(form, { current: 'old', password: 'new' }, { form: '/account/password' })
      expect(page.status).toBe(status)
      expect(page.headers['retry-after']).toBe(status === 429 ? '30' : undefined)
      expect(page.html).not.toMatch(/value="(old|new)"/)
    })

    it('changes the e-mail by way of a code', async () => {
      const form = await pageOf('/account/email')
      pendingEmail = 'new@example.com'
      const code = await browser.submit(form, { email: 'new@example.com' }, { form: '/account/email' })
      expect([here(code), code.text.includes('new@example.com')]).toEqual(['/account/email/code', true])
      const page = await browser.submit(code, { code: '123 456' }, { form: '/account/email/code', button: 'confirm' })
      expect([here(page), page.text.includes('Your e-mail is changed.')]).toEqual(['/account', true])
      expect(log).toEqual([
        ['startEmailChange', 'new@example.com', expect.anything()],
        ['confirmEmailChange', '123456', expect.anything()],
      ])
    })

    it('the code page offers another code and a way out', async () => {
      pendingEmail = 'new@example.com'
      const form = await pageOf('/account/email/code')
      await browser.submit(form, {}, { form: 2 })
      await browser.submit(form, {}, { form: 3 })
      expect(log.map((entry) => (entry as unknown[])[0])).toEqual(['resendEmailCode', 'cancelEmailChange'])
    })

    it('without a change under way there is no code page', async () => {
      expect(here(await pageOf('/account/email/code'))).toBe('/account/email')
    })

    it('shows sessions with this one marked and without a button', async () => {
      const page = await pageOf('/account/sessions')
      expect(page.text).toContain('This device')
      expect(page.html).not.toContain('<i>Linux</i>')
      const actions = page.forms.map(({ action }) => action)
      expect(actions).toContain('/account/sessions/there/end')
      expect(actions).not.toContain('/account/sessions/here/end')
      await browser.submit(page, {}, { form: '/account/sessions/there/end' })
      expect(log).toEqual([['endSession', 'there']])
    })

    it('ids of others are not found', async () => {
      const page = await pageOf('/account/sessions')
      const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
      const ofOthers = [
        '/account/sessions/foreign/end',
        '/account/clients/foreign/revoke',
        '/account/agents/buyer/through/foreign/revoke',
      ]
      for (const path of ofOthers) {
        expect((await browser.post(url(path), { csrf }, page.url)).status).toBe(404)
      }
    })

    it('ends all other sessions after a question', async () => {
      const question = await pageOf('/account/sessions/others')
      const page = await browser.submit(question, {}, { form: '/account/sessions/others' })
      expect([here(page), log]).toEqual(['/account/sessions', [['endOthers']]])
    })

    it('A73: clients with hostile names are inert, and can be revoked', async () => {
      const page = await pageOf('/account/clients')
      expect(page.html).not.toContain('<script>alert')
      expect(page.text).toContain('orders:read')
      await browser.submit(page, {}, { form: '/account/clients/demo%2Fweb/revoke' })
      expect(log).toEqual([['revokeClient', 'demo/web']])
    })

    it('A73: so are agents that act through them; what was taken back can be allowed again, as one', async () => {
      const page = await pageOf('/account/clients')
      expect(page.html).not.toContain('<b>Buyer')
      expect(page.text).toMatch(
        /Agents acting for you.*<b>Buyer.*Acts through .*ledger\.example.*vault\.example.*Taken back on/,
      )
      const way = '/account/agents/https%3A%2F%2Fbuyer.example%2Fid/through'
      await browser.submit(page, {}, { form: `${way}/demo%2Fweb/revoke` })
      const after = await browser.submit(page, {}, { form: `${way}/shop/allow` })
      expect(after.status).toBe(404)
      expect(log).toEqual([
        ['takeBackDelegate', 'https://buyer.example/id', 'demo/web'],
        ['allowDelegate', 'https://buyer.example/id', 'shop'],
      ])
    })

    it('changes the language of pages and account', async () => {
      const form = await pageOf('/account/language')
      const page = await browser.submit(form, { locale: 'fi' }, { form: '/account/language' })
      expect([page.headers['content-language'], log]).toEqual(['fi', [['saveLocale', 'fi']]])
      expect(browser.jar.all().find(({ name }) => name === 'genkan_locale')?.expires).toBeGreaterThan(Date.now())
    })

    it('the chooser at the foot sets the account’s language too, and comes back', async () => {
      const page = await browser.submit(
        await pageOf('/account/profile'),
        {},
        { form: '/account/language', button: 'ar' },
      )
      expect([here(page), page.headers['content-language'], log]).toEqual([
        '/account/profile',
        'ar',
        [['saveLocale', 'ar']],
      ])
      expect(page.text).toContain(views.t('ar', 'account.done.language_saved'))
      const hostile = { locale: 'sv', return_to: Buffer.from('//evil.example').toString('base64url') }
      const { forms } = page
      const csrf = forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
      expect(here(await browser.post(url('/account/language'), { csrf, ...hostile }))).toBe('/account/language')
    })

    it('speaks the language of the account before that of the browser', async () => {
      account = { ...ann, locale: 'th' }
      browser = createBrowser({ locale: 'fi' })
      expect((await pageOf('/account')).headers['content-language']).toBe('th')
      expect((await pageOf('/account/deleted')).headers['content-language']).toBe('fi')
    })

    it('refuses a language that there is not', async () => {
      const form = await pageOf('/account/language')
      expect((await browser.submit(form, { locale: 'xx' }, { form: '/account/language' })).status).toBe(400)
      expect(log).toEqual([])
    })

    it('deletes the account and forgets the browser', async () => {
      const form = await pageOf('/account/delete')
      const page = await browser.submit(form, { confirmation: 'ann@example.com' }, { form: '/account/delete' })
      expect([here(page), page.status, log[0]]).toEqual([
        '/account/deleted',
        200,
        ['deleteAccount', 'ann@example.com', 'en'],
      ])
      expect(browser.jar.all().map(({ name }) => name)).toEqual(['genkan_csrf'])
    })

    it('signs out: the session ends, the cookies go, nothing is kept', async () => {
      const page = await pageOf('/account')
      const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
      const body = new URLSearchParams({ csrf }).toString()
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      const answer = await browser.send(url('/account/sign-out'), { method: 'POST', body, from: page.url, headers })
      expect([answer.status, answer.headers.location]).toEqual([303, '/account/signed-out'])
      expect(answer.headers['clear-site-data']).toBe('"cache", "storage"')
      expect([...live]).toEqual([])
      expect((await pageOf('/account/signed-out')).status).toBe(200)
      expect(browser.jar.all().map(({ name }) => name)).toEqual(['genkan_csrf'])
    })
  })

  it('every page is whole in every language, is never stored, and works as plain forms', async () => {
    pendingEmail = 'new@example.com'
    const paths = [
      '',
      'profile',
      'password',
      'email',
      'email/code',
      'sessions',
      'sessions/others',
      'clients',
      'language',
    ]
    for (const locale of views.locales) {
      browser = createBrowser({ locale })
      for (const path of [...paths, 'delete', 'deleted', 'signed-out']) {
        const page = await pageOf(path === '' ? '/account' : `/account/${path}`)
        expect([path, page.status, page.headers['content-language']]).toEqual([path, 200, locale])
        expect(page.headers['cache-control']).toBe('no-store')
        expect(page.html).not.toMatch(/ on[a-z]+="|javascript:|<b>Ann/)
        for (const form of page.forms) expect(form.method).toBe('post')
      }
    }
  })

  it('on https the cookies are bound to the host by their names', async () => {
    const set: string[] = []
    const ctx = {
      state: { locale: 'en' },
      cookies: {
        get: () => undefined,
        set: (name: string, _: string, options: object) => set.push(name + JSON.stringify(options)),
      },
      set: () => {},
      redirect: () => {},
    } as unknown as Context
    const pages = createPages({ views })
    const { gate } = createAccountSignIn({
      ...{
        issuer: 'https://id.example',
        clientId: 'x',
        authorizationEndpoint: 'https://id.example/auth',
        secretBox,
        newToken,
      },
      ...{ pages, csrf: { check: () => {} }, clock: { now: () => new Date() }, redeem: async () => undefined },
      sessions: { findLive: async () => undefined, touch: async () => {}, end: async () => {} },
      accounts: { view: async () => undefined },
      isClosed: async () => false,
      levels: DEFAULT_LEVELS,
      languages: { of: () => 'en' },
    })
    await gate.enter(ctx, '/account')
    gate.forget(ctx)
    expect(set.map((cookie) => cookie.slice(0, cookie.indexOf('{')))).toEqual([
      '__Host-genkan_account_pending',
      '__Host-genkan_account',
      '__Host-genkan_account_pending',
    ])
    for (const cookie of set) expect(cookie).toContain('"httpOnly":true,"sameSite":"lax","secure":true')
  })
})
