/** An authenticator app on the real product: set up, asked for at every sign-in, replaced and taken away. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import { appOf } from '../../support/authenticator.ts'
import { authorization, choose, redeem, signIn } from '../../support/journeys.ts'
import { stepOf } from '../../support/people.ts'
import {
  type Clock,
  clockOf,
  firstFactor,
  openAccount,
  type Protected,
  signUpWithApp,
} from '../../support/second_factors.ts'
import { CALLBACK, startTarget, type Target } from '../../support/target.ts'

const MFA = 'urn:genkan:acr:mfa'
let target: Target
let clock: Clock
let ada: Protected

beforeAll(async () => {
  target = await startTarget()
  clock = clockOf(target)
  ada = await signUpWithApp(target, clock, 'ada@totp.example')
})
afterAll(() => target?.close())

describe('signing in with an app', () => {
  it('asks for a code after the password, takes it with blanks, and says so in acr and amr', async () => {
    const browser = target.person()
    const request = await authorization(target.client, CALLBACK)
    const page = await signIn(browser, await browser.get(request.url), ada.email)
    expect(stepOf(page)).toBe('totp')
    expect(page.text).toContain('You protected your account with a second step.')
    const input = /<input class="code"[^>]*>/.exec(page.html)?.[0] ?? ''
    expect(input).toMatch(/inputmode="numeric" autocomplete="one-time-code"/)
    const code = ada.app.code(clock.now())
    const end = await browser.submit(page, { code: `${code.slice(0, 3)} ${code.slice(3)}` }, { form: '/totp' })
    const { id_token: idToken = '' } = await redeem(target.client, request, end)
    expect(decodeJwt(idToken)).toMatchObject({ acr: MFA, amr: ['pwd', 'otp', 'mfa'] })
    const facts = await target.sql<{ type: string }>(
      'select type from outbox where account_id = $1 order by occurred_at desc, id desc limit 8',
      [ada.sub],
    )
    expect(facts.map(({ type }) => type)).toEqual(expect.arrayContaining(['password.verified', 'totp.verified']))
    await clock.later(30)
  })

  it('forgives one step of the clock either way, and no more', async () => {
    await clock.later(30)
    for (const [steps, status] of [
      [-2, 400],
      [2, 400],
      [-1, 0],
    ] as const) {
      const { browser, page } = await firstFactor(target, ada)
      const answer = await browser.submit(page, { code: ada.app.code(clock.now(), steps) }, { form: '/totp' })
      expect([steps, answer.status]).toEqual([steps, status])
    }
    await clock.later(60)
    const { browser, page } = await firstFactor(target, ada)
    const end = await browser.submit(page, { code: ada.app.code(clock.now(), 1) }, { form: '/totp' })
    expect(end.params.has('code')).toBe(true)
    await clock.later(90)
  })

  it('tells a code that was used from one that is wrong', async () => {
    const code = ada.app.code(clock.now())
    const first = await firstFactor(target, ada)
    expect((await first.browser.submit(first.page, { code }, { form: '/totp' })).params.has('code')).toBe(true)
    const { browser, page } = await firstFactor(target, ada)
    expect((await browser.submit(page, { code }, { form: '/totp' })).text).toContain('has been used already')
    expect((await browser.submit(page, { code: '000000' }, { form: '/totp' })).text).toContain('does not work')
    await clock.later(30)
  })

  it('steps up a session of the password only by setting an app up, when a client asks for more', async () => {
    const grace = await target.signUp('grace@totp.example')
    const page = await target.open(grace.browser, { acr_values: MFA })
    expect(stepOf(page)).toBe('enrol')
    expect(page.text).toContain('The own shop asks for a second step')
    const setup = await choose(grace.browser, page, 'totp_setup')
    expect(stepOf(setup)).toBe('totp_setup')
    const app = appOf(setup)
    const codes = await grace.browser.submit(setup, { code: app.code(clock.now()) }, { form: '/totp_setup' })
    expect(stepOf(codes)).toBe('new_recovery_codes')
    const end = await grace.browser.submit(codes, {}, { form: '/new_recovery_codes' })
    expect(end.params.has('code')).toBe(true)
    const silent = await target.open(grace.browser, { acr_values: MFA, prompt: 'none' })
    expect(silent.params.has('code')).toBe(true)
  })
})

describe('the account pages', () => {
  it('tell how the account is protected', async () => {
    const page = await openAccount(target, ada.browser, '/account/security', { ...ada, clock })
    expect(page.text).toMatch(/Authenticator app Set up/)
    expect(page.text).toMatch(/Recovery codes 10 codes are left/)
  })

  it('replace the app: the earlier one is dead, other sessions and their refresh tokens too, and the owner is told', async () => {
    const other = await firstFactor(target, ada, {})
    await clock.later(30)
    await other.browser.submit(other.page, { code: ada.app.code(clock.now()) }, { form: '/totp' })
    const page = await openAccount(target, ada.browser, '/account/totp/new', { ...ada, clock })
    expect(page.text).toContain('The app that you use now stops working')
    expect(page.html).toContain('<svg class="qr"')
    const app = appOf(page)
    expect(app.seed).not.toBe(ada.app.seed)
    const wrong = await ada.browser.submit(page, { code: '123' }, { form: '/account/totp/new' })
    expect(wrong.status).toBe(400)
    expect(appOf(wrong).seed).toBe(app.seed)
    const done = await ada.browser.submit(wrong, { code: app.code(clock.now()) }, { form: '/account/totp/new' })
    expect(new URL(done.url).pathname).toBe('/account/security')
    expect(done.text).toContain('Your new authenticator app is set up')
    expect((await target.open(other.browser, { prompt: 'none' })).params.get('error')).toBe('login_required')
    const { browser, page: asks } = await firstFactor(target, ada)
    await clock.later(30)
    expect((await browser.submit(asks, { code: ada.app.code(clock.now()) }, { form: '/totp' })).status).toBe(400)
    expect((await browser.submit(asks, { code: app.code(clock.now()) }, { form: '/totp' })).params.has('code')).toBe(
      true,
    )
    ada = { ...ada, app }
    await target.settled()
    const subjects = (await target.mailbox.all())
      .filter(({ to }) => to.includes(ada.email))
      .map(({ subject }) => subject)
    expect(subjects).toEqual(
      expect.arrayContaining([
        'An authenticator app was added to your Genkan account',
        'The authenticator app of your Genkan account was replaced',
        'Your Genkan account has new recovery codes',
      ]),
    )
  })

  it('take the app and its recovery codes away: the password is enough again', async () => {
    const page = await openAccount(target, ada.browser, '/account/totp', { ...ada, clock })
    const done = await ada.browser.submit(page, {}, { form: '/account/totp/remove' })
    expect(done.text).toContain('Your authenticator app was removed')
    expect(done.text).toMatch(/Recovery codes Not set up/)
    const { page: end } = await firstFactor(target, ada)
    expect(end.params.has('code')).toBe(true)
    expect(await target.sql('select factors from accounts where id = $1', [ada.sub])).toEqual([{ factors: [] }])
  })

  it('of an account that must have a second factor keep the last one, with 409', async () => {
    const ida = await signUpWithApp(target, clock, 'ida@totp.example')
    const required = await target.server.run('accounts', 'require-second-factor', ida.email)
    expect(required).toMatchObject({ code: 0, stdout: expect.stringContaining('must have a second factor') })
    const page = await openAccount(target, ida.browser, '/account/totp', { ...ida, clock })
    const refused = await ida.browser.submit(page, {}, { form: '/account/totp/remove' })
    expect(refused.status).toBe(409)
    expect(refused.text).toContain('Set up another one first')
    const shown = await target.server.run('accounts', 'show', ida.email)
    expect(shown.stdout).toMatch(/factors +totp,recovery_code/)
    expect((await target.server.run('accounts', 'require-second-factor', ida.email, '--off')).code).toBe(0)
    const done = await ida.browser.submit(refused, {}, { form: '/account/totp/remove' })
    expect(done.text).toContain('Your authenticator app was removed')
  })
})
