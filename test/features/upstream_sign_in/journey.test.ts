/** Signing in by a provider, by the front door: the provider is an independent one in a process of its own. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { authorization, choose, PASSWORD, redeem } from '../../support/journeys.ts'
import { codeFrom } from '../../support/mailbox.ts'
import { stepOf } from '../../support/people.ts'
import { CALLBACK } from '../../support/target.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../../support/upstreams.ts'

const TEXTS = JSON.parse(readFileSync('views/messages/en.upstreams.json', 'utf8')) as { readonly [key: string]: string }

let room: UpstreamRoom
beforeAll(async () => {
  room = await startUpstreamRoom({
    upstream: { trusted_domains: ['acme.example'], import: { given_name: 'never', family_name: 'always' } },
  })
})
afterAll(() => room?.close())
beforeEach(() => room.fake.tell({ reset: true, automatic: 'continue' }))

/** From the first page of the conversation through the provider. */
async function come(
  account: string,
  claims: { readonly [claim: string]: unknown },
  parameters: { [name: string]: string } = {},
) {
  await room.fake.tell({ account, claims })
  const browser = room.person()
  const request = await authorization(room.target.client, CALLBACK, { scope: 'openid email profile', ...parameters })
  const page = await room.through(browser, await browser.get(request.url))
  return { browser, request, page }
}

const VERA = { email: 'vera@acme.example', email_verified: true, name: 'Vera Acme', family_name: 'Acme' }
const identities = () =>
  room.target.sql<{ account_id: string; upstream: string; issuer: string }>(
    'select * from identities order by linked_at',
  )

const mailsTo = async (email: string) => {
  await room.target.settled()
  return (await room.target.mailbox.all()).filter(({ to }) => to.includes(email))
}

describe('the first sign-in', () => {
  it('shows what is taken over, makes the account in one screen, and signs it in again without a question', async () => {
    const { browser, request, page } = await come('vera', VERA)
    expect([page.status, stepOf(page)]).toEqual([200, 'upstream_account'])
    for (const text of ['Vera Acme', 'vera@acme.example', 'Acme']) expect(page.text).toContain(text)
    expect(page.forms[0]?.fields.some(({ name }) => name === 'email')).toBe(false)
    const end = await browser.submit(page, {}, { form: '/upstream_account' })
    const tokens = await redeem(room.target.client, request, end)
    const sub = tokens.claims()?.sub
    expect(tokens.claims()).toMatchObject({ acr: 'urn:genkan:acr:basic' })
    const again = await come('vera', VERA)
    expect((await redeem(room.target.client, again.request, again.page)).claims()?.sub).toBe(sub)
    expect(await identities()).toMatchObject([{ account_id: sub, upstream: 'acme', issuer: room.fake.issuer }])
    const facts = await room.target.sql<{ type: string }>(
      'select type from outbox where account_id = $1 order by occurred_at, id',
      [sub],
    )
    expect(facts.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['account.registered', 'identity.linked', 'account.email_verified', 'upstream.verified']),
    )
  })

  it('is known by its subject alone: another address is the same account, another subject is not (A03)', async () => {
    const first = await come('vera', { ...VERA, email: 'vera.new@acme.example' })
    const sub = (await redeem(room.target.client, first.request, first.page)).claims()?.sub
    expect(sub).toBe((await identities())[0]?.account_id)
    const other = await come('vera-2', { ...VERA, email: 'someone@elsewhere.example' })
    expect(stepOf(other.page)).toBe('upstream_account')
  })

  it.each([
    ['not verified', { email_verified: false }],
    ['not said', {}],
    ['verified as a text', { email_verified: 'true' }],
    ['verified as a number', { email_verified: 1 }],
  ])('A02: an address that is %s neither links nor counts: the mailbox is asked', async (name, claims) => {
    const victim = await room.target.signUp(`victim-${name.replaceAll(' ', '-')}@acme.example`)
    const { browser, page } = await come(`attacker-${name}`, { email: victim.email, name: 'Mallory', ...claims })
    expect(stepOf(page)).toBe('upstream_account')
    const next = await browser.submit(page, {}, { form: '/upstream_account' })
    expect(stepOf(next)).toBe('verify_email')
    expect((await mailsTo(victim.email)).at(-1)?.subject).toContain('already have')
    const rows = await identities()
    expect(rows.some(({ account_id: id }) => id === victim.sub)).toBe(false)
  })

  it('an address of a domain that the provider is not trusted for is proven by a code of ours', async () => {
    const { browser, request, page } = await come('wanda', { ...VERA, email: 'wanda@elsewhere.example' })
    const waiting = await browser.submit(page, {}, { form: '/upstream_account' })
    expect(stepOf(waiting)).toBe('verify_email')
    const code = codeFrom(await room.target.mailbox.to('wanda@elsewhere.example'))
    const end = await browser.submit(waiting, { code }, { form: '/verify_email' })
    const sub = (await redeem(room.target.client, request, end)).claims()?.sub
    const again = await come('wanda', {})
    expect((await redeem(room.target.client, again.request, again.page)).claims()?.sub).toBe(sub)
  })
})

describe('an account that is there', () => {
  it('is linked without asking where both sides have proven the address and the provider is trusted for it', async () => {
    const { sub, email } = await room.target.signUp('both@acme.example')
    const { request, page } = await come('both', { email, email_verified: true })
    expect((await redeem(room.target.client, request, page)).claims()?.sub).toBe(sub)
    expect((await mailsTo(email)).map(({ subject }) => subject)).toContain('Acme was connected to your Genkan account')
  })

  it('else is proven first, and connected only after a word of its owner', async () => {
    const { sub, email } = await room.target.signUp('prover@elsewhere.example')
    const { browser, request, page } = await come('prover', { email, email_verified: true })
    const who = await browser.submit(
      page,
      {},
      { form: page.forms.findIndex((form) => form.fields.some(({ value }) => value === 'link')) },
    )
    expect(stepOf(who)).toBe('identifier')
    const password = await browser.submit(who, { identifier: email }, { form: '/identifier' })
    const asked = await browser.submit(password, { password: PASSWORD }, { form: '/password' })
    expect(stepOf(asked)).toBe('link_upstream')
    expect(asked.text).toContain(email)
    const end = await browser.submit(asked, {}, { form: '/link_upstream', button: 'link' })
    expect((await redeem(room.target.client, request, end)).claims()?.sub).toBe(sub)
    const again = await come('prover', {})
    expect((await redeem(room.target.client, again.request, again.page)).claims()?.sub).toBe(sub)
  })

  it('A05: another identity that comes meanwhile is not linked by what was proven for the first', async () => {
    const { email } = await room.target.signUp('twice@elsewhere.example')
    const { browser, page } = await come('twice-1', {})
    const who = await browser.submit(
      page,
      {},
      { form: page.forms.findIndex((form) => form.fields.some(({ value }) => value === 'link')) },
    )
    const password = await browser.submit(who, { identifier: email }, { form: '/identifier' })
    const asked = await browser.submit(password, { password: PASSWORD }, { form: '/password' })
    expect(stepOf(asked)).toBe('link_upstream')
    const form = asked.forms.find(({ action }) => action.endsWith('/link_upstream'))
    const csrf = form?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    const forged = await browser.post(
      new URL(form?.action ?? '', asked.url).href,
      { csrf, action: 'link', identity: 'x'.repeat(43) },
      asked.url,
    )
    expect(stepOf(forged)).toBe('link_upstream')
    expect((await identities()).filter(({ upstream }) => upstream === 'acme').length).toBe((await identities()).length)
  })

  it('A01: one that somebody began with the address and never proved is gone when its owner comes', async () => {
    const email = 'owner@acme.example'
    const squatter = room.target.person()
    const start = await choose(squatter, await room.target.open(squatter), 'create')
    const waiting = await squatter.submit(start, { email, password: PASSWORD }, { form: '/register' })
    expect(stepOf(waiting)).toBe('verify_email')
    const { browser, request, page } = await come('owner', { email, email_verified: true })
    const end = await browser.submit(page, {}, { form: '/upstream_account' })
    const sub = (await redeem(room.target.client, request, end)).claims()?.sub
    const thief = room.target.person()
    const entry = await thief.submit(await room.target.open(thief), { identifier: email }, { form: '/identifier' })
    expect((await thief.submit(entry, { password: PASSWORD }, { form: '/password' })).status).toBe(400)
    const rows = await room.target.sql<{ id: string }>("select id from accounts where id = $1 or state = 'pending'", [
      sub,
    ])
    expect(rows.filter(({ id }) => id === sub)).toHaveLength(1)
  })
})

describe('ways on', () => {
  it.each([
    ['access_denied', 'error.upstream_cancelled'],
    ['server_error', 'error.upstream_unavailable'],
  ])('%s at the provider leads to the first page with a word and all other ways', async (error, key) => {
    await room.fake.tell({ automatic: error })
    const browser = room.person()
    const page = await room.through(browser, await room.target.open(browser))
    expect([stepOf(page), page.status]).toEqual(['identifier', 400])
    expect(page.text).toContain(TEXTS[key])
    expect(page.forms.some(({ action }) => action.endsWith('/upstream'))).toBe(true)
  })

  it('A16: a provider that was switched off while somebody was there signs nobody in, and has no button', async () => {
    await room.fake.tell({ account: 'vera', claims: VERA })
    const browser = room.person()
    const away = await room.leave(browser, await room.target.open(browser))
    expect((await room.target.server.run('upstreams', 'disable', 'acme')).stdout).toBe('upstream acme disabled\n')
    try {
      const page = await room.comeBack(browser, away)
      expect(stepOf(page)).toBe('identifier')
      expect(page.text).toContain(TEXTS['error.upstream_disabled'])
      expect(page.forms.some(({ action }) => action.endsWith('/upstream'))).toBe(false)
    } finally {
      await room.target.server.run('upstreams', 'enable', 'acme')
    }
  })

  it('A17: an answer of somebody else opens nothing in this browser', async () => {
    await room.fake.tell({ account: 'vera', claims: VERA })
    const attacker = room.person()
    const away = await room.leave(attacker, await room.target.open(attacker))
    const { parameters } = await room.fake.travel(away.url, room.callback())
    const victim = room.person()
    await room.target.open(victim)
    const page = await victim.get(`${room.callback()}?${new URLSearchParams(parameters)}`, `${room.fake.issuer}/`)
    expect(page.params.has('code')).toBe(false)
    expect((await victim.get(`${room.target.issuer}/account`)).url).toContain('/interaction/')
  })

  it('A15: of twenty that bring one answer at once, one is signed in', async () => {
    await room.fake.tell({ account: 'vera', claims: VERA })
    const browser = room.person()
    const away = await room.leave(browser, await room.target.open(browser))
    const { parameters } = await room.fake.travel(away.url, room.callback())
    const url = `${room.callback()}?${new URLSearchParams(parameters)}`
    const answers = await Promise.all(Array.from({ length: 20 }, () => browser.send(url)))
    const taken = answers.filter(({ status }) => status === 303)
    expect([taken.length, answers.filter(({ status }) => status === 400).length]).toEqual([1, 19])
    const arrive = new URL(taken[0]?.headers.location ?? '', url).href
    const arrived = await Promise.all(Array.from({ length: 20 }, () => browser.send(arrive)))
    const onward = arrived.filter(({ headers }) => String(headers.location).includes('/auth/'))
    expect(onward.length).toBeLessThanOrEqual(1)
  })

  it('an answer that nobody waits for is a page that says so, not an error of ours', async () => {
    for (const query of ['', '?state=', '?state=x&code=y', `?state=${'x'.repeat(300)}`]) {
      const page = await room.person().get(`${room.callback()}${query}`)
      expect([query, page.status]).toEqual([query, 400])
      expect(page.text).toContain(TEXTS['error.upstream_gone'])
    }
  })
})
