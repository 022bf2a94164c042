/** A domain that is closed to everything but its provider, by the front door. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import type { Browser, Page } from '../../support/browser.ts'
import { allow, authorization, choose, PASSWORD, redeem } from '../../support/journeys.ts'
import { addPasskey, authenticatorOf, passkeyPage, showPasskey } from '../../support/passkey_people.ts'
import { stepOf } from '../../support/people.ts'
import { type RealmRoom, startRealmRoom } from '../../support/realms.ts'
import { type Clock, clockOf, type Protected, signUpWithApp } from '../../support/second_factors.ts'
import { CALLBACK, type Member } from '../../support/target.ts'

let room: RealmRoom
beforeAll(async () => {
  room = await startRealmRoom()
})
afterAll(() => room?.close())
beforeEach(async () => {
  room.dns.answer('well')
  await room.fake.tell({ reset: true, automatic: 'continue' })
})

describe('a domain that is closed to everything but its provider', () => {
  const UNKNOWN = 'nobody@closed.example'
  let clock: Clock
  let member: Member
  let keyholder: Member
  let glass: Protected
  let weak: Member
  const key = () => passkey
  let passkey: ReturnType<typeof authenticatorOf>
  /** A refresh token from before. */
  let kept: string

  /** A refresh token of whoever is signed in in the browser. */
  async function offline(browser: Browser): Promise<string> {
    const wanted = { scope: 'openid offline_access', prompt: 'consent' }
    const request = await authorization(room.target.client, CALLBACK, wanted)
    const end = await allow(browser, await browser.get(request.url))
    return (await redeem(room.target.client, request, end)).refresh_token ?? ''
  }
  const refresh = async (token: string) => (await oidc.refreshTokenGrant(room.target.client, token)).refresh_token ?? ''

  beforeAll(async () => {
    const { target } = room
    member = await target.signUp('carla@closed.example')
    keyholder = await target.signUp('kim@closed.example')
    weak = await target.signUp('weak@closed.example')
    await target.signUp('boss@org1.example')
    clock = clockOf(target)
    passkey = authenticatorOf(target)
    await keyholder.browser.get(`${target.issuer}/account/passkeys/new`)
    await addPasskey(target, keyholder.browser, passkey)
    kept = await offline(member.browser)
    glass = await signUpWithApp(target, clock, 'glass@closed.example')
    const linked = await room.come('carla-elsewhere', { email: member.email, email_verified: true }, 'other')
    expect(linked.page.params.has('code')).toBe(true)
    expect(await room.prove('closed.example', '--policy', 'enforce')).toBe('closed.example is proven\n')
    expect((await room.run('break-glass', 'closed.example', weak.email)).stderr).toContain('no second factor')
    expect((await room.run('break-glass', 'closed.example', 'boss@org1.example')).stderr).toContain('no proven address')
    expect((await room.run('break-glass', 'closed.example', glass.email)).code).toBe(0)
  })

  /** Where the browser stands after the provider was left alone. */
  async function stand(email: string) {
    const { browser, page: away } = await room.type(email)
    expect(room.isAtProvider(away)).toBe(true)
    await room.fake.tell({ automatic: 'access_denied' })
    return { browser, page: await room.comeBack(browser, away) }
  }
  const csrfOf = (page: Page) => page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const post = (browser: Browser, page: Page, step: string, fields: { readonly [name: string]: string }) => {
    const uid = /\/interaction\/([^/?]+)/.exec(page.url)?.[1] ?? ''
    const url = `${room.target.issuer}/interaction/${uid}/${step}`
    return browser.post(url, { csrf: csrfOf(page), ...fields }, page.url)
  }

  const ATTEMPTS: readonly [string, (browser: Browser, page: Page, email: string) => Promise<Page>][] = [
    ['a forged password form', (browser, page) => post(browser, page, 'password', { password: PASSWORD })],
    ['the way to the password', (browser, page) => post(browser, page, 'switch', { to: 'password' })],
    ['the way to a mailed code', (browser, page) => post(browser, page, 'switch', { to: 'email_code' })],
    ['a forged mailed code', (browser, page) => post(browser, page, 'email_code', { code: '123456' })],
    [
      'a mailed code in an emergency',
      async (browser, page) => {
        const own = await post(browser, page, 'realm', { action: 'break_glass' })
        return post(browser, own, 'email_code', { action: 'resend', code: '' })
      },
    ],
    [
      'a recovery',
      async (browser, page, email) => {
        const start = await post(browser, page, 'switch', { to: 'recover' })
        return post(browser, start, 'recover', { identifier: email })
      },
    ],
    [
      'a recovery from the first page',
      async (browser, page, email) => {
        const first = await post(browser, page, 'switch', { to: 'identifier' })
        const start = await post(browser, first, 'switch', { to: 'recover' })
        return browser.submit(start, { identifier: email }, { form: '/recover' })
      },
    ],
    [
      'a registration',
      async (browser, page, email) => {
        const first = await post(browser, page, 'switch', { to: 'identifier' })
        const start = await choose(browser, first, 'create')
        return browser.submit(start, { email, password: PASSWORD }, { form: '/register' })
      },
    ],
    ["another provider's button", (browser, page) => post(browser, page, 'upstream', { provider: 'other' })],
  ]
  it.each(ATTEMPTS)('%s gets nobody in, known or not, and mails nobody', async (name, attempt) => {
    const before = await room.target.sql<{ n: number }>('select count(*)::int as n from accounts')
    const ends: unknown[][] = []
    for (const email of [member.email, UNKNOWN]) {
      const mails = (await room.mailsTo(email)).length
      const { browser, page } = await stand(email)
      const end = await attempt(browser, page, email)
      expect([name, end.params.has('code'), (await room.mailsTo(email)).length]).toEqual([name, false, mails])
      ends.push([end.status, stepOf(end), end.text.replaceAll(email, '')])
    }
    expect(ends[0]).toEqual(ends[1])
    if (name !== 'a mailed code in an emergency') expect(ends[0]?.[1]).toBe('upstream')
    expect(await room.target.sql('select count(*)::int as n from accounts')).toEqual(before)
  })

  it('a right password in an emergency is answered like a wrong one and like that of nobody', async () => {
    const answers: unknown[][] = []
    for (const [email, password] of [
      [member.email, PASSWORD],
      [member.email, 'wrong'],
      [UNKNOWN, PASSWORD],
    ] as const) {
      const { browser, page } = await stand(email)
      const own = await browser.submit(page, {}, { form: '/realm' })
      expect(stepOf(own)).toBe('password')
      const end = await browser.submit(own, { password }, { form: '/password' })
      answers.push([end.status, stepOf(end), end.text.replaceAll(email, '')])
    }
    expect(answers[0]).toEqual([400, 'password', expect.any(String)])
    expect(answers[1]).toEqual(answers[0])
    expect(answers[2]).toEqual(answers[0])
  })

  it('a passkey leads its owner to the provider', async () => {
    const browser = room.person()
    const end = await showPasskey(browser, await passkeyPage(room.target, browser), key())
    expect([end.params.has('code'), stepOf(end)]).toEqual([false, 'upstream'])
    expect(end.text).toContain(keyholder.email)
  })

  it('another provider signs nobody in by an identity from before, and vouches for nobody', async () => {
    const before = await room.come('carla-elsewhere', { email: member.email, email_verified: true }, 'other')
    expect([before.page.params.has('code'), before.page.status]).toEqual([false, 400])
    expect(before.page.text).toContain('Your organisation signs you in with another service.')
    const fresh = await room.come('weak-elsewhere', { email: weak.email, email_verified: true }, 'other')
    expect(stepOf(fresh.page)).toBe('upstream_account')
    const end = await fresh.browser.submit(fresh.page, {}, { form: '/upstream_account' })
    expect([stepOf(end), end.text.includes('closed.example')]).toEqual(['upstream', true])
    const rows = await room.target.sql('select 1 from identities where account_id = $1', [weak.sub])
    expect(rows).toEqual([])
  })

  it('its own provider signs nobody in who is of another domain there', async () => {
    const elsewhere = { email: 'carla@private.example', email_verified: true }
    const { browser, page } = await room.come('carla-private', elsewhere)
    const end = await browser.submit(page, { email: UNKNOWN }, { form: '/upstream_account' })
    expect([end.params.has('code'), stepOf(end)]).toEqual([false, 'upstream'])
    expect(await room.mailsTo(UNKNOWN)).toEqual([])
    const first = await room.come('carla', { email: member.email, email_verified: true })
    expect((await redeem(room.target.client, first.request, first.page)).claims()?.sub).toBe(member.sub)
    const moved = await room.come('carla', elsewhere)
    expect([moved.page.params.has('code'), moved.page.status]).toEqual([false, 400])
  })

  it('a session from before signs in to nothing any more, and its owner changes neither password nor address', async () => {
    const { browser } = weak
    const request = await authorization(room.target.client, CALLBACK, { prompt: 'none' })
    expect((await browser.get(request.url)).params.get('error')).toBe('login_required')
    const page = await room.target.open(browser)
    expect([stepOf(page), page.text.includes(weak.email)]).toEqual(['upstream', true])
    // Whoever was on the account pages is asked for the provider, too.
    const account = await keyholder.browser.get(`${room.target.issuer}/account`)
    expect([stepOf(account), account.text.includes(keyholder.email)]).toEqual(['upstream', true])
  })

  it('a refresh token from before rests, and one of the provider serves', async () => {
    await expect(refresh(kept)).rejects.toMatchObject({ error: 'invalid_grant' })
    const { browser } = await room.come('carla', { email: member.email, email_verified: true })
    expect(await refresh(await refresh(await offline(browser)))).not.toBe('')
    await expect(refresh(kept)).rejects.toMatchObject({ error: 'invalid_grant' })
  })

  it('the provider signs in, and the account pages leave password and address to the organisation', async () => {
    const { request, page, browser } = await room.come('weak', { email: weak.email, email_verified: true })
    expect((await redeem(room.target.client, request, page)).claims()?.sub).toBe(weak.sub)
    for (const path of ['/account/password', '/account/email']) {
      const start = await browser.get(`${room.target.issuer}${path}`)
      const fresh = room.isAtProvider(start) || stepOf(start) !== undefined ? await through(browser, start) : start
      expect([path, fresh.status]).toEqual([path, 403])
      expect(fresh.text).toContain('Your organisation looks after')
    }
  })

  /** A fresh authentication, at the provider, for an account page. */
  async function through(browser: Browser, page: Page) {
    const away = room.isAtProvider(page) ? page : await browser.submit(page, {}, { form: '/upstream' })
    return room.comeBack(browser, away)
  }

  it('nobody takes an address of it from another domain', async () => {
    const { browser } = await room.target.signUp('outside@elsewhere.example')
    const page = await browser.get(`${room.target.issuer}/account/email`)
    const end = await browser.submit(page, { email: 'new@closed.example' }, { form: '/account/email' })
    expect([end.status, await room.mailsTo('new@closed.example')]).toEqual([400, []])
    expect(end.text).toContain('Addresses of this organisation sign in with a service of their own.')
  })

  it('the break-glass account signs in by its own methods, all of them, and is told of it', async () => {
    const { browser, page } = await stand(glass.email)
    const own = await browser.submit(page, {}, { form: '/realm' })
    const second = await browser.submit(own, { password: PASSWORD }, { form: '/password' })
    expect(stepOf(second)).toBe('totp')
    await clock.later(30)
    const end = await browser.submit(second, { code: glass.app.code(clock.now()) }, { form: '/totp' })
    expect(end.params.has('code')).toBe(true)
    expect(await room.facts('realm.break_glass_used')).toMatchObject([
      { account_id: glass.sub, data: { domain: 'closed.example', upstream: 'acme' } },
    ])
    expect(await room.mailsTo(glass.email)).toContain('Your Genkan emergency account was used')
  })

  it('a break-glass account with a passkey needs nothing else', async () => {
    expect((await room.run('break-glass', 'closed.example', keyholder.email)).code).toBe(0)
    const browser = room.person()
    const codes = await showPasskey(browser, await passkeyPage(room.target, browser), key())
    // It has a second factor to lose from now on.
    expect(stepOf(codes)).toBe('new_recovery_codes')
    const end = await browser.submit(codes, {}, { form: '/new_recovery_codes' })
    expect(end.params.has('code')).toBe(true)
    expect((await room.facts('realm.break_glass_used')).map((fact) => fact.account_id)).toEqual([
      glass.sub,
      keyholder.sub,
    ])
    const { browser: other, page } = await stand(keyholder.email)
    const own = await other.submit(page, {}, { form: '/realm' })
    const second = await other.submit(own, { password: PASSWORD }, { form: '/password' })
    expect([second.params.has('code'), stepOf(second)]).toEqual([false, 'passkey'])
  })

  it('the break-glass account is one of all once it is none any more', async () => {
    expect((await room.run('break-glass', 'closed.example', glass.email, '--remove')).code).toBe(0)
    const { browser, page } = await stand(glass.email)
    const own = await browser.submit(page, {}, { form: '/realm' })
    expect((await browser.submit(own, { password: PASSWORD }, { form: '/password' })).status).toBe(400)
  })

  it('is open again once the realm is removed', async () => {
    expect((await room.run('remove', 'closed.example')).code).toBe(0)
    const { browser, page } = await room.type(member.email)
    expect((await browser.submit(page, { password: PASSWORD }, { form: '/password' })).params.has('code')).toBe(true)
    expect(await refresh(kept)).not.toBe('')
  })
})
