import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { newId } from '../../src/platform/ids.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { type Conversation, startConversation } from '../support/conversation.ts'
import { formsOf, textOf, titleOf } from '../support/html.ts'
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
        ...{ accountId: id, ts: house.world.time / 1000, remember: true },
        proofs: [{ method: 'pwd', amr: ['pwd'], accountId: id, at: house.world.time, epoch: 0 }],
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

describe('Choosing a language', () => {
  const coded = (path: string) => Buffer.from(path).toString('base64url')
  const spoken = async (browser: Browser, interaction: { uid: string }) =>
    (await browser.visit(interaction)).headers.get('content-language')

  it('beats what the client asks for in this conversation, keeps its place, and is kept for the next', async () => {
    const { browser, interaction } = open('login', { params: { ui_locales: 'fi', login_hint: email } })
    expect(await spoken(browser, interaction)).toBe('fi')
    const path = `/interaction/${interaction.uid}`
    const answer = await browser.post(interaction, 'language', { locale: 'ja', return_to: coded(path) })
    expect([answer.status, answer.location]).toEqual([303, `https://id.example${path}`])
    const page = await browser.visit(interaction)
    expect([page.step, page.headers.get('content-language')]).toEqual(['password', 'ja'])
    expect(page.html).toContain(email)
    expect(house.engine.records.get(interaction.uid)?.params).toEqual({ ui_locales: 'ja', login_hint: email })

    const asked = house.engine.open('login', { params: { ui_locales: 'fi' } })
    const silent = house.engine.open()
    for (const each of [asked, silent]) browser.hold(each)
    expect([await spoken(browser, asked), await spoken(browser, silent)]).toEqual(['fi', 'ja'])
  })

  it('on the answer of a form leads back to the page of the step', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    const failed = await browser.post(interaction, 'identifier', { identifier: 'nobody' })
    const form = formsOf(failed.html).find(({ action }) => action.endsWith('/language'))
    const link = await browser.visit(interaction, '?from=mail')
    const there = formsOf(link.html).find(({ action }) => action.endsWith('/language'))
    const place = `/interaction/${interaction.uid}?from=mail`
    expect(there?.fields.find(({ name }) => name === 'return_to')?.value).toBe(coded(place))
    expect([failed.status, form?.action]).toEqual([400, `/interaction/${interaction.uid}/language`])
    expect(form?.fields.find(({ name }) => name === 'return_to')?.value).toBe('')
  })

  it('is refused without the token of our pages, and for a language that there is not', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    expect((await browser.post(interaction, 'language', { locale: 'fi', csrf: 'x' })).status).toBe(403)
    expect((await browser.post(interaction, 'language', { locale: 'tlh' })).status).toBe(400)
    expect(await spoken(browser, interaction)).toBe('en')
  })

  it.each(['//evil.example', '/\\evil.example', 'https://evil.example', '/%5cevil.example', '/a\r\nb: c'])(
    'A100: comes back to the conversation when told to go to %j',
    async (returnTo) => {
      const { browser, interaction } = open()
      await browser.visit(interaction)
      const answer = await browser.post(interaction, 'language', { locale: 'fi', return_to: coded(returnTo) })
      expect([answer.status, answer.location]).toEqual([303, `/interaction/${interaction.uid}`])
    },
  )

  it('works on the page of a conversation that has expired', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    house.engine.records.delete(interaction.uid)
    expect((await browser.submit(interaction, 'language', { locale: 'th' })).headers.get('content-language')).toBe('th')
  })

  it('is the account’s own for who is signed in already, unless the client asks for one', async () => {
    const accountId = await house.member(email, PASSWORD)
    await database.transaction((tx) => house.accounts.update(accountId, { locale: 'sv' }, tx))
    const browser = house.browser({ headers: { 'Accept-Language': 'fi' } })
    browser.signIn({ accountId, uid: 's1' })
    const silent = house.engine.open('select_account')
    const asked = house.engine.open('select_account', { params: { ui_locales: 'ar' } })
    for (const each of [silent, asked]) browser.hold(each)
    expect([await spoken(browser, silent), await spoken(browser, asked)]).toEqual(['sv', 'ar'])
  })

  it('a failure after the proof speaks the account’s language', async () => {
    const accountId = await house.member(email, PASSWORD)
    await database.transaction((tx) => house.accounts.update(accountId, { locale: 'sv' }, tx))
    const { browser, interaction } = open('login', { params: { login_hint: email } })
    browser.signIn({ accountId: 'another', uid: 's2' })
    await browser.visit(interaction)
    expect((await browser.post(interaction, 'password', { password: PASSWORD })).status).toBe(303)
    const page = await browser.visit(interaction)
    expect([page.step, page.headers.get('content-language')]).toEqual(['switch_account', 'sv'])
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
    expect(sessionOf(interaction)).toMatchObject({ login: { proofs: [{ method: 'pwd' }] }, create: {} })
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

describe('Registering without a password', () => {
  async function register(browser: Browser, interaction: { uid: string }) {
    await browser.visit(interaction)
    return browser.submit(interaction, 'register', { email, password: '' })
  }

  it('says that the password may be left empty', async () => {
    const { browser, interaction } = open('create')
    const { html } = await browser.visit(interaction)
    expect(textOf(html)).toContain('sign in with codes sent to your e-mail')
    expect(html).toMatch(/<input id="password"(?![^>]* required)/)
  })

  it('signs in by the code of the mail alone, as `otp`, and not before', async () => {
    const { browser, interaction } = open('create')
    expect((await register(browser, interaction)).step).toBe('verify_email')
    const { values, template } = await house.send()
    expect(template).toBe('email_codes/verify_email')
    for (const step of ['register', 'password', 'email_code', 'switch_account', 'consent']) {
      expect((await browser.submit(interaction, step, { email, password: '', code: '' })).step).toBe('verify_email')
    }
    expect(sessionOf(interaction)).toBeUndefined()
    const done = await browser.post(interaction, 'verify_email', { code: values.code ?? '' })
    expect(done.location).toBe(`https://id.example/auth/${interaction.uid}`)
    expect(sessionOf(interaction)).toMatchObject({
      login: { proofs: [{ method: 'email_code', amr: ['otp'] }], epoch: 0 },
      create: {},
    })
    const account = await house.accounts.findByIdentifier(email)
    expect(account).toMatchObject({ state: 'active', id: loginOf(interaction).accountId })
    expect(await house.passwords.isSet(account?.id ?? '')).toBe(false)
    expect((await house.facts()).slice(-2).sort()).toEqual(['email_code.verified', 'session.started'])
  })

  it('mails the owner of a known address instead, and no code opens the page', async () => {
    await house.member(email)
    const { browser, interaction } = open('create')
    await register(browser, interaction)
    expect(await house.send()).toMatchObject({ to: email, template: 'registration/already_registered' })
    expect(await browser.post(interaction, 'verify_email', { code: '123456' })).toMatchObject({ status: 400 })
  })

  it('A01: an account that was recovered meanwhile is not signed in to by the conversation that began it', async () => {
    const { browser, interaction } = open('create')
    await register(browser, interaction)
    const owner = open()
    await owner.browser.visit(owner.interaction)
    await owner.browser.submit(owner.interaction, 'switch', { to: 'recover' })
    await owner.browser.submit(owner.interaction, 'recover', { identifier: email })
    const { values } = await house.send()
    await owner.browser.submit(owner.interaction, 'recover_code', { code: values.code ?? '' })
    await owner.browser.post(owner.interaction, 'new_password', { password: 'violet tangent 8' })
    expect(sessionOf(owner.interaction)).toMatchObject({ login: { proofs: [{ method: 'pwd' }] } })
    expect((await browser.visit(interaction)).step).toBe('verify_email')
    const moved = await browser.post(interaction, 'verify_email', { action: 'change', email: 'evil@example.net' })
    expect(moved.status).toBe(303)
    expect((await browser.visit(interaction)).step).toBe('verify_email')
    expect(await house.accounts.findByIdentifier('evil@example.net')).toBeUndefined()
    expect(sessionOf(interaction)).toBeUndefined()
  })
})

describe('Registering with what the client asks for', () => {
  const asking = () => open('create', { clientId: 'asking' })
  const FIELDS = { password: PASSWORD, given_name: 'Anna', birthdate: '1990-05-21' }

  it('shows its fields in its language, and stores them and nothing else (A87)', async () => {
    const { browser, interaction } = asking()
    const { html } = await browser.visit(interaction)
    expect(html).toContain('<html lang="fi"')
    expect(html).toMatch(/<input id="given_name"[^>]* autocomplete="given-name"[^>]* required/)
    expect(html).toMatch(
      /<input id="birthdate"[^>]* type="date"[^>]* autocomplete="bday" max="2026-11-01"(?! required)/,
    )
    expect(textOf(html)).toContain('Syntymäpäivä (valinnainen)')
    const more = { name: 'x', nickname: 'x', website: 'https://x.example', email_verified: 'true', sub: 'x', role: 'x' }
    await browser.submit(interaction, 'register', { ...FIELDS, ...more, email })
    const account = await house.accounts.findByIdentifier(email)
    expect(account).toMatchObject({ state: 'pending', locale: 'fi' })
    expect(account?.profile).toEqual({ given_name: 'Anna', birthdate: '1990-05-21' })
  })

  it('says at each field what is wrong with it, and keeps what was typed', async () => {
    const { browser, interaction } = asking()
    await browser.visit(interaction)
    const typed = { ...FIELDS, email: 'x', given_name: ' ', birthdate: '2027-01-01' }
    const page = await browser.post(interaction, 'register', typed)
    expect(page).toMatchObject({ status: 400, step: 'register' })
    for (const field of ['email', 'given_name', 'birthdate']) {
      expect(page.html).toMatch(new RegExp(`<input id="${field}"[^>]* aria-invalid="true"`))
      expect(page.html).toContain(`id="${field}-error"`)
      expect(page.html).toContain(`<a href="#${field}">`)
    }
    expect(page.html).toMatch(/<input id="birthdate"[^>]* value="2027-01-01"/)
    expect(page.html).not.toContain(PASSWORD)
  })

  it('keeps what was typed when only the password is refused', async () => {
    const { browser, interaction } = asking()
    await browser.visit(interaction)
    const page = await browser.post(interaction, 'register', { ...FIELDS, email, password: 'password1' })
    expect(page.html).toMatch(/<input id="given_name"[^>]* value="Anna"/)
    expect(page.html).toContain('id="password-error"')
  })

  it('a client that asks for nothing gets nothing', async () => {
    const { browser, interaction } = open('create')
    expect((await browser.visit(interaction)).html).not.toContain('given_name')
    await browser.submit(interaction, 'register', { ...FIELDS, email })
    expect((await house.accounts.findByIdentifier(email))?.profile).toEqual({})
  })
})

describe('The language of a client', () => {
  it.each([
    ['nothing', {}, {}, 'fi'],
    ['a language of the browser that there is not', { 'Accept-Language': 'nl, de;q=0.5' }, {}, 'fi'],
    ['a language of the browser', { 'Accept-Language': 'nl, en;q=0.5' }, {}, 'en'],
    ['the cookie', { Cookie: '__Host-genkan_locale=en' }, {}, 'en'],
    ['ui_locales', { 'Accept-Language': 'fi' }, { ui_locales: 'en' }, 'en'],
    ['ui_locales that there are not', {}, { ui_locales: 'nl' }, 'fi'],
  ])('with %s', async (_, headers, params, locale) => {
    const browser = house.browser({ headers: { 'Accept-Language': '', ...headers } })
    const interaction = house.engine.open('login', { clientId: 'asking', params })
    browser.hold(interaction)
    const cookie = 'Cookie' in headers ? { Cookie: `${headers.Cookie}; genkan_interaction=${interaction.uid}` } : {}
    const page = await browser.request(`/interaction/${interaction.uid}`, { headers: cookie })
    expect([page.status, page.headers.get('content-language')]).toEqual([200, locale])
  })

  it('is that of the page that says what went wrong, too', async () => {
    const browser = house.browser({ headers: { 'Accept-Language': '' } })
    const interaction = house.engine.open('login', { clientId: 'asking' })
    await house.hints.opened(interaction.uid, 'asking')
    const page = await browser.visit(interaction)
    expect([page.status, page.headers.get('content-language')]).toEqual([400, 'fi'])
  })

  it('gives way to that of the account, once it is proven', async () => {
    const id = await house.member(email, PASSWORD)
    await database.transaction((tx) => house.accounts.update(id, { locale: 'en' }, tx))
    const browser = house.browser({ headers: { 'Accept-Language': '' } })
    const interaction = house.engine.open('login', { clientId: 'asking', params: { login_hint: email } })
    browser.hold(interaction)
    browser.signIn({ accountId: await house.member(`b-${email}`, PASSWORD), uid: 'live' })
    expect((await browser.visit(interaction)).headers.get('content-language')).toBe('fi')
    const page = await browser.submit(interaction, 'password', { password: PASSWORD })
    expect([page.step, page.headers.get('content-language')]).toEqual(['switch_account', 'en'])
  })
})

describe('Signing in by a code', () => {
  async function ask(who = email, more: Parameters<typeof open>[1] = {}) {
    const { browser, interaction } = open('login', { ...more, params: { login_hint: who } })
    await browser.visit(interaction)
    const page = await browser.submit(interaction, 'switch', { to: 'email_code' })
    return { browser, interaction, page }
  }

  it.each([
    ['without a password', undefined],
    ['with one', PASSWORD],
  ])('signs in to an account %s, as `otp`', async (_, password) => {
    const id = await house.member(email, password)
    const { browser, interaction, page } = await ask()
    expect(page).toMatchObject({ status: 200, step: 'email_code' })
    const { to, template, values } = await house.send()
    expect([to, template]).toEqual([email, 'email_codes/sign_in'])
    expect(values.url).toBe(`https://id.example/interaction/${interaction.uid}/email_code?code=${values.code}`)
    const done = await browser.post(interaction, 'email_code', { code: values.code ?? '', shared: 'yes' })
    expect(done.location).toBe(`https://id.example/auth/${interaction.uid}`)
    expect(sessionOf(interaction)).toMatchObject({
      login: { accountId: id, proofs: [{ method: 'email_code', amr: ['otp'] }], remember: false },
    })
    expect(await house.sessions.list(id)).toMatchObject([{ amr: ['otp'], transient: true }])
  })

  it('is offered on the password page, which is the same for all, and leads back to it', async () => {
    await house.member(email)
    const { browser, interaction, page } = await ask()
    expect(textOf(page.html)).toContain('Use your password')
    const back = await browser.submit(interaction, 'switch', { to: 'password' })
    expect(back.step).toBe('password')
    expect(textOf(back.html)).toContain('E-mail me a code instead')
    expect(await browser.post(interaction, 'password', { password: '' })).toMatchObject({ status: 400 })
  })

  it('is on no page where it would prove nothing', async () => {
    const { browser, interaction } = open()
    expect((await browser.visit(interaction)).html).not.toContain('value="email_code"')
    expect((await browser.submit(interaction, 'switch', { to: 'email_code' })).step).toBe('identifier')
    expect((await browser.submit(interaction, 'switch', { to: 'create' })).html).not.toContain('value="email_code"')
  })

  it('tells an address without an account in the mail, and how to create one', async () => {
    const { page, browser, interaction } = await ask()
    expect(page.step).toBe('email_code')
    expect(await house.send()).toMatchObject({ to: email, template: 'email_codes/no_account' })
    const register = await browser.submit(interaction, 'switch', { to: 'create' })
    expect(register.html).toContain(`value="${email}"`)
  })

  it('tells a disabled account nothing, and no code of it is right', async () => {
    const id = await house.member(email, PASSWORD)
    await house.accounts.disable(id)
    const { browser, interaction } = await ask()
    const { to, values } = (await house.mails()).at(-1) ?? { to: '', values: {} as { code?: string } }
    expect(to).toBeNull()
    expect(await browser.post(interaction, 'email_code', { code: values.code ?? '' })).toMatchObject({ status: 400 })
  })

  it('is not the way into an account that has proven nothing', async () => {
    await database.transaction((tx) => house.accounts.createPending({ email }, tx))
    await ask()
    expect((await house.send()).template).toBe('email_codes/no_account')
  })

  it('an account that is disabled between the code and its use is not signed in', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = await ask()
    const { values } = await house.send()
    await house.accounts.disable(id)
    expect(await browser.post(interaction, 'email_code', { code: values.code ?? '' })).toMatchObject({ status: 400 })
    expect(sessionOf(interaction)).toBeUndefined()
  })

  it.each([
    ['a new password', (id: string) => database.transaction((tx) => house.passwords.store(id, 'hash of another', tx))],
    ['"end everything"', (id: string) => house.sessions.endAll(id, 'ended_by_account')],
    ['another address', (id: string) => database.transaction((tx) => house.accounts.changeEmail(id, `n-${email}`, tx))],
  ])('A24: a code from before %s is dead', async (_, change) => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = await ask()
    const { values } = await house.send()
    house.world.time += 1000
    await change(id)
    expect(await browser.post(interaction, 'email_code', { code: values.code ?? '' })).toMatchObject({ status: 400 })
    expect(sessionOf(interaction)).toBeUndefined()
  })

  it('A53: "end everything" between the code and the end voids the proof', async () => {
    const id = await house.member(email)
    const otherId = await house.member(`b-${email}`)
    const { browser, interaction } = await ask()
    browser.signIn({ accountId: otherId, uid: 'live' })
    const { values } = await house.send()
    expect((await browser.submit(interaction, 'email_code', { code: values.code ?? '' })).step).toBe('switch_account')
    await house.sessions.endAll(id, 'ended_by_account')
    await house.accounts.publish(id)
    expect((await browser.submit(interaction, 'switch_account', { action: 'switch' })).step).toBe('password')
    expect(sessionOf(interaction)).toBeUndefined()
  })

  it('A24: one code signs in once, in the conversation that asked', async () => {
    const id = await house.member(email, PASSWORD)
    const { browser, interaction } = await ask()
    const { values } = await house.send()
    const other = await ask()
    const code = { code: values.code ?? '' }
    expect((await other.browser.post(other.interaction, 'email_code', code)).status).toBe(400)
    await Promise.all([1, 2, 3].map(() => browser.post(interaction, 'email_code', code)))
    expect(await house.sessions.list(id)).toHaveLength(1)
  })

  it('A23: a code of one address is none of another', async () => {
    await house.member(email, PASSWORD)
    const victim = `v-${email}`
    await house.member(victim, PASSWORD)
    const { browser, interaction } = await ask()
    const { values } = await house.send()
    await browser.submit(interaction, 'switch', { to: 'identifier' })
    await browser.submit(interaction, 'identifier', { identifier: victim })
    expect((await browser.submit(interaction, 'switch', { to: 'email_code' })).step).toBe('email_code')
    expect(await browser.post(interaction, 'email_code', { code: values.code ?? '' })).toMatchObject({ status: 400 })
  })

  it('A27: a code that signs in recovers nothing, and one that recovers signs nobody in', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = await ask()
    const { values } = await house.send()
    await browser.submit(interaction, 'switch', { to: 'recover' })
    await browser.submit(interaction, 'recover', { identifier: email })
    const recover = await house.send()
    expect(await browser.post(interaction, 'recover_code', { code: values.code ?? '' })).toMatchObject({ status: 400 })
    await browser.submit(interaction, 'switch', { to: 'login' })
    await browser.submit(interaction, 'switch', { to: 'email_code' })
    const code = { code: recover.values.code ?? '' }
    expect(await browser.post(interaction, 'email_code', code)).toMatchObject({ status: 400 })
  })

  it('A36: takes three tries a code', async () => {
    await house.member(email, PASSWORD)
    const { browser, interaction } = await ask()
    const { values } = await house.send()
    const wrong = { code: values.code === '000000' ? '000001' : '000000' }
    for (let tries = 0; tries < 3; tries++) await browser.post(interaction, 'email_code', wrong)
    const page = await browser.post(interaction, 'email_code', { code: values.code ?? '' })
    expect([page.status, page.html.includes('tried too often')]).toEqual([400, true])
  })

  it('A38: when too many mails were asked for, the page says so and still leads to the password', async () => {
    const id = await house.member(email, PASSWORD)
    for (let mails = 0; mails < 6; mails++) await ask()
    const { browser, interaction, page } = await ask()
    expect(page).toMatchObject({ status: 429, step: 'email_code' })
    expect(page.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(textOf(page.html)).not.toContain('on its way')
    await browser.submit(interaction, 'switch', { to: 'password' })
    expect((await browser.post(interaction, 'password', { password: PASSWORD })).status).toBe(303)
    expect(loginOf(interaction).accountId).toBe(id)
  })

  it('A30: the link of the mail opens the page with the code, and uses nothing up', async () => {
    await house.member(email)
    const { browser, interaction } = await ask()
    const { values } = await house.send()
    for (let opened = 0; opened < 4; opened++) {
      const page = await browser.visit(interaction, `/email_code?code=${values.code}`)
      expect(page.html).toMatch(new RegExp(`name="code"[^>]* value="${values.code}"`))
    }
    const elsewhere = await house.browser().visit(interaction, `/email_code?code=${values.code}`)
    expect(elsewhere.step).toBeUndefined()
    expect(textOf(elsewhere.html)).toContain(values.code)
    expect((await browser.post(interaction, 'email_code', { code: values.code ?? '' })).status).toBe(303)
  })

  it('sends one mail however often the page is opened, and another after the cool-down', async () => {
    await house.member(email)
    const { browser, interaction } = await ask()
    const before = (await house.mails()).length
    await browser.visit(interaction)
    expect(await browser.post(interaction, 'email_code', { action: 'resend' })).toMatchObject({ status: 429 })
    house.world.time += 30_000
    const page = await browser.submit(interaction, 'email_code', { action: 'resend' })
    expect(textOf(page.html)).toContain('A new code is on its way')
    expect(await house.mails()).toHaveLength(before + 1)
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
    expect(sessionOf(interaction)).toMatchObject({ login: { accountId: id, proofs: [{ method: 'pwd' }], epoch: 1 } })
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

  it('gives the owner of a mailbox that was never proven an account of their own (A01)', async () => {
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
    expect((await attacker.browser.visit(attacker.interaction)).step).toBe('verify_email')
    expect(sessionOf(attacker.interaction)).toBeUndefined()
    const other = open()
    expect(await login(other.browser, other.interaction, email, 'attackers own words 7')).toMatchObject({ status: 400 })
  })

  it('gives an account without a password its first one, by the same pages', async () => {
    const pages: string[] = []
    for (const password of [undefined, PASSWORD]) {
      email = `${newId().toLowerCase().replaceAll('-', 'x').replaceAll('_', 'y')}@example.com`
      const id = await house.member(email, password)
      const { browser, interaction } = open()
      const seen = [await ask(browser, interaction)]
      const { values } = await house.send()
      seen.push(await browser.submit(interaction, 'recover_code', { code: values.code ?? '' }))
      seen.push(await browser.post(interaction, 'new_password', { password: 'violet tangent 8' }))
      expect(loginOf(interaction)).toMatchObject({ accountId: id, proofs: [{ method: 'pwd' }] })
      expect(await house.passwords.isSet(id)).toBe(true)
      const hide = (text: string) => text.replaceAll(email, '*').replaceAll(interaction.uid, '*')
      pages.push(seen.map(({ status, html }) => hide(`${status} ${textOf(html)}`)).join('\n'))
    }
    expect(pages[0]).toBe(pages[1])
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
    for (const step of ['password', 'consent', 'verify_email', 'new_password']) {
      const answer = await browser.post(interaction, step, { password: PASSWORD, code: '123456', action: 'allow' })
      expect(answer).toMatchObject({ status: 303, location: `/interaction/${interaction.uid}` })
    }
    expect((await browser.visit(interaction)).step).toBe('identifier')
  })

  it('a POST, a switch or an address of a step that is not there is refused (A96)', async () => {
    const { browser, interaction } = open()
    await browser.visit(interaction)
    for (const step of ['unknown', '..%2f', '__proto__', 'constructor']) {
      expect(await browser.post(interaction, step, { password: PASSWORD })).toMatchObject({ status: 403 })
      expect(await browser.post(interaction, 'switch', { to: step })).toMatchObject({ status: 403 })
      expect(await browser.visit(interaction, `/${step}`)).toMatchObject({ status: 403 })
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
    expect(house.engine.browsers.get(browser.id)).toEqual({ accountId: id, uid: 'live', proofs: [] })
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
