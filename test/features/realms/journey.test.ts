/** Realms by the front door: the DNS is a server on loopback, the provider an independent one in a process of its own. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../../support/browser.ts'
import { type DnsStub, startDnsStub } from '../../support/dns_stub.ts'
import { authorization, choose, PASSWORD, redeem, signIn } from '../../support/journeys.ts'
import { addPasskey, authenticatorOf, passkeyPage, showPasskey } from '../../support/passkey_people.ts'
import { stepOf } from '../../support/people.ts'
import { type Clock, clockOf, type Protected, signUpWithApp } from '../../support/second_factors.ts'
import { CALLBACK, type Member } from '../../support/target.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../../support/upstreams.ts'

let room: UpstreamRoom
let dns: DnsStub
let clock: Clock
let published: { readonly [name: string]: readonly (readonly string[])[] } = {}

beforeAll(async () => {
  dns = await startDnsStub()
  room = await startUpstreamRoom({
    others: [{ name: 'other', title: 'Other', trusted_domains: ['closed.example', 'routed.example'] }],
    settings: {
      dns_servers: [dns.server],
      realms: [
        { domain: 'Declared.Example', upstream: 'acme', policy: 'offer', break_glass: ['nobody@declared.example'] },
      ],
    },
  })
  clock = clockOf(room.target)
})
afterAll(async () => {
  await room?.close()
  await dns?.close()
})
beforeEach(async () => {
  dns.answer('well')
  await room.fake.tell({ reset: true, automatic: 'continue' })
})

const run = (...command: string[]) => room.target.server.run('realms', ...command)
const publish = (records: typeof published) => {
  published = { ...published, ...records }
  dns.set(published)
}

/** Makes a realm and proves it. */
async function prove(domain: string, ...options: string[]) {
  const { stdout } = await run('add', domain, '--upstream', 'acme', ...options)
  const [, name = '', value = ''] = /publish (\S+) TXT "(\S+)"/.exec(stdout) ?? []
  publish({ [name]: [[value]] })
  expect(await run('prove', domain)).toMatchObject({ code: 0, stdout: `${domain} is proven\n` })
}

/** Types an address on the first page. */
async function type(email: string, browser = room.person()) {
  const page = await browser.submit(await room.target.open(browser), { identifier: email }, { form: '/identifier' })
  return { browser, page }
}

/** From the first page through a provider. */
async function come(account: string, claims: object, provider = 'acme', browser: Browser = room.person()) {
  await room.fake.tell({ account, claims: claims as { [claim: string]: unknown } })
  const request = await authorization(room.target.client, CALLBACK, { scope: 'openid email profile' })
  const page = await room.through(browser, await browser.get(request.url), provider)
  return { browser, request, page }
}

const facts = (type: string) =>
  room.target.sql<{ account_id: string; data: { domain: string } }>('select * from outbox where type = $1', [type])
const mailsTo = async (email: string) => {
  await room.target.settled()
  return (await room.target.mailbox.all()).filter(({ to }) => to.includes(email)).map(({ subject }) => subject)
}
const isAtProvider = (page: Page) => page.url.startsWith(room.fake.issuer)

describe('a domain that nobody has proven', () => {
  let member: Member
  let record: { name: string; value: string }
  beforeAll(async () => {
    member = await room.target.signUp('anna@routed.example')
    await run('add', 'Routed.example', '--upstream', 'acme')
    const list = JSON.parse((await run('list', '--json')).stdout) as { domain: string; record: typeof record }[]
    record = list.find(({ domain }) => domain === 'routed.example')?.record ?? record
    expect(record.name).toBe('_genkan.routed.example')
  })
  const isUnproven = async () => {
    const { page } = await type(member.email)
    expect(stepOf(page)).toBe('password')
  }

  it('leads nobody, and its provider vouches for nobody in it (A11)', async () => {
    await isUnproven()
    const { page } = await come('anna', { email: member.email, email_verified: true })
    expect(stepOf(page)).toBe('upstream_account')
    expect(page.forms[0]?.fields.some(({ name }) => name === 'email')).toBe(true)
  })

  it.each([
    ['nothing', {}, /no such record/],
    ['the token of another', { '_genkan.routed.example': [[`genkan-domain=${'x'.repeat(43)}`]] }, /another value/],
    ['a wildcard', { '*.routed.example': [['v=spf1 -all']] }, /another value/],
  ])('is not proven by %s', async (_, records, reason) => {
    dns.set(records)
    const { code, stderr } = await run('prove', 'routed.example')
    expect([code, reason.test(stderr)]).toEqual([1, true])
    await isUnproven()
  })

  it('is not proven while the DNS is away', async () => {
    dns.answer('servfail')
    const { code, stderr } = await run('prove', 'routed.example')
    expect([code, stderr]).toEqual([1, expect.stringContaining('did not answer')])
    await isUnproven()
  })

  it('is said to be so by genkan doctor', async () => {
    const { stdout } = await room.target.server.run('doctor')
    const line = stdout.split('\n').find((each) => each.includes('realms'))
    expect(line).toContain(`routed.example is not proven: publish ${record.name} TXT "${record.value}"`)
    expect(line).toContain('declared.example is not proven')
  })

  it('is proven by the value, in whatever pieces, once', async () => {
    publish({ [record.name]: [['v=other'], [record.value.slice(0, 9), record.value.slice(9)]] })
    for (const _ of [1, 2]) expect((await run('prove', 'routed.example')).stdout).toBe('routed.example is proven\n')
    expect((await facts('realm.verified')).filter(({ data }) => data.domain === 'routed.example')).toHaveLength(1)
    expect(isAtProvider((await type(member.email)).page)).toBe(true)
  })

  it("is not a command's to change when it is declared", async () => {
    for (const command of [
      ['remove', 'declared.example'],
      ['add', 'declared.example', '--upstream', 'acme'],
    ]) {
      expect((await run(...command)).stderr).toContain('is declared')
    }
    expect((await run('add', 'x.example', '--upstream', 'nobody')).stderr).toContain('there is no upstream nobody')
    expect((await run('add', 'x', '--upstream', 'acme')).stderr).toContain('must be an e-mail domain')
  })
})

describe('a proven domain that leads to its provider', () => {
  it('leads known and unknown addresses there alike, and names them', async () => {
    const emails = ['anna@routed.example', 'nobody@routed.example']
    const names: string[][] = []
    for (const email of emails) names.push([...(await type(email)).page.params.keys()].sort())
    expect(names[0]).toEqual(names[1])
    const { requests } = await room.fake.seen()
    const hints = requests.flatMap(({ body }) => body?.login_hint ?? [])
    expect(hints).toEqual(emails)
    expect(isAtProvider((await type('Anna@ROUTED.example')).page)).toBe(true)
    expect(stepOf((await type('anna@www.routed.example')).page)).toBe('password')
  })

  it('signs in whom the provider verifies there, linked without asking', async () => {
    const [{ account_id: sub } = { account_id: '' }] = await facts('account.registered')
    const { request, page } = await come('anna', { email: 'anna@routed.example', email_verified: true })
    expect((await redeem(room.target.client, request, page)).claims()?.sub).toBe(sub)
  })

  it('A11: its provider vouches for no address of another domain', async () => {
    const boss = await room.target.signUp('boss@org1.example')
    const { browser, page } = await come('mallory', { email: boss.email, email_verified: true })
    expect(stepOf(page)).toBe('upstream_account')
    const waiting = await browser.submit(page, {}, { form: '/upstream_account' })
    expect(stepOf(waiting)).toBe('verify_email')
    const rows = await room.target.sql('select 1 from identities where account_id = $1', [boss.sub])
    expect(rows).toEqual([])
  })

  it('still lets whoever comes back take another way', async () => {
    const { email } = await room.target.signUp('berta@routed.example')
    const { browser, page: away } = await type(email)
    await room.fake.tell({ automatic: 'access_denied' })
    const back = await room.comeBack(browser, away)
    expect([back.status, back.forms.some(({ action }) => action.endsWith('/upstream'))]).toEqual([400, true])
    expect(back.text).toContain('routed.example')
    const end = await signIn(browser, await choose(browser, back, 'password'), email)
    expect(end.params.has('code')).toBe(true)
  })

  it('offers the provider beside the own methods under the policy offer', async () => {
    await run('add', 'routed.example', '--upstream', 'acme', '--policy', 'offer')
    const { page } = await type('anna@routed.example')
    expect(stepOf(page)).toBe('password')
    expect(page.text).toContain('Continue with Acme')
    await run('add', 'routed.example', '--upstream', 'acme')
  })
})

describe('a domain that is closed to everything but its provider', () => {
  const UNKNOWN = 'nobody@closed.example'
  let member: Member
  let keyholder: Member
  let glass: Protected
  let weak: Member
  const key = () => passkey
  let passkey: ReturnType<typeof authenticatorOf>

  beforeAll(async () => {
    const { target } = room
    member = await target.signUp('carla@closed.example')
    keyholder = await target.signUp('kim@closed.example')
    weak = await target.signUp('weak@closed.example')
    passkey = authenticatorOf(target)
    await keyholder.browser.get(`${target.issuer}/account/passkeys/new`)
    await addPasskey(target, keyholder.browser, passkey)
    glass = await signUpWithApp(target, clock, 'glass@closed.example')
    const linked = await come('carla-elsewhere', { email: member.email, email_verified: true }, 'other')
    expect(linked.page.params.has('code')).toBe(true)
    await prove('closed.example', '--policy', 'enforce')
    expect((await run('break-glass', 'closed.example', weak.email)).stderr).toContain('no second factor')
    expect((await run('break-glass', 'closed.example', 'boss@org1.example')).stderr).toContain('no proven address')
    expect((await run('break-glass', 'closed.example', glass.email)).code).toBe(0)
  })

  /** Where the browser stands after the provider was left alone. */
  async function stand(email: string) {
    const { browser, page: away } = await type(email)
    expect(isAtProvider(away)).toBe(true)
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
      const mails = (await mailsTo(email)).length
      const { browser, page } = await stand(email)
      const end = await attempt(browser, page, email)
      expect([name, end.params.has('code'), (await mailsTo(email)).length]).toEqual([name, false, mails])
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
    const before = await come('carla-elsewhere', { email: member.email, email_verified: true }, 'other')
    expect([before.page.params.has('code'), before.page.status]).toEqual([false, 400])
    expect(before.page.text).toContain('Your organisation signs you in with another service.')
    const fresh = await come('weak-elsewhere', { email: weak.email, email_verified: true }, 'other')
    expect(stepOf(fresh.page)).toBe('upstream_account')
    const end = await fresh.browser.submit(fresh.page, {}, { form: '/upstream_account' })
    expect([stepOf(end), end.text.includes('closed.example')]).toEqual(['upstream', true])
    const rows = await room.target.sql('select 1 from identities where account_id = $1', [weak.sub])
    expect(rows).toEqual([])
  })

  it('its own provider signs nobody in who is of another domain there', async () => {
    const elsewhere = { email: 'carla@private.example', email_verified: true }
    const { browser, page } = await come('carla-private', elsewhere)
    const end = await browser.submit(page, { email: UNKNOWN }, { form: '/upstream_account' })
    expect([end.params.has('code'), stepOf(end)]).toEqual([false, 'upstream'])
    expect(await mailsTo(UNKNOWN)).toEqual([])
    const first = await come('carla', { email: member.email, email_verified: true })
    expect((await redeem(room.target.client, first.request, first.page)).claims()?.sub).toBe(member.sub)
    const moved = await come('carla', elsewhere)
    expect([moved.page.params.has('code'), moved.page.status]).toEqual([false, 400])
  })

  it('a session from before signs in to nothing any more, and its owner changes neither password nor address', async () => {
    const { browser } = weak
    const request = await authorization(room.target.client, CALLBACK, { prompt: 'none' })
    expect((await browser.get(request.url)).params.get('error')).toBe('login_required')
    const page = await room.target.open(browser)
    expect([stepOf(page), page.text.includes(weak.email)]).toEqual(['upstream', true])
  })

  it('the provider signs in, and the account pages leave password and address to the organisation', async () => {
    const { request, page, browser } = await come('weak', { email: weak.email, email_verified: true })
    expect((await redeem(room.target.client, request, page)).claims()?.sub).toBe(weak.sub)
    for (const path of ['/account/password', '/account/email']) {
      const start = await browser.get(`${room.target.issuer}${path}`)
      const fresh = isAtProvider(start) || stepOf(start) !== undefined ? await through(browser, start) : start
      expect([path, fresh.status]).toEqual([path, 403])
      expect(fresh.text).toContain('Your organisation looks after')
    }
  })

  /** A fresh authentication, at the provider, for an account page. */
  async function through(browser: Browser, page: Page) {
    const away = isAtProvider(page) ? page : await browser.submit(page, {}, { form: '/upstream' })
    return room.comeBack(browser, away)
  }

  it('nobody takes an address of it from another domain', async () => {
    const { browser } = await room.target.signUp('outside@elsewhere.example')
    const page = await browser.get(`${room.target.issuer}/account/email`)
    const end = await browser.submit(page, { email: 'new@closed.example' }, { form: '/account/email' })
    expect([end.status, await mailsTo('new@closed.example')]).toEqual([400, []])
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
    expect(await facts('realm.break_glass_used')).toMatchObject([
      { account_id: glass.sub, data: { domain: 'closed.example', upstream: 'acme' } },
    ])
    expect(await mailsTo(glass.email)).toContain('Your Genkan emergency account was used')
  })

  it('a break-glass account with a passkey needs nothing else', async () => {
    expect((await run('break-glass', 'closed.example', keyholder.email)).code).toBe(0)
    const browser = room.person()
    const end = await showPasskey(browser, await passkeyPage(room.target, browser), key())
    expect(end.params.has('code')).toBe(true)
    expect((await facts('realm.break_glass_used')).map((fact) => fact.account_id)).toEqual([glass.sub, keyholder.sub])
    const { browser: other, page } = await stand(keyholder.email)
    const own = await other.submit(page, {}, { form: '/realm' })
    const second = await other.submit(own, { password: PASSWORD }, { form: '/password' })
    expect([second.params.has('code'), stepOf(second)]).toEqual([false, 'passkey'])
  })

  it('the break-glass account is one of all once it is none any more', async () => {
    expect((await run('break-glass', 'closed.example', glass.email, '--remove')).code).toBe(0)
    const { browser, page } = await stand(glass.email)
    const own = await browser.submit(page, {}, { form: '/realm' })
    expect((await browser.submit(own, { password: PASSWORD }, { form: '/password' })).status).toBe(400)
  })

  it('is open again once the realm is removed', async () => {
    expect((await run('remove', 'closed.example')).code).toBe(0)
    const { browser, page } = await type(member.email)
    expect((await browser.submit(page, { password: PASSWORD }, { form: '/password' })).params.has('code')).toBe(true)
  })
})
