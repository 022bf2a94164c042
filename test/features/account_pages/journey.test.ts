/** The account pages on the real product: what a person does there acts on browsers, clients and tokens at once. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import * as oidc from 'openid-client'
import { type Browser, createBrowser, type Page } from '../../support/browser.ts'
import {
  allow,
  authorization,
  choose,
  discover,
  PASSWORD,
  redeem,
  register,
  SETTINGS,
  signIn,
  WEB,
} from '../../support/journeys.ts'
import { codeFrom, mailFolder } from '../../support/mailbox.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'

const KINDS = {
  'the embedded default': async () => 'embedded' as const,
  'PostgreSQL and Redis': realStores,
}

const NEW_PASSWORD = 'another harbour lantern 48'
const PHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1'

describe.each(sampleKinds(Object.entries(KINDS), import.meta.url))('account pages on %s', (_, stores) => {
  let server: Server
  let desk: Browser
  let phone: Browser
  const logouts: { sub?: unknown; sid?: unknown; events?: unknown }[] = []
  const client = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      logouts.push(decodeJwt(new URLSearchParams(body).get('logout_token') ?? ''))
      response.end()
    })
  })
  const path = (page: Page) => new URL(page.url).pathname
  const pageOf = (browser: Browser, at: string) => browser.get(`${server.issuer}${at}`)

  beforeAll(async () => {
    await new Promise<void>((resolve) => client.listen(0, '127.0.0.1', resolve))
    const { port } = client.address() as AddressInfo
    const clients = SETTINGS.clients.map((declared) =>
      declared.client_id === 'web'
        ? {
            ...declared,
            backchannel_logout_uri: `http://127.0.0.1:${port}/logout`,
            backchannel_logout_session_required: true,
          }
        : declared,
    )
    server = await startServer({ settings: { ...SETTINGS, clients }, stores: await stores() })
    desk = createBrowser({ stopAt: [WEB] })
    phone = createBrowser({ stopAt: [WEB], userAgent: PHONE })
  })
  afterAll(async () => {
    await new Promise((resolve) => client.close(resolve))
    await server.close()
  })

  /** Tokens with a refresh token that outlives a logout. */
  async function connect(
    browser: Browser,
    email: string,
  ): Promise<{ refresh: () => Promise<unknown>; sub: string; sid: unknown }> {
    const web = await discover(server.issuer, 'web')
    const parameters = { scope: 'openid email profile offline_access', prompt: 'consent' }
    const request = await authorization(web, `${WEB}/callback`, { ...parameters, login_hint: email })
    let page = await browser.get(request.url)
    if (page.forms.some(({ action }) => action.endsWith('/password'))) page = await signIn(browser, page, email)
    const tokens = await redeem(web, request, await allow(browser, page))
    let refreshToken = tokens.refresh_token ?? ''
    const refresh = async () => {
      const next = await oidc.refreshTokenGrant(web, refreshToken)
      refreshToken = next.refresh_token ?? refreshToken
      return next
    }
    return { refresh, sub: tokens.claims()?.sub ?? '', sid: tokens.claims()?.sid }
  }

  const dead = (refresh: () => Promise<unknown>) => expect(refresh()).rejects.toMatchObject({ error: 'invalid_grant' })

  async function until(what: () => boolean): Promise<void> {
    for (let tries = 0; tries < 100 && !what(); tries++) await new Promise((resolve) => setTimeout(resolve, 100))
    expect(what()).toBe(true)
  }

  let onDesk: Awaited<ReturnType<typeof connect>>
  let onPhone: Awaited<ReturnType<typeof connect>>

  it('the issuer’s root leads a newcomer through registration to the account page', async () => {
    const page = await register(desk, await pageOf(desk, '/'), mailFolder(server.dataDir), 'ann@example.com')
    expect([path(page), page.status]).toEqual(['/account', 200])
    expect(page.text).toContain('ann@example.com')
  })

  it('saves the profile, which clients then see', async () => {
    const form = await pageOf(desk, '/account/profile')
    const page = await desk.submit(
      form,
      { name: 'Ann Example', website: 'https://ann.example' },
      { form: '/account/profile' },
    )
    expect(page.text).toContain('Your profile is saved.')
    onDesk = await connect(desk, 'ann@example.com')
    const tokens = (await onDesk.refresh()) as oidc.TokenEndpointResponse
    const web = await discover(server.issuer, 'web')
    const userinfo = await oidc.fetchUserInfo(web, tokens.access_token, onDesk.sub)
    expect(userinfo).toMatchObject({ name: 'Ann Example', website: 'https://ann.example' })
  })

  it('shows where the account is signed in, and what clients may do', async () => {
    onPhone = await connect(phone, 'ann@example.com')
    const sessions = await pageOf(desk, '/account/sessions')
    expect(sessions.text).toContain('Chrome on Linux This device')
    expect(sessions.text).toContain('Safari on iOS')
    const clients = await pageOf(desk, '/account/clients')
    expect(clients.text).toContain('The web shop Also while you are away')
    expect(clients.text).not.toContain('genkan-account')
  })

  it('A54: ending another device signs out its browser, its tokens and its clients, also right after a restart', async () => {
    await server.restart()
    const page = await pageOf(desk, '/account/sessions')
    const form = page.forms.find(({ action }) => action.endsWith('/end'))
    const after = await desk.submit(page, {}, { form: form?.action ?? '' })
    expect(after.text).toContain('The device is signed out.')
    await dead(onPhone.refresh)
    expect(path(await pageOf(phone, '/account'))).toMatch(/^\/interaction\//)
    await until(() => logouts.length > 0)
    expect(logouts.at(-1)).toMatchObject({ sub: onPhone.sub, sid: onPhone.sid })
    await expect(onDesk.refresh()).resolves.toBeDefined()
  })

  it('A73: revoking a client kills its tokens at once and it has to ask again', async () => {
    const page = await pageOf(desk, '/account/clients')
    const after = await desk.submit(page, {}, { form: '/account/clients/web/revoke' })
    expect(after.text).toContain('The service has lost its access.')
    expect(after.text).not.toContain('The web shop')
    await dead(onDesk.refresh)
    const web = await discover(server.issuer, 'web')
    const request = await authorization(web, `${WEB}/callback`, { scope: 'openid' })
    expect((await desk.get(request.url)).forms.some(({ action }) => action.endsWith('/consent'))).toBe(true)
  })

  it('A54: a new password ends all other sessions and their refresh tokens, not this one', async () => {
    onDesk = await connect(desk, 'ann@example.com')
    onPhone = await connect(phone, 'ann@example.com')
    const form = await pageOf(desk, '/account/password')
    const wrong = { current: 'not this one 12345', password: NEW_PASSWORD }
    expect((await desk.submit(form, wrong, { form: '/account/password' })).status).toBe(400)
    const page = await desk.submit(form, { current: PASSWORD, password: NEW_PASSWORD }, { form: '/account/password' })
    expect([path(page), page.text.includes('Your password is changed.')]).toEqual(['/account', true])
    await dead(onPhone.refresh)
    await expect(onDesk.refresh()).resolves.toBeDefined()
    const login = await pageOf(phone, '/account')
    expect((await signIn(phone, login, 'ann@example.com')).status).toBe(400)
    expect(path(await signIn(phone, login, 'ann@example.com', NEW_PASSWORD))).toBe('/account')
    expect((await mailFolder(server.dataDir).to('ann@example.com', { count: 2 })).subject).toContain('password')
  })

  it('sensitive pages ask who it is when the last proof is old, and come back', async () => {
    await server.shiftDate(400)
    const page = await pageOf(desk, '/account/email')
    expect(path(page)).toMatch(/^\/interaction\//)
    const back = await signIn(desk, page, 'ann@example.com', NEW_PASSWORD)
    expect(path(back)).toBe('/account/email')
  })

  it('changes the e-mail once the new mailbox is proven, and tells the old one', async () => {
    const form = await pageOf(desk, '/account/email')
    const code = await desk.submit(form, { email: 'New@Example.com' }, { form: '/account/email' })
    expect(path(code)).toBe('/account/email/code')
    const mail = await mailFolder(server.dataDir).to('new@example.com')
    const typed = codeFrom(mail)
    const other = typed === '000000' ? '000001' : '000000'
    expect((await desk.submit(code, { code: other }, { form: '/code', button: 'confirm' })).status).toBe(400)
    expect((await pageOf(desk, '/account')).text).toContain('ann@example.com')
    const page = await desk.submit(code, { code: typed }, { form: '/code', button: 'confirm' })
    expect([path(page), page.text.includes('new@example.com')]).toEqual(['/account', true])
    expect((await mailFolder(server.dataDir).to('ann@example.com', { count: 3 })).subject).toContain('e-mail')
  })

  it('ends all other sessions', async () => {
    const page = await pageOf(desk, '/account/sessions/others')
    const after = await desk.submit(page, {}, { form: '/account/sessions/others' })
    expect(after.text).toContain('All other devices are signed out.')
    expect(after.forms.some(({ action }) => action.endsWith('/end'))).toBe(false)
    expect(path(await pageOf(phone, '/account'))).toMatch(/^\/interaction\//)
  })

  it('A59: signing out leaves a cookie that shows nothing', async () => {
    await signIn(phone, await pageOf(phone, '/account'), 'new@example.com', NEW_PASSWORD)
    const kept = phone.jar.all().filter(({ name }) => name === 'genkan_account')
    const page = await phone.submit(await pageOf(phone, '/account'), {}, { form: '/account/sign-out' })
    expect(path(page)).toBe('/account/signed-out')
    const cookie = kept.map(({ name, value }) => `${name}=${value}`).join('; ')
    const answer = await createBrowser().send(`${server.issuer}/account`, { headers: { cookie } })
    expect([answer.status, answer.body.includes('new@example.com')]).toEqual([303, false])
  })

  it('A53, A89: deleting the account ends everything at once, and the address can begin anew as somebody else', async () => {
    const before = logouts.length
    const page = await pageOf(desk, '/account/delete')
    expect((await desk.submit(page, { confirmation: 'ann@example.com' }, { form: '/account/delete' })).status).toBe(400)
    const gone = await desk.submit(page, { confirmation: 'new@example.com' }, { form: '/account/delete' })
    expect(path(gone)).toBe('/account/deleted')
    await dead(onDesk.refresh)
    const start = await pageOf(desk, '/account')
    expect(path(start)).toMatch(/^\/interaction\//)
    expect((await signIn(desk, start, 'new@example.com', NEW_PASSWORD)).status).toBe(400)
    await until(() => logouts.length > before)
    expect(logouts.at(-1)).toMatchObject({ sub: onDesk.sub })
    const mailbox = mailFolder(server.dataDir)
    expect((await mailbox.to('new@example.com', { count: 2 })).subject).toContain('deleted')
    const fresh = createBrowser({ stopAt: [WEB] })
    const form = await choose(fresh, await pageOf(fresh, '/account'), 'create')
    const sent = await fresh.submit(form, { email: 'new@example.com', password: PASSWORD }, { form: '/register' })
    const typed = codeFrom(await mailbox.to('new@example.com', { count: 3 }))
    expect(path(await fresh.submit(sent, { code: typed }, { form: '/verify_email' }))).toBe('/account')
    expect((await pageOf(fresh, '/account/clients')).text).toContain('No service uses this account yet.')
    expect((await connect(fresh, 'new@example.com')).sub).not.toBe(onDesk.sub)
  })
})
