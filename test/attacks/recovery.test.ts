/** What A may try with codes by mail: recovery, verification and change of address (A10, A21-A26, A28-A30). */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as oidc from 'openid-client'
import type { Browser, Page } from '../support/browser.ts'
import { choose, PASSWORD, signIn } from '../support/journeys.ts'
import { codeFrom, isArrival, linkFrom } from '../support/mailbox.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { type Member, OWN, startTarget, type Target } from '../support/target.ts'

const FRESH = 'seven paper lanterns 19'

let target: Target
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target?.close())

/** Begins a recovery; ends on the page that asks for the code. */
async function beginRecovery(browser: Browser, email: string): Promise<Page> {
  const start = await target.open(browser, { login_hint: email, prompt: 'login' })
  return browser.submit(await choose(browser, start, 'recover'), { identifier: email }, { form: '/recover' })
}

async function signsIn(email: string, password: string): Promise<boolean> {
  const browser = target.person()
  const end = await signIn(browser, await target.open(browser), email, password)
  return end.params.has('code')
}

const asksNewPassword = ({ forms }: Page) => forms.some(({ action }) => action.endsWith('/new_password'))

/** Everything that a refused attempt must leave as it was. */
async function rows(): Promise<string> {
  const state = await target.sql(
    `select a.id, a.email_hash, a.email_verified_at, a.state, a.epoch, p.hash from accounts a
     left join passwords p on p.account_id = a.id order by a.id`,
  )
  return createHash('sha256').update(JSON.stringify(state)).digest('hex')
}

function fields(page: Page, form: string): { [name: string]: string } {
  const found = page.forms.find(({ action }) => action.endsWith(form))
  return Object.fromEntries((found?.fields ?? []).map(({ name, value }) => [name, value]))
}

/** How many mails there are to an address by now, as `Mailbox.to` counts them: an arrival's may come at any time. */
async function mailsTo(email: string): Promise<number> {
  return (await target.mailbox.all()).filter((mail) => mail.to.includes(email) && !isArrival(mail)).length
}

describe('A21: the new-password form without the mailed code', () => {
  it('no way through the pages leads there: every step, back, another tab, a restart', async () => {
    const { email } = await target.signUp('a21@shop.example')
    const browser = target.person()
    const page = await beginRecovery(browser, email)
    const { origin, pathname } = new URL(page.url)
    const { csrf = '' } = fields(page, '/recover_code')
    const steps = [
      'identifier',
      'password',
      'register',
      'recover',
      'recover_code',
      'new_password',
      'verify_email',
      'email_code',
    ]
    const more = ['choose_account', 'switch_account', 'consent', 'switch']
    const everything = { identifier: email, email, password: FRESH, action: 'continue', shared: 'yes' }
    const before = await rows()
    const seen: Page[] = []
    const visit = async () => {
      for (const step of [...steps, ...more]) {
        seen.push(await browser.get(`${origin}${pathname}/${step}`))
        seen.push(await browser.get(`${origin}${pathname}/${step}?code=000000`, page))
      }
      for (const step of steps.filter((name) => name !== 'register')) {
        seen.push(await browser.post(`${origin}${pathname}/${step}`, { csrf, ...everything }))
      }
      for (const to of [
        'login',
        'create',
        'recover',
        'identifier',
        'new_password',
        'recover_code',
        'email_code',
        'recover',
      ]) {
        seen.push(await browser.post(`${origin}${pathname}/switch`, { csrf, to }))
        seen.push(await browser.post(`${origin}${pathname}/new_password`, { csrf, ...everything }))
        seen.push(await browser.post(`${origin}${pathname}/recover`, { csrf, identifier: email }))
        seen.push(await browser.post(`${origin}${pathname}/new_password`, { csrf, ...everything, code: '' }))
      }
      // Another tab of the same browser, with a conversation of its own.
      const other = await beginRecovery(browser, email)
      seen.push(await browser.post(`${other.url}/new_password`, { csrf, ...everything }))
    }
    await visit()
    await target.server.restart()
    await visit()
    expect(seen.filter(asksNewPassword)).toEqual([])
    expect(seen.filter(({ status }) => status >= 500)).toEqual([])
    expect(
      seen.filter(({ params }) => params.has('code') && !params.has('error') && params.get('code')?.length !== 6),
    ).toEqual([])
    expect(await rows()).toBe(before)
    expect(await signsIn(email, PASSWORD)).toBe(true)
  })

  it('twin: the mailed code does', async () => {
    const { email } = await target.signUp('a21-twin@shop.example')
    const browser = target.person()
    const page = await beginRecovery(browser, email)
    const code = codeFrom(await target.mailbox.to(email, { count: 2 }))
    const form = await browser.submit(page, { code }, { form: '/recover_code' })
    expect(asksNewPassword(form)).toBe(true)
    await browser.submit(form, { password: FRESH }, { form: '/new_password' })
    expect(await signsIn(email, FRESH)).toBe(true)
    expect(await signsIn(email, PASSWORD)).toBe(false)
  })
})

describe('A22: blank codes', () => {
  const blanks = [
    'code=',
    '',
    'code',
    'code=null',
    'code=undefined',
    'code[]=',
    'code=[]',
    'code=%5B%22%22%5D',
    'code=0',
  ]
  const more = ['code=%00', 'code=false', 'code={}', 'code=%20%20', 'code=-', 'code=000000', 'code=NaN', 'code=&code=']

  it('prove no mailbox in registration, recovery or change of address', async () => {
    const { email, browser: owner } = await target.signUp('a22@shop.example')
    const recovering = target.person()
    const recovery = await beginRecovery(recovering, email)
    const registering = target.person()
    const start = await target.open(registering, { prompt: 'create' })
    const verify = await registering.submit(
      start,
      { email: 'a22-new@shop.example', password: FRESH },
      { form: '/register' },
    )
    const change = await owner.get(`${target.issuer}/account/email`)
    const changing = await owner.submit(change, { email: 'a22-moved@shop.example' }, { form: '/account/email' })
    const before = await rows()
    for (const [browser, page, path] of [
      [recovering, recovery, '/recover_code'],
      [registering, verify, '/verify_email'],
      [owner, changing, '/account/email/code'],
    ] as const) {
      const { csrf = '' } = fields(page, path)
      const action = page.forms.find((form) => form.action.endsWith(path))?.action ?? ''
      for (const blank of [...blanks, ...more]) {
        const answer = await browser.send(new URL(action, page.url).href, {
          method: 'POST',
          from: page.url,
          body: `csrf=${encodeURIComponent(csrf)}&${blank}`,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        })
        expect({ path, blank, refused: [400, 429].includes(answer.status) }).toEqual({ path, blank, refused: true })
      }
    }
    expect(await rows()).toBe(before)
  })
})

describe('A23: a code and another address', () => {
  it("A's code does not recover V, and V's page does not take A's code", async () => {
    const [victim, attacker] = [await target.signUp('a23-v@shop.example'), await target.signUp('a23-a@shop.example')]
    const own = target.person()
    const ownPage = await beginRecovery(own, attacker.email)
    const code = codeFrom(await target.mailbox.to(attacker.email, { count: 2 }))
    const other = target.person()
    const otherPage = await beginRecovery(other, victim.email)
    await target.mailbox.to(victim.email, { count: 2 })
    expect(asksNewPassword(await other.submit(otherPage, { code }, { form: '/recover_code' }))).toBe(false)
    // The form may say what it wants: the code proves A's mailbox only.
    const { csrf = '' } = fields(ownPage, '/recover_code')
    const claim = {
      identifier: victim.email,
      email: victim.email,
      to: victim.email,
      account: victim.sub,
      accountId: victim.sub,
    }
    const form = await own.post(`${ownPage.url}/recover_code`, { csrf, code, ...claim })
    expect(asksNewPassword(form)).toBe(true)
    await own.post(`${ownPage.url}/new_password`, { csrf, password: FRESH, ...claim })
    expect(await signsIn(attacker.email, FRESH)).toBe(true)
    expect(await signsIn(victim.email, PASSWORD)).toBe(true)
    expect(await signsIn(victim.email, FRESH)).toBe(false)
  })

  it('a proven mailbox is forgotten when the conversation turns to V', async () => {
    const [victim, attacker] = [await target.signUp('a23-w@shop.example'), await target.signUp('a23-b@shop.example')]
    const browser = target.person()
    const page = await beginRecovery(browser, attacker.email)
    const code = codeFrom(await target.mailbox.to(attacker.email, { count: 2 }))
    const form = await browser.submit(page, { code }, { form: '/recover_code' })
    const { csrf = '' } = fields(form, '/new_password')
    const turned = await browser.post(`${page.url}/switch`, { csrf, to: 'recover' })
    await browser.submit(turned, { identifier: victim.email }, { form: '/recover' })
    const end = await browser.post(`${page.url}/new_password`, { csrf, password: FRESH })
    expect(asksNewPassword(end)).toBe(false)
    expect(await signsIn(victim.email, PASSWORD)).toBe(true)
  })
})

/** At the page that asks for the code, with the code. */
async function coded(email: string): Promise<{ browser: Browser; page: Page; code: string }> {
  const browser = target.person()
  const before = await mailsTo(email)
  const page = await beginRecovery(browser, email)
  return { browser, page, code: codeFrom(await target.mailbox.to(email, { count: before + 1 })) }
}

describe('A10: a change of the address that waits for its code', () => {
  it('is over once the owner has recovered the account, in every browser', async () => {
    const { email, sub } = await target.signUp('a10@shop.example')
    const evil = 'a10-evil@thief.example'
    // Somebody has the password.
    const thief = target.person()
    await signIn(thief, await thief.get(`${target.issuer}/account`), email)
    const change = await thief.get(`${target.issuer}/account/email`)
    const asked = await thief.submit(change, { email: evil }, { form: '/account/email' })
    const evilCode = codeFrom(await target.mailbox.to(evil))
    const { browser, page, code } = await coded(email)
    const form = await browser.submit(page, { code }, { form: '/recover_code' })
    await browser.submit(form, { password: FRESH }, { form: '/new_password' })

    await thief.submit(asked, { code: evilCode }, { form: '/account/email/code' })
    const again = target.person()
    await signIn(again, await again.get(`${target.issuer}/account`), email, FRESH)
    const own = await again.get(`${target.issuer}/account/email`)
    expect(own.text).toContain(email)
    expect(own.text).not.toContain(evil)
    expect((await target.personal(sub))?.email).toBe(email)
    expect([await signsIn(email, FRESH), await signsIn(evil, FRESH), await signsIn(evil, PASSWORD)]).toEqual([
      ...[true, false, false],
    ])
  })

  it('twin: the code changes it as long as nobody has', async () => {
    const { email, sub, browser } = await target.signUp('a10-twin@shop.example')
    const moved = 'a10-moved@shop.example'
    const change = await browser.get(`${target.issuer}/account/email`)
    const asked = await browser.submit(change, { email: moved }, { form: '/account/email' })
    const code = codeFrom(await target.mailbox.to(moved))
    await browser.submit(asked, { code }, { form: '/account/email/code' })
    expect([email, (await target.personal(sub))?.email]).toEqual(['a10-twin@shop.example', moved])
  })
})

describe('A24: a recovery code is good for one password', () => {
  it('twice, one after the other', async () => {
    const { email } = await target.signUp('a24-twice@shop.example')
    const { browser, page, code } = await coded(email)
    const form = await browser.submit(page, { code }, { form: '/recover_code' })
    const { csrf = '' } = fields(form, '/new_password')
    await browser.submit(form, { password: FRESH }, { form: '/new_password' })
    await browser.post(`${page.url}/recover_code`, { csrf, code })
    const again = await browser.post(`${page.url}/new_password`, { csrf, password: `${FRESH} again` })
    expect(asksNewPassword(again)).toBe(false)
    expect(await signsIn(email, FRESH)).toBe(true)
    expect(await signsIn(email, `${FRESH} again`)).toBe(false)
  })

  it('20 times at once: one password at most', async () => {
    const { email } = await target.signUp('a24-at-once@shop.example')
    const { browser, page, code } = await coded(email)
    const { csrf = '' } = fields(page, '/recover_code')
    const many = Array.from({ length: 20 }, (_, i) => i)
    const proven = await Promise.all(many.map(() => browser.post(`${page.url}/recover_code`, { csrf, code })))
    expect(proven.filter(({ status }) => status >= 500)).toEqual([])
    const set = await Promise.all(
      many.map((i) => browser.post(`${page.url}/new_password`, { csrf, password: `${FRESH} ${i}` })),
    )
    expect(set.filter(({ status }) => status >= 500 && status !== 503)).toEqual([])
    const changes = await target.sql(
      `select o.id from outbox o join accounts a on a.id = o.account_id where o.type = 'account.password_changed' and a.email_hash = $1`,
      [await target.emailHash(email)],
    )
    expect(changes).toHaveLength(1)
    await target.server.shiftDate(0)
    let works = 0
    for (const i of many.slice(0, 9)) if (await signsIn(email, `${FRESH} ${i}`)) works++
    expect(works).toBeLessThanOrEqual(1)
  })

  it('after a newer one', async () => {
    const { email } = await target.signUp('a24-newer@shop.example')
    const { browser, page, code } = await coded(email)
    await target.server.shiftDate(60)
    const resend = page.forms.findIndex(({ fields: all }) => all.some(({ value }) => value === 'resend'))
    const newer = await browser.submit(page, {}, { form: resend })
    const second = codeFrom(await target.mailbox.to(email, { count: 3 }))
    if (second === code) return
    expect(asksNewPassword(await browser.submit(newer, { code }, { form: '/recover_code' }))).toBe(false)
    expect(asksNewPassword(await browser.submit(newer, { code: second }, { form: '/recover_code' }))).toBe(true)
    await target.server.shiftDate(0)
  })

  it('after ten minutes', async () => {
    const { email } = await target.signUp('a24-late@shop.example')
    const { browser, page, code } = await coded(email)
    await target.server.shiftDate(601)
    expect(asksNewPassword(await browser.submit(page, { code }, { form: '/recover_code' }))).toBe(false)
    await target.server.shiftDate(0)
    expect(asksNewPassword(await browser.submit(page, { code }, { form: '/recover_code' }))).toBe(true)
  })

  it('after a change of the password, also between the code and the new password', async () => {
    const { email, browser: owner } = await target.signUp('a24-password@shop.example')
    const [late, later] = [await coded(email), await coded(email)]
    const form = await later.browser.submit(later.page, { code: later.code }, { form: '/recover_code' })
    const page = await owner.get(`${target.issuer}/account/password`)
    await owner.submit(page, { current: PASSWORD, password: FRESH }, { form: '/account/password' })
    expect(asksNewPassword(await late.browser.submit(late.page, { code: late.code }, { form: '/recover_code' }))).toBe(
      false,
    )
    await later.browser.submit(form, { password: `${FRESH} of the thief` }, { form: '/new_password' })
    expect(await signsIn(email, `${FRESH} of the thief`)).toBe(false)
    expect(await signsIn(email, FRESH)).toBe(true)
  })

  it('after a change of the address', async () => {
    const { email, browser: owner } = await target.signUp('a24-address@shop.example')
    const [late, later] = [await coded(email), await coded(email)]
    const form = await later.browser.submit(later.page, { code: later.code }, { form: '/recover_code' })
    const moved = 'a24-moved@shop.example'
    const asked = await owner.submit(
      await owner.get(`${target.issuer}/account/email`),
      { email: moved },
      { form: '/account/email' },
    )
    const done = await owner.submit(
      asked,
      { code: codeFrom(await target.mailbox.to(moved)) },
      { form: '/account/email/code' },
    )
    expect(done.text).toContain(moved)
    expect(asksNewPassword(await late.browser.submit(late.page, { code: late.code }, { form: '/recover_code' }))).toBe(
      false,
    )
    await later.browser.submit(form, { password: FRESH }, { form: '/new_password' })
    expect(await signsIn(moved, FRESH)).toBe(false)
    expect(await signsIn(moved, PASSWORD)).toBe(true)
  })

  it('a code that proved a new address recovers nothing', async () => {
    const email = 'a24-verify@shop.example'
    const browser = target.person()
    const start = await target.open(browser, { prompt: 'create' })
    await browser.submit(start, { email, password: PASSWORD }, { form: '/register' })
    const code = codeFrom(await target.mailbox.to(email))
    const recovery = await beginRecovery(target.person(), email)
    const page = await beginRecovery(browser, email)
    const newest = codeFrom(await target.mailbox.to(email, { count: 3 }))
    expect(recovery.status).toBe(200)
    if (newest !== code)
      expect(asksNewPassword(await browser.submit(page, { code }, { form: '/recover_code' }))).toBe(false)
  })
})

describe('A25: two change requests', () => {
  it('only the mailbox that got the code is confirmed, however requests and confirmations interleave', async () => {
    const { browser, sub } = await target.signUp('a25@shop.example')
    const [evil, victim] = ['a25-evil@shop.example', 'a25-victim@shop.example']
    const url = `${target.issuer}/account/email`
    const { csrf = '' } = fields(await browser.get(url), '/account/email')
    await browser.post(url, { csrf, email: evil })
    const first = codeFrom(await target.mailbox.to(evil))
    await browser.post(url, { csrf, email: victim })
    await target.mailbox.to(victim)
    const refused = await browser.post(`${url}/code`, { csrf, code: first })
    expect(refused.status).toBe(400)
    for (let round = 0; round < 5; round++) {
      const mine = `a25-evil-${round}@shop.example`
      await browser.post(url, { csrf, email: mine })
      const code = codeFrom(await target.mailbox.to(mine))
      await Promise.all([
        browser.post(url, { csrf, email: victim }),
        browser.post(`${url}/code`, { csrf, code }),
        browser.post(url, { csrf, email: victim }),
        browser.post(`${url}/code`, { csrf, code }),
      ])
      expect((await target.personal(sub))?.email).not.toBe(victim)
    }
  })

  it('a registration that is corrected to V is not proven by the code of the first address', async () => {
    const [evil, victim] = ['a25-mine@shop.example', 'a25-yours@shop.example']
    const browser = target.person()
    const start = await target.open(browser, { prompt: 'create' })
    const page = await browser.submit(start, { email: evil, password: PASSWORD }, { form: '/register' })
    const code = codeFrom(await target.mailbox.to(evil))
    const { csrf = '' } = fields(page, '/verify_email')
    const [corrected] = await Promise.all([
      browser.post(`${page.url}/verify_email`, { csrf, action: 'change', email: victim }),
      browser.post(`${page.url}/verify_email`, { csrf, action: 'change', email: victim }),
    ])
    expect(corrected?.text).toContain(victim)
    const end = await browser.post(`${page.url}/verify_email`, { csrf, code })
    expect(end.params.has('code')).toBe(false)
    expect(
      await target.sql('select 1 from accounts where email_hash = $1 and email_verified_at is not null', [
        await target.emailHash(victim),
      ]),
    ).toEqual([])
  })
})

describe('A26: proving an address by saying so', () => {
  const SPELLINGS = [
    'email_verified',
    'emailVerified',
    'email_verified_at',
    'emailVerifiedAt',
    'verified',
    'isVerified',
  ]
  const PHONE = ['phone_number_verified', 'phoneNumberVerified', 'phone_verified']

  it('neither registration nor the profile takes it', async () => {
    const claims = Object.fromEntries([...SPELLINGS, ...PHONE].map((name) => [name, 'true']))
    const browser = target.person()
    const start = await target.open(browser, { prompt: 'create' })
    const { csrf = '' } = fields(start, '/register')
    const email = 'a26-unproven@shop.example'
    const url = new URL(start.forms.find(({ action }) => action.endsWith('/register'))?.action ?? '', start.url).href
    const page = await browser.post(url, { csrf, email, password: PASSWORD, ...claims, state: 'active' })
    expect(page.forms.some(({ action }) => action.endsWith('/verify_email'))).toBe(true)
    const [row] = await target.sql<{ id: string; state: string; email_verified_at: Date | null }>(
      'select id, state, email_verified_at from accounts where email_hash = $1',
      [await target.emailHash(email)],
    )
    expect(row).toMatchObject({ state: 'pending', email_verified_at: null })
    expect(await target.personal(row?.id ?? '')).toEqual({ email, profile: {} })

    const member = await target.signUp('a26@shop.example')
    const profile = await member.browser.get(`${target.issuer}/account/profile`)
    const form = {
      ...fields(profile, '/account/profile'),
      phone_number: '+358401234567',
      email: 'boss@shop.example',
      ...claims,
    }
    expect((await member.browser.post(`${target.issuer}/account/profile`, form)).status).toBe(200)
    const userinfo = await oidc.fetchUserInfo(target.client, member.tokens.access_token, member.sub)
    expect(userinfo).toMatchObject({ email: 'a26@shop.example', email_verified: true })
    expect(await target.personal(member.sub)).toEqual({
      email: 'a26@shop.example',
      profile: { phone_number: '+358401234567' },
    })
  })
})

/** Addresses that two parsers read in two ways; the last ones are good and must arrive. */
const HOSTILE = [
  'victim@shop.example,evil@evil.example',
  'victim@shop.example;evil@evil.example',
  '"evil@evil.example x"@shop.example',
  '"evil@evil.example"@shop.example',
  'evil@evil.example(comment)@shop.example',
  'victim(evil@evil.example)@shop.example',
  'victim@shop.example(evil)',
  'victim＠shop.example',
  'victim@evil.example＠shop.example',
  'victim@shop.example\r\nRCPT TO:<evil@evil.example>',
  'victim@shop.example\nBcc: evil@evil.example',
  'victim@shop.example%0aBcc:evil@evil.example',
  'victim @shop.example',
  'vic tim@shop.example',
  'victim@@shop.example',
  'victim@evil.example@shop.example',
  '<evil@evil.example> victim@shop.example',
  'victim@shop.example <evil@evil.example>',
  'Victim <victim@shop.example>',
  'evil@evil.example:victim@shop.example',
  '@evil.example:victim@shop.example',
  'victim%evil.example@shop.example',
  'evil.example!victim@shop.example',
  '=?utf-8?q?evil=40evil.example?=@shop.example',
  'victim@[127.0.0.1]',
  'victim@[IPv6:::1]',
  'victim@shop.example.',
  'victim@.shop.example',
  'victim@shop..example',
  '.victim@shop.example',
  'victim.@shop.example',
  'vic..tim@shop.example',
  'victim@localhost',
  'victim@-shop.example',
  'victim@shop.example\u0000',
  'vic\u200dtim@shop.example',
  'victim@shop\u00adx.example',
  '\u202evictim@shop.example',
  'victim@shop。example',
  'víctim@shop.example',
  'victim@shöp.example',
  'VICTIM@SHOP.EXAMPLE',
  '\tvictim@shop.example ',
  'victim+tag@shop.example',
  "o'victim@shop.example",
  `${'a'.repeat(65)}@shop.example`,
  `victim@${'a'.repeat(64)}.example`,
  `victim@${'a.'.repeat(130)}example`,
]

describe(sampleTitle('A28: hostile addresses'), () => {
  it('are refused, or RCPT TO is exactly the one stored address', async () => {
    const since = target.mailbox.recipients().length
    const accepted: string[] = []
    const addresses = [...sample(HOSTILE, { least: 12 }), 'VICTIM@SHOP.EXAMPLE', 'victim＠shop.example']
    for (const typed of addresses) {
      const browser = target.person()
      const start = await target.open(browser, { prompt: 'create' })
      const { csrf = '' } = fields(start, '/register')
      const { action = '' } = start.forms.find((form) => form.action.endsWith('/register')) ?? {}
      const answer = await browser.post(new URL(action, start.url).href, { csrf, email: typed, password: PASSWORD })
      const [row] = await target.sql<{ id: string }>('select id from accounts order by created_at desc limit 1')
      if (answer.status === 200) accepted.push((await target.personal(row?.id ?? ''))?.email ?? '')
      else expect([typed, answer.status]).toEqual([typed, 400])
    }
    await expect(target.mailbox.to('victim@shop.example')).resolves.toBeDefined()
    for (let wait = 0; wait < 100 && target.mailbox.recipients().length < since + accepted.length; wait++)
      await sleep(50)
    const recipients = target.mailbox.recipients().slice(since)
    expect(recipients.map((to) => to.length)).toEqual(recipients.map(() => 1))
    expect(recipients.flat().sort()).toEqual([...accepted].sort())
    for (const address of accepted) expect(address).toMatch(/^[a-z0-9'+]+@(shop|xn--shp-tna)\.example$/)
  })

  it('in recovery and in a change of address, too', async () => {
    const member = await target.signUp('a28@shop.example')
    const since = target.mailbox.recipients().length
    const browser = target.person()
    const page = await choose(browser, await target.open(browser, { login_hint: member.email }), 'recover')
    const url = `${target.issuer}/account/email`
    const { csrf = '' } = fields(await member.browser.get(url), '/account/email')
    const own = fields(page, '/recover').csrf ?? ''
    const hostile = HOSTILE.filter(
      (typed) => !/^[\tA-Z]|^victim\+|^o'|＠shop|shöp|。/.test(typed) || typed.includes('evil'),
    )
    for (const typed of sample(hostile, { least: 12 })) {
      const asked = await browser.post(`${page.url}/recover`, { csrf: own, identifier: typed })
      const changed = await member.browser.post(url, { csrf, email: typed })
      expect([typed, asked.status, changed.status]).toEqual([typed, 400, 400])
    }
    await sleep(200)
    expect(target.mailbox.recipients().slice(since)).toEqual([])
  })
})

describe('A29: markup in mails', () => {
  it('what a person says of themselves is inert in every mail', async () => {
    const markup = '<img src=x onerror=alert(1)><a href="https://evil.example/">Reset</a>'
    const member = await target.signUp('a29@shop.example')
    const profile = await member.browser.get(`${target.issuer}/account/profile`)
    await member.browser.submit(profile, { name: markup, nickname: markup }, { form: '/account/profile' })
    // A name with a line break is no name: it would begin a header.
    const { csrf = '' } = fields(profile, '/account/profile')
    const broken = await member.browser.post(`${target.issuer}/account/profile`, {
      ...fields(profile, '/account/profile'),
      csrf,
      name: 'Ada\r\nBcc: evil@evil.example',
    })
    expect(broken.status).toBe(400)
    const agent = target.person({ userAgent: `${markup} https://evil.example/` })
    const start = await signIn(agent, await agent.get(`${target.issuer}/account/password`), member.email)
    await agent.submit(start, { current: PASSWORD, password: FRESH }, { form: '/account/password' })
    await beginRecovery(agent, member.email)
    await target.mailbox.to(member.email, { count: 3 })
    const mails = (await target.mailbox.all()).filter(({ to }) => to.includes(member.email))
    for (const mail of mails) {
      for (const part of [mail.html, mail.text, mail.subject, JSON.stringify(mail.headers)]) {
        expect(part).not.toContain('evil.example')
        expect(part).not.toMatch(/<img src=x|onerror/)
      }
    }
  })
})

describe('A30: mail scanners', () => {
  it('GET and HEAD of a link consume nothing, with or without cookies; the button does', async () => {
    const email = 'a30@shop.example'
    const browser = target.person()
    const start = await target.open(browser, { prompt: 'create' })
    const page = await browser.submit(start, { email, password: PASSWORD }, { form: '/register' })
    const link = linkFrom(await target.mailbox.to(email), '/verify_email')
    const bot = target.person({ userAgent: 'SafeLinks/1.0' })
    const before = await rows()
    for (const method of ['GET', 'HEAD', 'OPTIONS']) {
      for (let times = 0; times < 3; times++) {
        expect((await bot.send(link, { method })).status).toBeLessThan(500)
        expect((await browser.send(link, { method })).status).toBeLessThan(500)
      }
    }
    expect((await bot.send(link, { method: 'POST', from: link })).status).toBeGreaterThanOrEqual(400)
    expect(await rows()).toBe(before)
    const opened = await browser.get(link, page)
    const end = await browser.submit(opened, {}, { form: '/verify_email' })
    expect(end.url.startsWith(`${OWN}/callback?code=`)).toBe(true)

    const recovering = target.person()
    await beginRecovery(recovering, email)
    const recovery = linkFrom(await target.mailbox.to(email, { count: 2 }), '/recover_code')
    for (const method of ['GET', 'HEAD']) await recovering.send(recovery, { method })
    for (const method of ['GET', 'HEAD']) await bot.send(recovery, { method })
    const form = await recovering.submit(await recovering.get(recovery), {}, { form: '/recover_code' })
    expect(asksNewPassword(form)).toBe(true)
  })

  it('in another browser the link shows the code to be typed, and proves nothing there', async () => {
    const victim: Member = await target.signUp('a30-elsewhere@shop.example')
    const browser = target.person()
    await beginRecovery(browser, victim.email)
    const mail = await target.mailbox.to(victim.email, { count: 2 })
    const elsewhere = await target.person().get(linkFrom(mail, '/recover_code'))
    expect(asksNewPassword(elsewhere)).toBe(false)
    expect(elsewhere.forms.map(({ action }) => action)).toEqual([expect.stringMatching(/\/language$/)])
    expect(elsewhere.text.replaceAll(' ', '')).toContain(codeFrom(mail))
  })
})
