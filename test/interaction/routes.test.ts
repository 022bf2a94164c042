import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { newId } from '../../src/platform/ids.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { type Conversation, startConversation } from '../support/conversation.ts'
import { textOf, titleOf } from '../support/html.ts'
import { freshDatabase } from '../support/services.ts'

const PASSWORD = 'correct horse battery'
let database: Database
let house: Conversation
let email: string

beforeAll(async () => {
  database = await freshDatabase('embedded')
  house = await startConversation(database)
})
afterAll(async () => {
  await house.close()
  await database.close()
})
beforeEach(() => {
  email = `${newId().toLowerCase().replaceAll('-', 'x').replaceAll('_', 'y')}@example.com`
})

type Browser = ReturnType<Conversation['browser']>

function open(...args: Parameters<Conversation['engine']['open']>) {
  const browser = house.browser()
  const interaction = house.engine.open(...args)
  browser.hold(interaction)
  return { browser, interaction }
}

const sessionOf = (interaction: { uid: string }) => house.engine.records.get(interaction.uid)?.result
const loginOf = (interaction: { uid: string }) =>
  (sessionOf(interaction)?.login ?? {}) as { sessionUid?: string; accountId?: string }

async function login(browser: Browser, interaction: { uid: string }, who = email, password = PASSWORD) {
  await browser.visit(interaction)
  await browser.submit(interaction, 'identifier', { identifier: who })
  return browser.submit(interaction, 'password', { password })
}

describe('Signing in', () => {
  it('asks for the identifier, then the password, and hands the proven account to the engine', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = open()
    expect((await browser.visit(interaction)).step).toBe('identifier')
    const page = await browser.submit(interaction, 'identifier', { identifier: email.toUpperCase() })
    expect(page).toMatchObject({ status: 200, step: 'password' })
    expect(textOf(page.html)).toContain(email)
    const done = await browser.post(interaction, 'password', { password: PASSWORD, identifier: 'ignored@example.com' })
    expect(done).toMatchObject({ status: 303, location: `https://id.example/auth/${interaction.uid}` })
    expect(sessionOf(interaction)).toEqual({
      login: {
        ...{ accountId: id, amr: ['pwd'], acr: 'urn:genkan:acr:basic', ts: house.world.time / 1000, remember: true },
        ...{ sessionUid: expect.any(String), epoch: 0, browser: expect.any(String) },
      },
    })
    const [session] = await house.sessions.list(id)
    expect(session).toMatchObject({
      uid: loginOf(interaction).sessionUid,
      amr: ['pwd'],
    })
  })

  it('skips the identifier when the client hints at it', async () => {
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    expect((await browser.visit(interaction)).step).toBe('password')
  })

  it('ignores a hint that is no address', async () => {
    const { browser, interaction } = open('login', { params: { login_hint: '"><script>' } })
    expect((await browser.visit(interaction)).step).toBe('identifier')
  })

  it('answers a wrong password with the page, status 400, and what was typed but the password', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    await browser.visit(interaction)
    const page = await browser.post(interaction, 'password', { password: 'not the right one', shared: 'yes' })
    expect(page).toMatchObject({ status: 400, step: 'password' })
    expect(titleOf(page.html)).toMatch(/^Error: /)
    expect(page.html).not.toContain('not the right one')
    expect(page.html).toMatch(/name="shared" value="yes" checked/)
    expect(page.headers.get('cache-control')).toBe('no-store')
  })

  it('makes the session transient on a shared computer', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    await browser.visit(interaction)
    await browser.post(interaction, 'password', { password: PASSWORD, shared: 'yes' })
    expect(sessionOf(interaction)).toMatchObject({ login: { remember: false } })
    expect((await house.sessions.list(id))[0]).toMatchObject({ transient: true })
  })

  it('costs one look at SQL, one statement, one hash and five key/value commands between the password page and the engine', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    await browser.visit(interaction)
    Object.assign(house.cost, { hashes: 0, statements: 0, commands: 0 })
    await browser.post(interaction, 'password', { password: PASSWORD })
    // The account with its hash; the session row with its facts.
    expect(house.cost).toMatchObject({ hashes: 1, statements: 2, commands: 5 })
    const again = open('login', { params: { login_hint: email } })
    await again.browser.visit(again.interaction)
    Object.assign(house.cost, { hashes: 0, statements: 0, commands: 0 })
    await again.browser.post(again.interaction, 'password', { password: PASSWORD })
    // The account's state is there from the first time, and is what counts.
    expect(house.cost).toMatchObject({ hashes: 1, statements: 2, commands: 6 })
  })

  it('shows 429 with Retry-After over the limit, for the right password too', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    await browser.visit(interaction)
    for (let i = 0; i < 10; i++) await browser.post(interaction, 'password', { password: 'wrong' })
    const page = await browser.post(interaction, 'password', { password: PASSWORD })
    expect(page).toMatchObject({ status: 429, step: 'password' })
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  it('speaks the language that the client asks for, then the browser’s', async () => {
    const { browser, interaction } = open('login', { params: { ui_locales: 'xx fi' } })
    expect((await browser.visit(interaction)).headers.get('content-language')).toBe('fi')
    const plain = open()
    const finnish = house.browser({ headers: { 'Accept-Language': 'fi' } })
    finnish.hold(plain.interaction)
    expect((await finnish.visit(plain.interaction)).headers.get('content-language')).toBe('fi')
    expect((await plain.browser.visit(plain.interaction)).headers.get('content-language')).toBe('en')
  })
})

describe('Registering', () => {
  async function register(browser: Browser, interaction: { uid: string }) {
    await browser.visit(interaction)
    return browser.submit(interaction, 'register', { email, password: PASSWORD })
  }

  it('proves the address by the code of the mail, then signs in', async () => {
    const { browser, interaction } = open('create')
    expect((await register(browser, interaction)).step).toBe('verify_email')
    const mail = await house.send()
    expect(mail).toMatchObject({ to: email, template: 'email_codes/verify_email' })
    const code = mail.values.code ?? ''
    const done = await browser.post(interaction, 'verify_email', { code: `${code.slice(0, 3)} ${code.slice(3)}` })
    expect(done.location).toBe(`https://id.example/auth/${interaction.uid}`)
    expect(sessionOf(interaction)).toMatchObject({ login: { amr: ['pwd'] }, create: {} })
  })

  it('is reached from the sign-in page and back', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    expect((await browser.submit(interaction, 'switch', { to: 'create' })).step).toBe('register')
    expect((await browser.submit(interaction, 'switch', { to: 'login' })).step).toBe('identifier')
  })

  it.each([
    ['no address', { email: 'x', password: PASSWORD }, 'email'],
    ['a common password', { email: 'a@example.com', password: 'password1' }, 'password'],
    ['nothing at all', {}, 'email'],
  ])('shows the page again for %s', async (_, fields, field) => {
    const { browser, interaction } = open('create')
    await browser.visit(interaction)
    const page = await browser.post(interaction, 'register', fields)
    expect(page).toMatchObject({ status: 400, step: 'register' })
    expect(page.html).toContain(`id="${field}-error"`)
  })

  it('sends the code to the corrected address, and the first code is dead', async () => {
    const { browser, interaction } = open('create')
    await register(browser, interaction)
    const first = await house.send()
    const page = await browser.submit(interaction, 'verify_email', { action: 'change', email: `right-${email}` })
    expect(textOf(page.html)).toContain(`right-${email}`)
    const second = await house.send()
    expect(second.to).toBe(`right-${email}`)
    expect((await browser.post(interaction, 'verify_email', { code: first.values.code ?? '' })).status).toBe(400)
    expect((await browser.post(interaction, 'verify_email', { code: second.values.code ?? '' })).status).toBe(303)
    const account = await house.accounts.findByIdentifier(`right-${email}`)
    expect(account).toMatchObject({ state: 'active', email: `right-${email}` })
  })

  it('sends no second mail when the page is reloaded, and one on request after the cool-down', async () => {
    const { browser, interaction } = open('create')
    await register(browser, interaction)
    const before = (await house.mails()).length
    await browser.visit(interaction)
    expect(await browser.post(interaction, 'verify_email', { action: 'resend' })).toMatchObject({ status: 429 })
    expect(await house.mails()).toHaveLength(before)
    house.world.time += 30_000
    const page = await browser.submit(interaction, 'verify_email', { action: 'resend' })
    expect(await house.mails()).toHaveLength(before + 1)
    expect(textOf(page.html)).toContain('A new code is on its way')
  })

  it('does not sign in before the address is proven, from any conversation', async () => {
    const { browser, interaction } = open('create')
    await register(browser, interaction)
    const other = open()
    expect(await login(other.browser, other.interaction)).toMatchObject({ status: 400, step: 'password' })
    expect(sessionOf(interaction)).toBeUndefined()
  })

  it('mails the owner of a known address instead of a code, and no code opens the page', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = open('create')
    await register(browser, interaction)
    const mail = await house.send()
    expect(mail).toMatchObject({
      to: email,
      template: 'registration/already_registered',
      values: { url: 'https://id.example/account' },
    })
    expect(await browser.post(interaction, 'verify_email', { code: '123456' })).toMatchObject({ status: 400 })
  })
})

describe('Recovering', () => {
  async function ask(browser: Browser, interaction: { uid: string }) {
    await browser.visit(interaction)
    await browser.submit(interaction, 'switch', { to: 'recover' })
    return browser.submit(interaction, 'recover', { identifier: email })
  }

  it('leads by the code of the mail to a new password, which ends what was open and signs in', async () => {
    const id = await house.member(email, PASSWORD)
    const before = open('login', { params: { login_hint: email } })
    await before.browser.visit(before.interaction)
    await before.browser.post(before.interaction, 'password', { password: PASSWORD })
    const { browser, interaction } = open()
    expect((await ask(browser, interaction)).step).toBe('recover_code')
    const { values } = await house.send()
    const page = await browser.submit(interaction, 'recover_code', { code: values.code ?? '' })
    expect(page.step).toBe('new_password')
    const done = await browser.post(interaction, 'new_password', { password: 'violet tangent 8' })
    expect(done.location).toBe(`https://id.example/auth/${interaction.uid}`)
    expect(sessionOf(interaction)).toMatchObject({ login: { accountId: id, amr: ['pwd'], epoch: 1 } })
    expect(await house.sessions.list(id)).toHaveLength(1)
    expect(await house.accounts.state(id)).toMatchObject({ active: true, epoch: 1 })
    expect((await house.mails()).at(-1)).toMatchObject({ to: email, template: 'accounts/security_notice' })
    expect((await house.facts()).slice(-6)).toEqual(
      expect.arrayContaining(['sessions.ended', 'account.password_changed', 'mail.requested', 'session.started']),
    )
    const old = open()
    expect(await login(old.browser, old.interaction)).toMatchObject({ status: 400 })
    const fresh = open()
    expect(await login(fresh.browser, fresh.interaction, email, 'violet tangent 8')).toMatchObject({ status: 303 })
  })

  it('activates an account whose mailbox was never proven, with the password of the mailbox’s owner (A01)', async () => {
    const attacker = open('create')
    await attacker.browser.visit(attacker.interaction)
    await attacker.browser.submit(attacker.interaction, 'register', { email, password: 'attackers own words 7' })
    const { browser, interaction } = open()
    await ask(browser, interaction)
    const { values } = await house.send()
    await browser.submit(interaction, 'recover_code', { code: values.code ?? '' })
    const done = await browser.post(interaction, 'new_password', { password: 'violet tangent 8' })
    expect(done.status).toBe(303)
    // What the attacker holds is dead: the conversation with the proof of the old password, and that password.
    const stale = await attacker.browser.visit(attacker.interaction)
    expect(stale.location).not.toContain('/auth/')
    expect(sessionOf(attacker.interaction)).toBeUndefined()
    const other = open()
    expect(await login(other.browser, other.interaction, email, 'attackers own words 7')).toMatchObject({ status: 400 })
  })

  it('A21: shows no new-password page without the mailed code, whatever is visited or posted', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = open()
    await ask(browser, interaction)
    for (const step of ['new_password', 'password', 'verify_email', 'consent', 'identifier']) {
      const answer = await browser.post(interaction, step, { password: 'violet tangent 8', code: '', action: 'allow' })
      expect(answer).toMatchObject({ status: 303, location: `/interaction/${interaction.uid}` })
    }
    await browser.submit(interaction, 'switch', { to: 'new_password' })
    expect((await browser.visit(interaction)).step).toBe('recover_code')
    await browser.submit(interaction, 'switch', { to: 'login' })
    expect((await browser.visit(interaction)).step).toBe('password')
  })

  it('A24: one code sets one password, also when two are submitted at once', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = open()
    await ask(browser, interaction)
    const { values } = await house.send()
    await browser.submit(interaction, 'recover_code', { code: values.code ?? '' })
    const passwords = ['violet tangent 8', 'orange meridian 9', 'crimson parabola 3']
    await Promise.all(passwords.map((password) => browser.post(interaction, 'new_password', { password })))
    expect(await house.accounts.state(id)).toMatchObject({ active: true, epoch: 1 })
    expect((await house.facts()).filter((type) => type === 'account.password_changed').length).toBeGreaterThan(0)
    expect(await house.sessions.list(id)).toHaveLength(1)
  })

  it('A24: a code from before a change of the password is dead', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = open()
    await ask(browser, interaction)
    const { values } = await house.send()
    house.world.time += 1000
    await database.transaction((tx) => house.passwords.store(id, 'hash of another', tx))
    expect(await browser.post(interaction, 'recover_code', { code: values.code ?? '' })).toMatchObject({ status: 400 })
  })

  it('A24: a proven mailbox from before a change of the password sets none', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = open()
    await ask(browser, interaction)
    const { values } = await house.send()
    await browser.submit(interaction, 'recover_code', { code: values.code ?? '' })
    house.world.time += 1000
    await database.transaction((tx) => house.passwords.store(id, 'hash of another', tx))
    expect((await browser.submit(interaction, 'new_password', { password: 'violet tangent 8' })).step).toBe('recover')
    expect(await house.accounts.state(id)).toMatchObject({ active: true, epoch: 0 })
  })

  it('A23: a code of one address proves no other', async () => {
    await house.member(email, PASSWORD)
    const victim = `v-${email}`
    await house.member(victim, PASSWORD)
    const { browser, interaction } = open()
    await ask(browser, interaction)
    const { values } = await house.send()
    await browser.submit(interaction, 'switch', { to: 'recover' })
    await browser.submit(interaction, 'recover', { identifier: victim })
    const page = await browser.post(interaction, 'recover_code', { code: values.code ?? '' })
    expect(page).toMatchObject({ status: 400, step: 'recover_code' })
  })

  it('A27: a code of one purpose serves no other', async () => {
    const { browser, interaction } = open('create')
    await browser.visit(interaction)
    await browser.submit(interaction, 'register', { email, password: PASSWORD })
    const { values } = await house.send()
    await browser.submit(interaction, 'switch', { to: 'recover' })
    await browser.submit(interaction, 'recover', { identifier: email })
    expect(await browser.post(interaction, 'recover_code', { code: values.code ?? '' })).toMatchObject({ status: 400 })
  })
})

describe('The link of a mail', () => {
  async function registered() {
    const opened = open('create')
    await opened.browser.visit(opened.interaction)
    await opened.browser.submit(opened.interaction, 'register', { email, password: PASSWORD })
    const { values } = await house.send()
    return {
      ...opened,
      code: values.code ?? '',
      path: new URL(values.url ?? '').pathname + new URL(values.url ?? '').search,
    }
  }

  it('A30: opens the page with the code filled in; opening it any number of times uses nothing up', async () => {
    const { browser, interaction, code, path } = await registered()
    for (const method of ['GET', 'HEAD', 'GET', 'GET']) {
      const page = await browser.request(path, { method })
      expect(page.status).toBe(200)
      if (method === 'GET') expect(page.html).toContain(`value="${code}"`)
    }
    expect((await browser.post(interaction, 'verify_email', { code })).status).toBe(303)
  })

  it('shows the code to type in a browser that did not ask for it, and uses nothing up', async () => {
    const { browser, interaction, code, path } = await registered()
    const page = await house.browser().request(path)
    expect(page).toMatchObject({ status: 200, step: undefined })
    expect(textOf(page.html)).toContain(code)
    expect((await browser.post(interaction, 'verify_email', { code })).status).toBe(303)
  })

  it('shows nothing that is no code', async () => {
    const page = await house.browser().request('/interaction/u1/verify_email?code=%3Cscript%3E1')
    expect(page.status).toBe(400)
    expect(page.html).not.toContain('<script>1')
  })

  it('leads to where the conversation stands when the code is not wanted there', async () => {
    const { browser, interaction } = open()
    const answer = await browser.request(`/interaction/${interaction.uid}/verify_email?code=123456`)
    expect(answer).toMatchObject({ status: 303, location: `/interaction/${interaction.uid}` })
  })
})

describe('A live session', () => {
  async function signedIn(who = email) {
    const id = await house.member(who, PASSWORD)
    const first = open('login', { params: { login_hint: who } })
    await first.browser.visit(first.interaction)
    await first.browser.post(first.interaction, 'password', { password: PASSWORD })
    const { sessionUid = '' } = loginOf(first.interaction)
    const session = { accountId: id, uid: sessionUid }
    first.browser.signIn(session)
    const again = (...[name, more]: Parameters<Conversation['engine']['open']>) => {
      const interaction = house.engine.open(name, { session, ...more })
      first.browser.hold(interaction)
      return interaction
    }
    return { id, session, browser: first.browser, again }
  }

  it('asks its own account first when it must be shown again, and keeps its uid', async () => {
    const { id, session, browser, again } = await signedIn()
    const interaction = again('login', { reasons: ['max_age'] })
    const page = await browser.visit(interaction)
    expect(page.step).toBe('password')
    expect(textOf(page.html)).toContain(email)
    house.world.time += 60_000
    await browser.post(interaction, 'password', { password: PASSWORD })
    expect(sessionOf(interaction)).toMatchObject({
      login: { accountId: id, sessionUid: session.uid, ts: house.world.time / 1000 },
    })
    expect(house.engine.records.get(interaction.uid)?.replaceSession).toBe(false)
    expect(await house.sessions.list(id)).toHaveLength(1)
  })

  it('does not offer its account when the client expects another', async () => {
    const { browser, again } = await signedIn()
    expect((await browser.visit(again('login', { reasons: ['id_token_hint'] }))).step).toBe('identifier')
  })

  it('is ended before another account is signed in, after asking', async () => {
    const { id, session, browser, again } = await signedIn()
    const other = `b-${email}`
    const otherId = await house.member(other, PASSWORD)
    const interaction = again('login', { params: { login_hint: other }, reasons: ['login_prompt'] })
    await browser.visit(interaction)
    const page = await browser.submit(interaction, 'password', { password: PASSWORD })
    expect(page.step).toBe('switch_account')
    expect(textOf(page.html)).toContain(email)
    expect(await house.sessions.list(id)).toHaveLength(1)
    await browser.post(interaction, 'switch_account', { action: 'switch' })
    expect(sessionOf(interaction)).toMatchObject({ login: { accountId: otherId } })
    expect(house.engine.records.get(interaction.uid)?.replaceSession).toBe(true)
    expect(await house.sessions.list(id)).toHaveLength(0)
    expect(house.engine.dead).toContain(session.uid)
    expect(house.engine.browsers.get(browser.id)).toBeUndefined()
  })

  it('goes on when the person stays, who must then show that it is them', async () => {
    const { id, browser, again } = await signedIn()
    const other = `b-${email}`
    await house.member(other, PASSWORD)
    const interaction = again('login', { params: { login_hint: other }, reasons: ['login_prompt'] })
    await browser.visit(interaction)
    await browser.submit(interaction, 'password', { password: PASSWORD })
    const page = await browser.submit(interaction, 'switch_account', { action: 'stay' })
    expect(page.step).toBe('password')
    expect(textOf(page.html)).toContain(email)
    await browser.post(interaction, 'password', { password: PASSWORD })
    expect(sessionOf(interaction)).toMatchObject({ login: { accountId: id } })
  })

  it('is chosen or not at prompt=select_account', async () => {
    const { browser, again } = await signedIn()
    const interaction = again('select_account')
    const page = await browser.visit(interaction)
    expect(page.step).toBe('choose_account')
    expect(textOf(page.html)).toContain(email)
    await browser.post(interaction, 'choose_account', { action: 'continue' })
    expect(sessionOf(interaction)).toEqual({ select_account: {} })
    const second = again('select_account')
    await browser.visit(second)
    expect((await browser.submit(second, 'choose_account', { action: 'other' })).step).toBe('identifier')
  })

  it('of another tab is renewed, not doubled, when this tab finishes later', async () => {
    const { id, session, browser } = await signedIn()
    const tab = house.engine.open('login', { params: { login_hint: email } })
    browser.hold(tab)
    await browser.visit(tab)
    await browser.post(tab, 'password', { password: PASSWORD })
    expect(sessionOf(tab)).toMatchObject({ login: { accountId: id, sessionUid: session.uid } })
  })

  it('that ended meanwhile is replaced', async () => {
    const { id, session, browser, again } = await signedIn()
    const interaction = again('login', { reasons: ['max_age'] })
    await browser.visit(interaction)
    await house.sessions.end(session.uid, 'ended_by_account')
    await browser.post(interaction, 'password', { password: PASSWORD })
    const login = loginOf(interaction)
    expect(login.accountId).toBe(id)
    expect(login.sessionUid).not.toBe(session.uid)
    expect(house.engine.records.get(interaction.uid)?.replaceSession).toBe(true)
  })

  it('proofs of a finished sign-in serve no second one under the same cid', async () => {
    const { browser, again } = await signedIn()
    const first = again('login', { params: { login_hint: email }, reasons: ['login_prompt'] })
    await browser.visit(first)
    await browser.post(first, 'password', { password: PASSWORD })
    const second = again('login', { params: { login_hint: email }, reasons: ['id_token_hint'], cid: first.cid })
    expect(await browser.visit(second)).toMatchObject({ status: 200, step: 'password' })
    expect(sessionOf(second)).toBeUndefined()
  })
})

describe('Consent and refusal', () => {
  it('hands the engine what the consent step says', async () => {
    const session = { accountId: 'A', uid: 's' }
    const { browser, interaction } = open('consent', { session })
    browser.signIn(session)
    expect((await browser.visit(interaction)).step).toBe('consent')
    await browser.post(interaction, 'consent', { action: 'allow' })
    expect(sessionOf(interaction)).toEqual({ consent: { grantId: 'g1' } })
    await browser.post(interaction, 'consent', { action: 'deny' })
    expect(sessionOf(interaction)).toEqual({ error: 'access_denied', error_description: 'denied' })
  })

  it('is over for a browser that is signed in as another by now, or not at all', async () => {
    const { browser, interaction } = open('consent', { session: { accountId: 'A', uid: 's' } })
    for (const now of [undefined, { accountId: 'B', uid: 't' }]) {
      if (now !== undefined) browser.signIn(now)
      expect(await browser.visit(interaction)).toMatchObject({ status: 400 })
      await browser.post(interaction, 'consent', { action: 'allow' })
      expect(sessionOf(interaction)).toBeUndefined()
    }
  })

  it('returns to the client with access_denied when the person cancels', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    expect(await browser.post(interaction, 'abort')).toMatchObject({
      status: 303,
      location: `https://id.example/auth/${interaction.uid}`,
    })
    expect(sessionOf(interaction)).toMatchObject({ error: 'access_denied' })
  })
})

describe('Where a request does not fit', () => {
  it('an unknown interaction gets a page with status 400 and a way on', async () => {
    const page = await house.browser().request('/interaction/unknown')
    expect(page.status).toBe(400)
    expect(page.html).toContain('href="/account"')
  })

  it('an expired one leads back to its client', async () => {
    const { browser, interaction } = open()
    await house.hints.opened(interaction.uid, 'demo-web')
    house.engine.records.delete(interaction.uid)
    const page = await browser.visit(interaction)
    expect(page.status).toBe(400)
    expect(page.html).toContain('href="https://shop.example/login"')
    expect(textOf(page.html)).toContain('Demo shop')
    house.world.time += 24 * 3600_000 + 1
    expect((await browser.visit(interaction)).html).toContain('href="/account"')
  })

  it('a browser without the cookie that was just set hears that cookies are blocked, and is in no loop', async () => {
    const interaction = house.engine.open()
    await house.hints.opened(interaction.uid, 'demo-web')
    const page = await house.browser().visit(interaction)
    expect(page.status).toBe(400)
    expect(textOf(page.html)).toContain('blocks cookies')
    house.world.time += 61_000
    expect(textOf((await house.browser().visit(interaction)).html)).toContain('expired')
  })

  it('a POST for another step than the one due is led back, and changes nothing', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    for (const step of ['password', 'consent', 'unknown', 'verify_email', '..%2f', 'new_password']) {
      const answer = await browser.post(interaction, step, { password: PASSWORD, code: '123456', action: 'allow' })
      expect(answer).toMatchObject({ status: 303, location: `/interaction/${interaction.uid}` })
    }
    expect((await browser.visit(interaction)).step).toBe('identifier')
  })

  it('the address of a step that somebody opens or reloads leads to the conversation', async () => {
    const { browser, interaction } = open()
    expect(await browser.visit(interaction, '/password')).toMatchObject({
      status: 303,
      location: `/interaction/${interaction.uid}`,
    })
  })

  it('a double click finishes once and both answers lead on', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    await browser.visit(interaction)
    const answers = await Promise.all(
      [1, 2, 3].map(() => browser.submit(interaction, 'password', { password: PASSWORD })),
    )
    expect(answers.map(({ location }) => location)).toEqual(Array(3).fill(`https://id.example/auth/${interaction.uid}`))
    expect(await house.sessions.list(id)).toHaveLength(1)
    // The back button and a reload finish again with the same session.
    const before = sessionOf(interaction)
    expect((await browser.visit(interaction)).location).toBe(`https://id.example/auth/${interaction.uid}`)
    expect(sessionOf(interaction)).toEqual(before)
    expect(await browser.submit(interaction, 'password', { password: 'x' })).toMatchObject({ status: 303 })
    expect(await browser.submit(interaction, 'switch', { to: 'create' })).toMatchObject({ status: 303 })
    expect(await house.sessions.list(id)).toHaveLength(1)
  })

  it('an account that was disabled between the password and the end is not signed in', async () => {
    const id = await house.member(email, PASSWORD)
    const other = `b-${email}`
    await house.member(other, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    browser.signIn({ accountId: (await house.accounts.findByIdentifier(other))?.id ?? '', uid: 'live' })
    await browser.visit(interaction)
    await browser.submit(interaction, 'password', { password: PASSWORD })
    await house.accounts.disable(id)
    const page = await browser.submit(interaction, 'switch_account', { action: 'switch' })
    expect(sessionOf(interaction)).toBeUndefined()
    expect(page.step).toBe('identifier')
    expect(house.engine.browsers.get(browser.id)).toBeDefined()
  })

  it('"end everything" between the password and the end voids the proof', async () => {
    const id = await house.member(email, PASSWORD)
    const other = `b-${email}`
    const otherId = await house.member(other, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    browser.signIn({ accountId: otherId, uid: 'live' })
    await browser.visit(interaction)
    await browser.submit(interaction, 'password', { password: PASSWORD })
    await house.sessions.endAll(id, 'ended_by_account')
    await house.accounts.publish(id)
    expect((await browser.submit(interaction, 'switch_account', { action: 'switch' })).step).toBe('password')
    expect(sessionOf(interaction)).toBeUndefined()
  })
})

describe('Attacks', () => {
  it('two submits at once that name two accounts never pair the proof of one with the other', async () => {
    const victim = `v-${email}`
    const [attackerId, victimId] = [await house.member(email, PASSWORD), await house.member(victim, 'violet tangent 8')]
    for (let round = 0; round < 15; round++) {
      const { browser, interaction } = open('login', { params: { login_hint: email } })
      await browser.visit(interaction)
      await Promise.all([
        browser.post(interaction, 'password', { password: PASSWORD }),
        browser
          .post(interaction, 'switch', { to: 'identifier' })
          .then(() => browser.post(interaction, 'identifier', { identifier: victim })),
        browser.post(interaction, 'password', { password: PASSWORD, identifier: victim }),
      ])
      const login = loginOf(interaction)
      expect([undefined, attackerId]).toContain(login.accountId)
      await house.kv.delete(`{sign_in}:id:${victim}`)
    }
    expect(await house.sessions.list(victimId)).toHaveLength(0)
  })

  it('A46: an empty post passes no step', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    await browser.visit(interaction)
    for (const fields of [{}, { password: '' }, { PASSWORD: 'x' }, { 'password[]': 'x' }] as {
      [name: string]: string
    }[]) {
      expect(await browser.post(interaction, 'password', fields)).toMatchObject({ status: 400, step: 'password' })
    }
    const create = open('create')
    await create.browser.visit(create.interaction)
    await create.browser.submit(create.interaction, 'register', { email: `n-${email}`, password: PASSWORD })
    for (const code of ['', '      ', 'null', '0', '000000 000000']) {
      expect(await create.browser.post(create.interaction, 'verify_email', { code })).toMatchObject({
        status: 400,
        step: 'verify_email',
      })
    }
    expect(sessionOf(create.interaction)).toBeUndefined()
  })

  it('A55: a form without our token, from another site or of another kind changes nothing', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    const path = `/interaction/${interaction.uid}/identifier`
    const body = new URLSearchParams({ identifier: email })
    expect((await browser.request(path, { method: 'POST', body })).status).toBe(403)
    const cross = { Origin: 'https://evil.example' }
    expect((await browser.request(path, { method: 'POST', body, headers: cross })).status).toBe(403)
    expect(
      (await browser.request(path, { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } }))
        .status,
    ).toBe(415)
    expect(
      (await browser.request(path, { method: 'POST', body: 'identifier=x', headers: { 'Content-Type': 'text/plain' } }))
        .status,
    ).toBe(415)
    expect((await browser.visit(interaction)).step).toBe('identifier')
  })

  it('A87: fields that no form has change nothing', async () => {
    const { browser, interaction } = open('create')
    await browser.visit(interaction)
    const extra = {
      email_verified: 'true',
      emailVerified: 'true',
      state: 'active',
      id: 'mine',
      role: 'admin',
      accountId: 'x',
      __proto__: 'x',
    }
    await browser.submit(interaction, 'register', { email, password: PASSWORD, ...extra })
    const account = await house.accounts.findByIdentifier(email)
    expect(account).toMatchObject({ state: 'pending', emailVerifiedAt: undefined, profile: {} })
    expect(account?.id).not.toBe('mine')
  })

  it('A51, A57: what one browser has shown serves no other that holds the same interaction cookie', async () => {
    await house.member(email, PASSWORD)
    // The attacker opened the interaction and planted its path-bound cookie in the victim's browser.
    const { browser: attacker, interaction } = open('login', { params: { login_hint: email } })
    await attacker.visit(interaction)
    const victim = house.browser()
    victim.hold(interaction)
    await victim.visit(interaction)
    await victim.post(interaction, 'password', { password: PASSWORD })
    const answer = await attacker.visit(interaction)
    expect(answer.status).toBe(400)
    expect(answer.location).toBeUndefined()
    expect((await attacker.post(interaction, 'abort')).location).toBeUndefined()
  })

  it('A44: cancelling a sign-in as another account changes nothing of the live session', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = open('login', {
      session: { accountId: id, uid: 'live' },
      reasons: ['login_prompt'],
    })
    browser.signIn({ accountId: id, uid: 'live' })
    await browser.visit(interaction)
    await browser.post(interaction, 'abort')
    expect(house.engine.browsers.get(browser.id)).toEqual({ accountId: id, uid: 'live' })
    expect(house.engine.dead).not.toContain('live')
  })

  it('A20: links in mails have the configured origin whatever the request says', async () => {
    const interaction = house.engine.open('create')
    const headers = {
      'X-Forwarded-Host': 'evil.example',
      Forwarded: 'host=evil.example',
      'X-Forwarded-Proto': 'http',
      'X-Host': 'evil.example',
    }
    const browser = house.browser({ headers })
    browser.hold(interaction)
    await browser.visit(interaction)
    await browser.submit(interaction, 'register', { email, password: PASSWORD })
    const { values } = await house.send()
    expect(values.url).toMatch(/^https:\/\/id\.example\/interaction\//)
  })
})
