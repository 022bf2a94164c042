/** Joining by the front door: with an address and one proof, and with what the client asks for (R01). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import { type Browser, createBrowser, type Page } from '../../support/browser.ts'
import {
  type Authorization,
  authorization,
  choose,
  discover,
  PASSWORD,
  redeem,
  SETTINGS,
  signIn,
} from '../../support/journeys.ts'
import { codeFrom, linkFrom, type Mailbox, mailFolder } from '../../support/mailbox.ts'
import { stepOf } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, type Stores, startServer } from '../../support/server.ts'

const KINDS: { readonly [name: string]: () => Promise<Stores | 'embedded'> } = {
  'the embedded default': async () => 'embedded' as const,
  'PostgreSQL and Redis': realStores,
}

const OWN = 'https://own.test.example'
const ASKING = 'https://asking.test.example'
const asking = {
  ...SETTINGS.clients.find(({ client_id }) => client_id === 'own'),
  ...{ client_id: 'asking', client_name: 'The asking shop', redirect_uris: [`${ASKING}/callback`] },
  ...{
    scope: 'openid profile email phone',
    post_logout_redirect_uris: [],
    initiate_login_uri: `${ASKING}/start`,
    default_locale: 'fi',
  },
  registration_fields: [{ claim: 'given_name', required: true }, { claim: 'birthdate' }, { claim: 'phone_number' }],
}
const settings = { ...SETTINGS, clients: [...SETTINGS.clients, asking] }
const path = (page: Page) => new URL(page.url).pathname

describe.each(sampleKinds(Object.entries(KINDS), import.meta.url))('joining on %s', (_, stores) => {
  let server: Server
  let mailbox: Mailbox
  let own: oidc.Configuration

  beforeAll(async () => {
    server = await startServer({ settings, stores: await stores() })
    mailbox = mailFolder(server.dataDir)
    own = await discover(server.issuer, 'own')
  })
  afterAll(() => server?.close())

  const newBrowser = () => createBrowser({ stopAt: [OWN, ASKING] })

  async function open(browser: Browser, parameters: { readonly [name: string]: string } = {}) {
    const request = await authorization(own, `${OWN}/callback`, parameters)
    return { request, page: await browser.get(request.url) }
  }

  async function claimsAt(request: Authorization, end: Page) {
    return (await redeem(own, request, end)).claims()
  }

  /** Registers without a password; the mail is the first to the address unless told otherwise. */
  async function join(email: string, count = 1) {
    const browser = newBrowser()
    const { request, page } = await open(browser, { prompt: 'create' })
    const sent = await browser.submit(page, { email }, { form: '/register' })
    expect(stepOf(sent)).toBe('verify_email')
    const end = await browser.submit(
      sent,
      { code: codeFrom(await mailbox.to(email, { count })) },
      { form: '/verify_email' },
    )
    return { browser, claims: await claimsAt(request, end) }
  }

  /** From the password page, by a mailed code. */
  async function byCode(browser: Browser, page: Page, email: string, count: number): Promise<Page> {
    const asked = await choose(browser, page, 'email_code')
    expect(stepOf(asked)).toBe('email_code')
    return browser.submit(asked, { code: codeFrom(await mailbox.to(email, { count })) }, { form: '/email_code' })
  }

  it('an address and the code of its mail are enough, and come back to the client as `otp`', async () => {
    const { claims, browser } = await join('ann@example.com')
    expect(claims).toMatchObject({ amr: ['otp'], sub: expect.any(String) })
    expect((await browser.get(`${server.issuer}/account`)).text).toContain('ann@example.com')
  })

  it('signs in by a code from then on, and by no password', async () => {
    const browser = newBrowser()
    const { request, page } = await open(browser, { login_hint: 'ann@example.com' })
    for (const password of ['', PASSWORD])
      expect((await browser.submit(page, { password }, { form: '/password' })).status).toBe(400)
    const end = await byCode(browser, page, 'ann@example.com', 2)
    expect(await claimsAt(request, end)).toMatchObject({ amr: ['otp'] })
  })

  it('A30: by the link of the mail in the browser that asked, after any number of looks', async () => {
    const browser = newBrowser()
    const { request, page } = await open(browser, { login_hint: 'ann@example.com' })
    await choose(browser, page, 'email_code')
    const link = linkFrom(await mailbox.to('ann@example.com', { count: 3 }), '/email_code?code=')
    const elsewhere = await newBrowser().get(link)
    expect(elsewhere.forms.some(({ action }) => action.endsWith('/email_code'))).toBe(false)
    await browser.send(link)
    await browser.send(link, { method: 'HEAD' })
    const shown = await browser.get(link)
    const end = await browser.submit(shown, {}, { form: '/email_code' })
    expect(await claimsAt(request, end)).toMatchObject({ amr: ['otp'] })
  })

  it('tells an address without an account by mail, and leads on to a new one', async () => {
    const browser = newBrowser()
    const { page } = await open(browser, { login_hint: 'nobody@example.com' })
    const asked = await choose(browser, page, 'email_code')
    const mail = await mailbox.to('nobody@example.com')
    expect(mail.subject).toBe('There is no Genkan account with this address')
    expect(mail.text).toContain('Create an account')
    expect(mail.html).toContain('Create an account')
    expect(mail.text).not.toMatch(/\b\d{6}\b/)
    const register = await choose(browser, asked, 'create')
    expect(stepOf(register)).toBe('register')
    expect(register.html).toContain('value="nobody@example.com"')
  })

  it('A53: ends with everything else: a session by code does not survive "sign out all other devices"', async () => {
    const [desk, phone] = [newBrowser(), newBrowser()]
    for (const [browser, count] of [
      [desk, 4],
      [phone, 5],
    ] as const) {
      const { page } = await open(browser, { login_hint: 'ann@example.com' })
      await byCode(browser, page, 'ann@example.com', count)
    }
    const others = await desk.get(`${server.issuer}/account/sessions/others`)
    await desk.submit(others, {}, { form: '/account/sessions/others' })
    const { page } = await open(phone, { prompt: 'none' })
    expect(page.params.get('error')).toBe('login_required')
  })

  it('the account changes its address and gets its first password after a fresh code', async () => {
    const { browser, claims } = await join('bea@example.com')
    expect((await browser.get(`${server.issuer}/account`)).text).toContain('Set a password')
    await server.shiftDate(400)
    const asked = await browser.get(`${server.issuer}/account/email`)
    expect(stepOf(asked)).toBe('password')
    const form = await byCode(browser, asked, 'bea@example.com', 2)
    expect(path(form)).toBe('/account/email')
    const sent = await browser.submit(form, { email: 'bea2@example.com' }, { form: '/account/email' })
    const code = codeFrom(await mailbox.to('bea2@example.com'))
    const changed = await browser.submit(sent, { code }, { form: '/code', button: 'confirm' })
    expect(changed.text).toContain('bea2@example.com')

    const page = await browser.get(`${server.issuer}/account/password`)
    expect(page.text).not.toContain('Current password')
    expect((await browser.submit(page, { password: 'password1' }, { form: '/account/password' })).status).toBe(400)
    const set = await browser.submit(page, { password: PASSWORD }, { form: '/account/password' })
    expect([path(set), set.text.includes('Your password is set.')]).toEqual(['/account', true])
    expect((await mailbox.to('bea2@example.com', { count: 2 })).subject).toContain('has a password now')
    expect((await browser.get(`${server.issuer}/account/password`)).text).toContain('Current password')

    const other = newBrowser()
    const start = await open(other, { login_hint: 'bea2@example.com' })
    const end = await signIn(other, start.page, 'bea2@example.com')
    expect(await claimsAt(start.request, end)).toMatchObject({ amr: ['pwd'], sub: claims?.sub })
    await server.shiftDate(0)
  })

  it('recovers: its first password is set by the same pages', async () => {
    const { claims } = await join('cleo@example.com')
    const browser = newBrowser()
    const { request, page } = await open(browser, { login_hint: 'cleo@example.com' })
    const recover = await choose(browser, page, 'recover')
    const sent = await browser.submit(recover, { identifier: 'cleo@example.com' }, { form: '/recover' })
    const code = codeFrom(await mailbox.to('cleo@example.com', { count: 2 }))
    const fresh = await browser.submit(sent, { code }, { form: '/recover_code' })
    const end = await browser.submit(fresh, { password: PASSWORD }, { form: '/new_password' })
    expect(await claimsAt(request, end)).toMatchObject({ amr: ['pwd'], sub: claims?.sub })
  })

  it('deletes itself after a fresh code', async () => {
    const { browser } = await join('dora@example.com')
    await server.shiftDate(400)
    const asked = await browser.get(`${server.issuer}/account/delete`)
    const page = await byCode(browser, asked, 'dora@example.com', 2)
    expect(path(page)).toBe('/account/delete')
    const gone = await browser.submit(page, { confirmation: 'dora@example.com' }, { form: '/account/delete' })
    expect(path(gone)).toBe('/account/deleted')
    expect((await mailbox.to('dora@example.com', { count: 3 })).subject).toContain('deleted')
    await server.shiftDate(0)
    const { claims } = await join('dora@example.com', 4)
    expect(claims?.amr).toEqual(['otp'])
  })

  it('asks for what the client declares, in its language, and tells the client only that (A87)', async () => {
    const client = await discover(server.issuer, 'asking')
    const browser = createBrowser({ stopAt: [ASKING], locale: 'nl' })
    const parameters = { prompt: 'create', scope: 'openid profile email phone' }
    const request = await authorization(client, `${ASKING}/callback`, parameters)
    const page = await browser.get(request.url)
    expect(page.headers['content-language']).toBe('fi')
    expect(page.text).toContain('Etunimi')
    const typed = {
      email: 'eva@example.com',
      given_name: 'Eva',
      birthdate: '1990-05-21',
      phone_number: '+358 40 1234567',
    }
    const wrong = await browser.submit(
      page,
      { ...typed, given_name: '', birthdate: '2999-01-01' },
      { form: '/register' },
    )
    expect(wrong.status).toBe(400)
    expect(wrong.html).toMatch(/id="given_name-error"[\s\S]*id="birthdate-error"/)
    expect(wrong.html).toContain('value="+358 40 1234567"')
    const csrf = wrong.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''
    const extra = { csrf, name: 'x', family_name: 'x', website: 'https://x.example', sub: 'x', email_verified: 'true' }
    const sent = await browser.post(registerUrl(wrong, server), { ...typed, ...extra }, wrong.url)
    expect(stepOf(sent)).toBe('verify_email')
    const mail = await mailbox.to('eva@example.com')
    expect(mail.subject).toContain('Genkan-koodisi')
    const end = await browser.submit(sent, { code: codeFrom(mail) }, { form: '/verify_email' })
    const tokens = await oidc.authorizationCodeGrant(client, new URL(end.url), request.checks)
    const sub = tokens.claims()?.sub ?? ''
    const told = await oidc.fetchUserInfo(client, tokens.access_token, sub)
    expect(told).toMatchObject({
      given_name: 'Eva',
      birthdate: '1990-05-21',
      phone_number: '+358401234567',
      locale: 'fi',
    })
    for (const claim of ['name', 'family_name', 'website']) expect(told).not.toHaveProperty(claim)
  })
})

function registerUrl(page: Page, { issuer }: Server): string {
  return `${issuer}${page.forms.find(({ action }) => action.endsWith('/register'))?.action}`
}

describe('where a password is required', () => {
  let server: Server

  beforeAll(async () => {
    server = await startServer({ settings: { ...settings, registration: { password: 'required' } } })
  })
  afterAll(() => server?.close())

  it('the page asks for it, and nothing goes on without', async () => {
    const browser = createBrowser({ stopAt: [OWN] })
    const request = await authorization(await discover(server.issuer, 'own'), `${OWN}/callback`, { prompt: 'create' })
    const page = await browser.get(request.url)
    expect(page.text).not.toContain('optional')
    const input = page.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'password')
    expect(input?.attributes).toHaveProperty('required')
    const refused = await browser.submit(page, { email: 'ann@example.com' }, { form: '/register' })
    expect([refused.status, stepOf(refused)]).toEqual([400, 'register'])
    expect(refused.html).toContain('id="password-error"')
    const sent = await browser.submit(page, { email: 'ann@example.com', password: PASSWORD }, { form: '/register' })
    expect(stepOf(sent)).toBe('verify_email')
  })
})
