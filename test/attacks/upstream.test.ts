/** Taking over accounts by way of a provider (A04, A06-A14, A75): each refused, by the front door. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { authorization, choose, PASSWORD, redeem } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { stepOf } from '../support/people.ts'
import { CALLBACK } from '../support/target.ts'
import { startUpstreamRoom, type UpstreamRoom } from '../support/upstreams.ts'

let room: UpstreamRoom
beforeAll(async () => {
  room = await startUpstreamRoom({
    upstream: { trusted_domains: ['acme.example'] },
    others: [{ name: 'apple-like', response_mode: 'form_post' }],
  })
})
afterAll(() => room?.close())
beforeEach(() => room.fake.tell({ reset: true, automatic: 'continue', account: 'mallory', claims: {} }))

const count = async () => {
  const [row] = await room.target.sql<{ accounts: number; identities: number; sessions: number }>(
    `select (select count(*)::int from accounts) accounts, (select count(*)::int from identities) identities,
            (select count(*)::int from sessions) sessions`,
  )
  return row
}

/** Nobody is signed in, nobody new is there, and the page is one to go on from. */
async function refused(provider?: string): Promise<void> {
  const before = await count()
  const browser = room.person()
  const page = await room.through(browser, await room.target.open(browser), provider)
  expect([stepOf(page), page.status]).toEqual(['identifier', 400])
  expect(await count()).toEqual(before)
}

describe('what an ID token must say', () => {
  const past = Math.floor(Date.now() / 1000) - 7200
  const ahead = past + 14_400
  it.each([
    ['A13: a foreign audience', { claims: { aud: 'somebody-else' } }],
    ['A13: no audience', { without: ['aud'] }],
    ['A13: an end in the past', { claims: { exp: past } }],
    ['A13: no end', { without: ['exp'] }],
    ['A13: made in the future', { claims: { iat: ahead, exp: ahead + 60 } }],
    ['A13, A75: another issuer', { claims: { iss: 'https://evil.example' } }],
    ['A13: for two, by somebody else', { claims: { aud: ['genkan', 'other'], azp: 'other' } }],
    ['A14: no nonce', { without: ['nonce'] }],
    ['A14: an empty nonce', { claims: { nonce: '' } }],
    ['A14: another nonce', { claims: { nonce: 'that-of-another-sign-in' } }],
    ['A07: no subject', { without: ['sub'] }],
    ['A07: an empty subject', { claims: { sub: '' } }],
    ['A07: null for a subject', { claims: { sub: null } }],
    ['A07: a number for a subject', { claims: { sub: 0 } }],
    ['A07: a list for a subject', { claims: { sub: [] } }],
    ['a foreign key', { key: 'foreign' }],
    ['a key that nobody has', { key: 'unknown' }],
    ['no signature', { key: 'none' }],
    ['our secret for a key', { key: 'secret' }],
  ] as const)('%s is refused', async (_, idToken) => {
    await room.fake.tell({ idToken: idToken as object })
    await refused()
  })

  it('and what was refused is stated, with a reason and without the person', async () => {
    await room.fake.tell({ idToken: { claims: { aud: 'somebody-else' } } })
    await refused()
    const [fact] = await room.target.sql<{ data: object; account_id: string | null }>(
      "select data, account_id from outbox where type = 'upstream.rejected' order by occurred_at desc limit 1",
    )
    expect(fact).toMatchObject({ account_id: null, data: { upstream: 'acme', failure: 'answer_refused' } })
  })

  it('keys may change in the middle of a sign-in', async () => {
    const browser = room.person()
    const away = await room.leave(browser, await room.target.open(browser))
    await room.fake.tell({ rotate: true })
    // Whoever sends tokens with keys that nobody has makes us ask for them every ten seconds at the most.
    await room.target.server.shiftDate(11)
    expect(stepOf(await room.comeBack(browser, away))).toBe('upstream_account')
  })
})

describe('what the front channel says', () => {
  it('A04: an address in the form of the answer is nobody’s: only the ID token counts', async () => {
    const victim = await room.target.signUp('boss@acme.example')
    await room.fake.tell({
      user: JSON.stringify({ email: victim.email, email_verified: true, name: { firstName: 'Boss' } }),
    })
    const browser = room.person()
    const page = await room.through(browser, await room.target.open(browser), 'apple-like')
    expect(stepOf(page)).toBe('upstream_account')
    expect(page.html).not.toContain(victim.email)
  })

  it('A75: an answer that names another issuer is refused', async () => {
    const browser = room.person()
    const away = await room.leave(browser, await room.target.open(browser))
    const { parameters } = await room.fake.travel(away.url, room.callback())
    const query = new URLSearchParams({ ...parameters, iss: 'https://evil.example' })
    const page = await browser.get(`${room.callback()}?${query}`, `${room.fake.issuer}/`)
    expect([stepOf(page), page.status]).toEqual(['identifier', 400])
  })

  it('A12: what began at one provider does not end at the callback of another', async () => {
    const browser = room.person()
    const away = await room.leave(browser, await room.target.open(browser))
    const { parameters } = await room.fake.travel(away.url, room.callback())
    const crossed = await browser.get(`${room.callback('apple-like')}?${new URLSearchParams(parameters)}`)
    expect(crossed.status).toBe(400)
    expect((await browser.get(`${room.callback()}?${new URLSearchParams(parameters)}`)).status).toBe(400)
  })

  it('a repeated parameter is refused', async () => {
    const browser = room.person()
    const away = await room.leave(browser, await room.target.open(browser))
    const { parameters } = await room.fake.travel(away.url, room.callback())
    const twice = `${new URLSearchParams(parameters)}&code=other`
    expect((await browser.get(`${room.callback()}?${twice}`)).status).toBe(400)
  })
})

describe('addresses', () => {
  it('A06: one that is typed in at the first sign-in is proven by its mailbox, in this browser only', async () => {
    const victim = await room.target.signUp('sue@acme.example')
    await room.fake.tell({ account: 'typist', claims: {} })
    const browser = room.person()
    const page = await room.through(browser, await room.target.open(browser))
    const next = await browser.submit(page, { email: victim.email }, { form: '/upstream_account' })
    expect(stepOf(next)).toBe('verify_email')
    await room.target.settled()
    const mail = (await room.target.mailbox.all()).filter(({ to }) => to.includes(victim.email)).at(-1)
    // The owner is told that they have an account, and gets no code that somebody could ask them for.
    expect(mail?.subject).toContain('already have')
    const rows = await room.target.sql('select 1 from identities where account_id = $1', [victim.sub])
    expect(rows).toEqual([])
  })

  it('A11: a provider is not believed about domains that it is not trusted for', async () => {
    const boss = await room.target.signUp('boss@org.example')
    await room.fake.tell({ account: 'boss', claims: { email: boss.email, email_verified: true } })
    const browser = room.person()
    const page = await room.through(browser, await room.target.open(browser))
    expect(stepOf(page)).toBe('upstream_account')
    expect(await room.target.sql('select 1 from identities where account_id = $1', [boss.sub])).toEqual([])
  })

  it('hostile profiles end in a clean account: nothing of them is markup, endless or a script', async () => {
    await room.fake.tell({
      account: 'hostile',
      claims: {
        email: 'hostile@acme.example',
        email_verified: true,
        name: `<script>alert(1)</script>${'x'.repeat(1_000)}`,
        given_name: 'Ann\u202e<b>',
        family_name: { nested: ['Lee'] },
        picture: 'javascript:alert(1)',
        website: 'javascript:alert(1)',
        locale: '../../etc/passwd',
        zoneinfo: 'Mars/Olympus',
        birthdate: '9999-99-99',
      },
    })
    const browser = room.person()
    const request = await authorization(room.target.client, CALLBACK, { scope: 'openid profile' })
    const page = await room.through(browser, await browser.get(request.url))
    expect(stepOf(page)).toBe('upstream_account')
    expect(page.html).not.toMatch(/<script>alert|javascript:/)
    const end = await browser.submit(page, {}, { form: '/upstream_account' })
    const sub = (await redeem(room.target.client, request, end)).claims()?.sub ?? ''
    expect((await room.target.personal(sub))?.profile).toEqual({})
  })

  it('nobody is signed in by the password of an account that the owner never had', async () => {
    await room.fake.tell({ account: 'fresh', claims: { email: 'fresh@acme.example', email_verified: true } })
    const browser = room.person()
    await browser.submit(
      await room.through(browser, await room.target.open(browser)),
      {},
      { form: '/upstream_account' },
    )
    const thief = room.target.person()
    const entry = await thief.submit(
      await room.target.open(thief),
      { identifier: 'fresh@acme.example' },
      { form: '/identifier' },
    )
    expect((await thief.submit(entry, { password: PASSWORD }, { form: '/password' })).status).toBe(400)
  })
})

describe('an address that somebody else registered first', () => {
  /** Recovers the account of `email` by its mailbox, in a browser of its own. */
  async function recover(email: string, password: string) {
    const browser = room.person()
    const wanted = { scope: 'openid email profile', login_hint: email, prompt: 'login' }
    const request = await authorization(room.target.client, CALLBACK, wanted)
    const asking = await choose(browser, await browser.get(request.url), 'recover')
    const page = await browser.submit(asking, { identifier: email }, { form: '/recover' })
    await room.target.settled()
    const mail = (await room.target.mailbox.all()).findLast(({ to }) => to.includes(email))
    if (mail === undefined) throw new Error(`no mail to ${email}`)
    const code = codeFrom(mail)
    const chosen = await browser.submit(page, { code }, { form: '/recover_code' })
    const end = await browser.submit(chosen, { password }, { form: '/new_password' })
    return { browser, tokens: await redeem(room.target.client, request, end) }
  }

  it('A08, A09: whoever planted an identity, a name and a password has nothing of it when the owner recovers', async () => {
    const victim = 'owner@elsewhere.example'
    const typing = room.person()
    const start = await typing.get((await authorization(room.target.client, CALLBACK, { prompt: 'create' })).url)
    const form = await typing.submit(start, { email: victim, password: PASSWORD }, { form: '/register' })
    expect(stepOf(form)).toBe('verify_email')
    // Of two that claim an address a recovery finds the newer one.
    await room.fake.tell({ account: 'planter', claims: { name: 'Not The Owner' } })
    const attacker = room.person()
    const page = await room.through(attacker, await room.target.open(attacker, { scope: 'openid profile' }))
    const waiting = await attacker.submit(page, { email: victim }, { form: '/upstream_account' })
    expect(stepOf(waiting)).toBe('verify_email')

    const { tokens } = await recover(victim, 'the owner says 42 trees')
    const sub = tokens.claims()?.sub ?? ''
    expect(await room.target.personal(sub)).toMatchObject({ profile: {} })
    const left = await room.target.sql<{ accounts: number; identities: number }>(
      `select (select count(*)::int from identities where account_id = $1) identities,
              (select count(*)::int from accounts where email_hash = (select email_hash from accounts where id = $1)) accounts`,
      [sub],
    )
    expect(left).toEqual([{ identities: 0, accounts: 1 }])

    // By the provider, by the pages that were open, and by the password.
    const again = room.person()
    expect(stepOf(await room.through(again, await room.target.open(again)))).toBe('upstream_account')
    for (const [browser, open] of [
      [attacker, waiting],
      [typing, form],
    ] as const) {
      const tried = await browser.submit(open, { code: '123456' }, { form: '/verify_email' })
      expect(tried.url.startsWith(CALLBACK)).toBe(false)
      expect((await browser.get(`${room.target.issuer}/account`)).url).toContain('/interaction/')
    }
    const thief = room.person()
    const entry = await thief.submit(await room.target.open(thief), { identifier: victim }, { form: '/identifier' })
    expect((await thief.submit(entry, { password: PASSWORD }, { form: '/password' })).status).toBe(400)
  })
})
