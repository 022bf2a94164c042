/** What A may try who knows V's password, or V's second factor, but not both (A36, A38-A41, A43, A45, A46, A48-A50, A54). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { appOf } from '../support/authenticator.ts'
import type { Browser, Page } from '../support/browser.ts'
import { choose, SETTINGS, signIn } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { stepOf } from '../support/people.ts'
import {
  type Clock,
  clockOf,
  firstFactor,
  openAccount,
  type Protected,
  signUpWithApp,
} from '../support/second_factors.ts'
import { OWN, startTarget, type Target } from '../support/target.ts'

const MFA = 'urn:genkan:acr:mfa'
const FRESH = 'seven paper lanterns 19'
const STRICT = 'https://strict.test.example'

let target: Target
let clock: Clock
let v: Protected

beforeAll(async () => {
  const own = SETTINGS.clients.find(({ client_id: id }) => id === 'own')
  const strict = {
    ...own,
    client_id: 'strict',
    client_name: 'The strict shop',
    redirect_uris: [`${STRICT}/callback`],
    post_logout_redirect_uris: [`${STRICT}/`],
    initiate_login_uri: `${STRICT}/start`,
    second_factor: 'required',
    second_factor_grace: 2,
  }
  // The storms below must meet the limits of the second factor, not those of the password.
  const limits = { sign_in_per_identifier: 10_000, sign_in_per_address: 10_000 }
  target = await startTarget({ settings: { ...SETTINGS, limits, clients: [...SETTINGS.clients, strict] } })
  clock = clockOf(target)
  v = await signUpWithApp(target, clock, 'v@factor.example')
})
afterAll(() => target?.close())

const totp = (browser: Browser, page: Page, code: string) => browser.submit(page, { code }, { form: '/totp' })
const recovery = (browser: Browser, page: Page, code: string) =>
  browser.submit(page, { code }, { form: '/recovery_code' })
const signsIn = (page: Page) => page.params.has('code')
/** Where the conversation of a page posts to, where the engine goes on with it, and what its forms carry. */
function placeOf(page: Page): { at: string; resume: string; csrf: string } {
  const { origin, pathname } = new URL(page.url)
  const [, uid = ''] = /^\/interaction\/([^/]+)/.exec(pathname) ?? []
  const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  return { at: `${origin}/interaction/${uid}`, resume: `${origin}/auth/${uid}`, csrf }
}

/** One after the other: hashing passwords at once has a limit of its own. */
async function inTurn<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let i = 0; i < count; i++) results.push(await work())
  return results
}

const failuresOf = async ({ sub }: { sub: string }) =>
  (await target.sql<{ failures: number }>('select failures from totp_seeds where account_id = $1', [sub]))[0]?.failures

async function atRecovery(who: { email: string }): Promise<{ browser: Browser; page: Page }> {
  const { browser, page } = await firstFactor(target, who)
  return { browser, page: await choose(browser, page, 'recovery_code') }
}

describe('A36: guessing codes', () => {
  it('over new conversations, addresses and a restart, five are looked at in ten minutes, the right one after them is not', async () => {
    const before = (await failuresOf(v)) ?? 0
    const codes: number[] = []
    for (let i = 0; i < 8; i++) {
      const { browser, page } = await firstFactor(target, v)
      const answer = await totp(browser, page, '000000')
      codes.push(answer.status)
      if (i === 6) await target.server.restart()
    }
    expect(codes).toEqual([400, 400, 400, 400, 400, 429, 429, 429])
    expect(await failuresOf(v)).toBe(before + 5)
    const { browser, page } = await firstFactor(target, v)
    const held = await totp(browser, page, v.app.code(clock.now()))
    expect(held.status).toBe(429)
    expect(Number(held.headers['retry-after'])).toBeGreaterThan(300)
    // A38: another way is still offered, and has its own count.
    const other = await choose(browser, held, 'recovery_code')
    const [first = ''] = v.recoveryCodes
    expect(signsIn(await recovery(browser, other, first))).toBe(true)
    await clock.later(600)
    const again = await firstFactor(target, v)
    expect(signsIn(await totp(again.browser, again.page, v.app.code(clock.now())))).toBe(true)
    expect(await failuresOf(v)).toBe(0)
  })

  it('A34: of 100 wrong ones and the right one at once, five are looked at and the right one is held', async () => {
    await clock.later(600)
    const { browser, page } = await firstFactor(target, v)
    const { at, csrf } = placeOf(page)
    const submit = (code: string) =>
      browser.send(`${at}/totp`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ csrf, code }).toString(),
        from: page.url,
      })
    const wrong = await Promise.all(Array.from({ length: 100 }, (_, i) => submit(String(100_000 + i * 7))))
    expect(wrong.filter(({ status }) => status === 400)).toHaveLength(5)
    expect((await submit(v.app.code(clock.now()))).status).toBe(429)
    await clock.later(600)
  })

  it('after a hundred wrong ones in a row one an hour is looked at, whatever became of the counters', async () => {
    await target.sql('update totp_seeds set failures = 100 where account_id = $1', [v.sub])
    const guess = async (code: string) => {
      const { browser, page } = await firstFactor(target, v)
      return totp(browser, page, code)
    }
    expect((await guess('000000')).status).toBe(400)
    expect((await guess('000000')).status).toBe(429)
    await clock.later(900)
    expect((await guess(v.app.code(clock.now()))).status).toBe(429)
    await clock.later(3600)
    expect(signsIn(await guess(v.app.code(clock.now())))).toBe(true)
    expect(await failuresOf(v)).toBe(0)
    await clock.later(30)
  })

  it('A38: who does not know the password counts nothing against the second factor', async () => {
    const browser = target.person()
    const page = await signIn(browser, await target.open(browser), v.email, 'not the password at all')
    expect(stepOf(page)).toBe('password')
    const { at, csrf } = placeOf(page)
    for (let i = 0; i < 10; i++) {
      const answer = await browser.post(`${at}/totp`, { csrf, code: '000000' }, page.url)
      expect(stepOf(answer)).toBe('password')
    }
    expect(await failuresOf(v)).toBe(0)
  })
})

describe('A39: an app code again', () => {
  it('in its own step and the trailing one it is used up', async () => {
    await clock.later(30)
    const at = clock.now()
    const code = v.app.code(at)
    const first = await firstFactor(target, v)
    expect(signsIn(await totp(first.browser, first.page, code))).toBe(true)
    const same = await firstFactor(target, v)
    expect((await totp(same.browser, same.page, code)).status).toBe(400)
    // Nor one of an earlier step that was never typed.
    expect((await totp(same.browser, same.page, v.app.code(at, -1))).status).toBe(400)
    await clock.later(30)
    expect((await totp(same.browser, same.page, code)).status).toBe(400)
    await clock.later(30)
  })

  it('20 times at once it signs in once', async () => {
    await clock.later(600)
    const tries = await inTurn(20, () => firstFactor(target, v))
    const code = v.app.code(clock.now())
    const ends = await Promise.all(tries.map(({ browser, page }) => totp(browser, page, code)))
    expect(ends.filter(signsIn)).toHaveLength(1)
    await clock.later(600)
  })
})

describe('A40: a recovery code again', () => {
  it('twice, and 20 times at once, it signs in once; in any case and with blanks', async () => {
    const [, second = '', third = ''] = v.recoveryCodes
    const first = await atRecovery(v)
    expect(signsIn(await recovery(first.browser, first.page, ` ${second.toLowerCase().replace('-', ' ')} `))).toBe(true)
    const again = await atRecovery(v)
    expect((await recovery(again.browser, again.page, second)).status).toBe(400)
    await clock.later(600)
    const tries = await inTurn(20, () => atRecovery(v))
    const ends = await Promise.all(tries.map(({ browser, page }) => recovery(browser, page, third)))
    expect(ends.filter(signsIn)).toHaveLength(1)
    await clock.later(600)
  })

  it('an old set is dead once a new one was made, and its use is told', async () => {
    const page = await openAccount(target, v.browser, '/account/recovery-codes', { ...v, clock })
    expect(page.text).toContain('7 codes are left.')
    const shown = await v.browser.submit(page, {}, { form: '/account/recovery-codes' })
    const codes = [...shown.html.matchAll(/<li><code>([0-9A-Z-]+)<\/code>/g)].map(([, code = '']) => code)
    expect(codes).toHaveLength(10)
    expect(shown.html).toContain(`download="recovery-codes.txt"`)
    expect(decodeURIComponent(/data:text\/plain[^"]+/.exec(shown.html)?.[0] ?? '')).toContain(codes.join('\n'))
    await v.browser.submit(shown, {}, { form: '/account/recovery-codes/new' })
    // Shown once.
    expect(new URL((await v.browser.get(`${target.issuer}/account/recovery-codes/new`)).url).pathname).toBe(
      '/account/recovery-codes',
    )
    const [, , , fourth = ''] = v.recoveryCodes
    const old = await atRecovery(v)
    expect((await recovery(old.browser, old.page, fourth)).status).toBe(400)
    expect(signsIn(await recovery(old.browser, old.page, codes[0] ?? ''))).toBe(true)
    v = { ...v, recoveryCodes: codes }
    await target.settled()
    const mails = (await target.mailbox.all()).filter(({ to }) => to.includes(v.email)).map(({ text }) => text)
    expect(mails.some((text) => text.includes('9 codes are left.'))).toBe(true)
  })

  it('nothing of it is in the database', async () => {
    const dump = JSON.stringify([
      await target.sql('select * from recovery_codes'),
      await target.sql('select * from totp_seeds'),
      await target.sql('select data, sealed from outbox'),
    ])
    for (const code of v.recoveryCodes) {
      expect(dump).not.toContain(code)
      expect(dump).not.toContain(code.replace('-', ''))
    }
    expect(dump).not.toContain(v.app.seed.replaceAll(' ', ''))
  })
})

describe('A41: with the first factor only', () => {
  it('the interim cookies are worth nothing: no code, no account page, no other step', async () => {
    const { browser, page } = await firstFactor(target, v)
    expect(stepOf(page)).toBe('totp')
    const silent = await target.open(browser, { prompt: 'none' })
    expect(silent.params.get('error')).toBe('login_required')
    expect(stepOf(await browser.get(`${target.issuer}/account`))).not.toBeUndefined()
    expect((await browser.get(`${target.issuer}/account/totp`)).text).not.toContain('Remove the app')
    const { at, resume, csrf } = placeOf(page)
    for (const step of ['new_recovery_codes', 'totp_setup', 'enrol', 'consent', 'new_password']) {
      const answer = await browser.post(`${at}/${step}`, { csrf, saved: 'yes', action: 'later', code: '' }, page.url)
      expect([step, stepOf(answer)]).toEqual([step, 'totp'])
      const chosen = await browser.post(`${at}/switch`, { csrf, to: step }, page.url)
      expect([step, stepOf(chosen)]).toEqual([step, 'totp'])
    }
    const resumed = await browser.get(resume)
    expect(signsIn(resumed)).toBe(false)
  })

  it('A50: a new password by mail leaves the app asked for', async () => {
    const v = await signUpWithApp(target, clock, 'v50@factor.example')
    const browser = target.person()
    const start = await target.open(browser, { login_hint: v.email, prompt: 'login' })
    const asked = await browser.submit(
      await choose(browser, start, 'recover'),
      { identifier: v.email },
      { form: '/recover' },
    )
    await target.settled()
    const code = codeFrom(await target.mailbox.to(v.email))
    const fresh = await browser.submit(asked, { code }, { form: '/recover_code' })
    const page = await browser.submit(fresh, { password: FRESH }, { form: '/new_password' })
    expect(stepOf(page)).toBe('totp')
    expect((await target.open(browser, { prompt: 'none' })).params.get('error')).toBe('login_required')
    await clock.later(30)
    expect(signsIn(await totp(browser, page, v.app.code(clock.now())))).toBe(true)
  })
})

describe('A43: a step-up that is broken off', () => {
  it('gives no higher acr: by cancel, back, another tab or prompt=none', async () => {
    const u = await target.signUp('u43@factor.example')
    const page = await target.open(u.browser, { acr_values: MFA })
    expect(stepOf(page)).toBe('enrol')
    const silent = await target.open(u.browser, { acr_values: MFA, prompt: 'none' })
    expect(silent.params.has('code')).toBe(false)
    const refused = await u.browser.submit(page, {}, { form: '/enrol' })
    expect(refused.params.get('error')).toBe('unmet_authentication_requirements')
    const again = await target.open(u.browser, { acr_values: MFA })
    const { at, csrf } = placeOf(again)
    const cancelled = await u.browser.post(`${at}/abort`, { csrf }, again.url)
    expect(cancelled.params.get('error')).toBe('unmet_authentication_requirements')
    expect(signsIn(await target.open(u.browser, { prompt: 'none' }))).toBe(true)
  })
})

describe('A45: a second factor that must be set up', () => {
  const open = (browser: Browser, parameters: { [name: string]: string } = {}) =>
    target.open(browser, { client_id: 'strict', redirect_uri: `${STRICT}/callback`, ...parameters })

  it('may be put off twice, and no third time, whatever way is tried', async () => {
    const u = await target.signUp('u45@factor.example')
    const begin = async () => {
      const browser = target.person({ stopAt: [OWN, STRICT] })
      return { browser, page: await signIn(browser, await open(browser), u.email) }
    }
    for (const left of ['2 more times', '1 more time']) {
      const { browser, page } = await begin()
      expect(stepOf(page)).toBe('enrol')
      expect(page.text).toContain(`Not now (${left})`)
      const end = await browser.submit(page, {}, { form: '/enrol' })
      expect(signsIn(end)).toBe(true)
    }
    const { browser, page } = await begin()
    expect(stepOf(page)).toBe('enrol')
    expect(page.text).not.toContain('Not now')
    const { at, resume, csrf } = placeOf(page)
    const forged = await browser.post(`${at}/enrol`, { csrf, action: 'later' }, page.url)
    expect([forged.status, stepOf(forged)]).toEqual([400, 'enrol'])
    expect(forged.text).toContain('cannot be put off any longer')
    expect(stepOf(await open(browser))).not.toBeUndefined()
    expect((await open(browser, { prompt: 'none' })).params.get('error')).toBe('login_required')
    expect(stepOf(await browser.get(page.url))).toBe('enrol')
    const resumed = await browser.get(resume)
    expect(stepOf(resumed)).toBe('enrol')
    const setup = await choose(browser, resumed, 'totp_setup')
    expect(stepOf(setup)).toBe('totp_setup')
    const back = await choose(browser, setup, 'enrol')
    expect(stepOf(back)).toBe('enrol')
    const once = await choose(browser, back, 'totp_setup')
    const codes = await browser.submit(once, { code: appOf(once).code(clock.now()) }, { form: '/totp_setup' })
    const end = await browser.submit(codes, {}, { form: '/new_recovery_codes' })
    expect(signsIn(end)).toBe(true)
  })
})

describe('A45: a session that began elsewhere is no way around it', () => {
  const strictly = (browser: Browser, parameters: { [name: string]: string } = {}) =>
    target.open(browser, { client_id: 'strict', redirect_uri: `${STRICT}/callback`, ...parameters })

  it('asks whoever comes signed in from a client that demands nothing, and puts off for this client only', async () => {
    const { email } = await target.signUp('sso45@factor.example')
    const browser = target.person({ stopAt: [OWN, STRICT] })
    expect(signsIn(await signIn(browser, await target.open(browser), email))).toBe(true)
    expect((await strictly(browser, { prompt: 'none' })).params.get('error')).toBe('login_required')
    const page = await strictly(browser)
    expect(stepOf(page)).toBe('enrol')
    const end = await browser.submit(page, {}, { form: '/enrol' })
    expect(signsIn(end)).toBe(true)
    // Put off here, for as long as this session lasts.
    expect(signsIn(await strictly(browser, { prompt: 'none' }))).toBe(true)
    const other = target.person({ stopAt: [OWN, STRICT] })
    await signIn(other, await target.open(other), email)
    expect(stepOf(await strictly(other))).toBe('enrol')
  })

  it('lets whoever has one pass without a page', async () => {
    const own = await signUpWithApp(target, clock, 'has45@factor.example')
    await target.settled()
    const { browser, page } = await firstFactor(target, own, {}, target.person({ stopAt: [OWN, STRICT] }))
    expect(signsIn(await totp(browser, page, own.app.code(clock.now())))).toBe(true)
    expect(signsIn(await strictly(browser, { prompt: 'none' }))).toBe(true)
  })
})

describe('A48: no factor is added by what somebody left behind', () => {
  it('by a session from before: what there is must be shown again, a moment ago', async () => {
    const { browser } = await target.signUp('left48@factor.example')
    await clock.later(301)
    const page = await target.open(browser, { acr_values: MFA })
    expect(stepOf(page)).toBe('password')
    const { at, csrf } = placeOf(page)
    for (const step of ['enrol', 'totp_setup', 'passkey_setup']) {
      await browser.post(`${at}/switch`, { csrf, to: step }, page.url)
      expect(stepOf(await browser.get(page.url))).toBe('password')
    }
    // What was chosen last waits until then.
    expect(stepOf(await signIn(browser, page, 'left48@factor.example'))).toBe('passkey_setup')
  })

  it('by a remembered browser and the password: the app is asked for before a stronger factor is set up', async () => {
    const own = await signUpWithApp(target, clock, 'kept48@factor.example')
    const first = await firstFactor(target, own)
    const code = own.app.code(clock.now())
    const kept = await first.browser.submit(first.page, { code, trust: 'yes' }, { form: '/totp' })
    expect(signsIn(kept)).toBe(true)
    const remembered = async (parameters: { [name: string]: string }) => {
      for (const name of ['genkan_session', 'genkan_account']) first.browser.jar.delete(name)
      return signIn(first.browser, await target.open(first.browser, parameters), own.email)
    }
    expect(signsIn(await remembered({}))).toBe(true)
    expect(signsIn(await remembered({ acr_values: MFA }))).toBe(true)
    const page = await remembered({ acr_values: 'phr' })
    expect(stepOf(page)).toBe('totp')
    await clock.later(30)
    expect(stepOf(await totp(first.browser, page, own.app.code(clock.now())))).toBe('enrol')
  })
})

describe('A46: an empty answer to each new step', () => {
  it.each(['{}', 'GET', 'HEAD', 'array'])('%s stays on the step, and an answer counts', async (kind) => {
    await clock.later(600)
    const w = await member('w46')
    for (const step of ['totp', 'recovery_code'] as const) {
      const first = await firstFactor(target, w)
      const page = step === 'totp' ? first.page : await choose(first.browser, first.page, step)
      const { at, csrf } = placeOf(page)
      const before = await rejected(w.sub, step)
      if (kind === '{}') await first.browser.post(`${at}/${step}`, { csrf }, page.url)
      if (kind === 'array') await first.browser.post(`${at}/${step}`, { csrf, 'code[]': '123456' }, page.url)
      if (kind === 'GET' || kind === 'HEAD') await first.browser.send(`${at}/${step}`, { method: kind, from: page.url })
      expect(stepOf(await first.browser.get(page.url))).toBe(step)
      const isAnswer = kind === '{}' || kind === 'array'
      expect((await rejected(w.sub, step)) - before).toBe(isAnswer ? 1 : 0)
    }
  })

  it('says nothing was saved, and sets up nothing', async () => {
    const u = await target.signUp('u46@factor.example')
    const page = await target.open(u.browser, { acr_values: MFA })
    const { at, csrf } = placeOf(page)
    expect(stepOf(await u.browser.post(`${at}/enrol`, { csrf }, page.url))).toBe('enrol')
    const setup = await choose(u.browser, page, 'totp_setup')
    const app = appOf(setup)
    for (let i = 0; i < 5; i++) {
      const answer = await u.browser.post(`${at}/totp_setup`, { csrf, seed: 'JBSWY3DPEHPK3PXP' }, page.url)
      expect([answer.status, stepOf(answer)]).toEqual([400, 'totp_setup'])
      expect(appOf(answer).seed).toBe(app.seed)
    }
    expect((await u.browser.post(`${at}/totp_setup`, { csrf }, page.url)).status).toBe(429)
    await clock.later(600)
    const codes = await u.browser.submit(setup, { code: app.code(clock.now()) }, { form: '/totp_setup' })
    expect(stepOf(codes)).toBe('new_recovery_codes')
    const empty = await u.browser.post(`${at}/new_recovery_codes`, { csrf }, page.url)
    expect([empty.status, stepOf(empty)]).toEqual([400, 'new_recovery_codes'])
    expect(await target.sql('select factors from accounts where id = $1', [u.sub])).toEqual([{ factors: ['totp'] }])
    // Shown too long ago: new ones, and those work only once they are saved.
    await clock.later(601)
    const gone = await u.browser.submit(codes, {}, { form: '/new_recovery_codes' })
    expect(gone.status).toBe(400)
    expect(gone.text).toContain('shown too long ago')
    expect(signsIn(await u.browser.submit(gone, {}, { form: '/new_recovery_codes' }))).toBe(true)
  })
})

describe('A48, A49: changing factors', () => {
  it.each(['/account/totp/new', '/account/totp/remove', '/account/recovery-codes'])(
    'a POST to %s in a session that is not fresh is sent to show everything again',
    async (path) => {
      const w = await member('w48')
      await openAccount(target, w.browser, '/account/totp', { ...w, clock })
      const page = await w.browser.get(`${target.issuer}/account/security`)
      const { csrf } = placeOf(page)
      await clock.later(301)
      const before = await target.sql('select * from totp_seeds where account_id = $1', [w.sub])
      const answer = await w.browser.post(`${target.issuer}${path}`, { csrf, code: w.app.code(clock.now()) }, page.url)
      expect(stepOf(answer)).toBe('password')
      const half = await signIn(w.browser, answer, w.email)
      expect(stepOf(half)).toBe('totp')
      expect(await target.sql('select * from totp_seeds where account_id = $1', [w.sub])).toEqual(before)
    },
  )

  it("A49: nobody's factor is named by an address or a form", async () => {
    const a = await target.signUp('a49@factor.example')
    const page = await openAccount(target, a.browser, '/account/totp/new', { email: a.email, clock })
    const { csrf } = placeOf(page)
    for (const at of [`/account/totp/${v.sub}/remove`, `/account/totp/${v.sub}`, `/account/factors/${v.sub}`]) {
      expect((await a.browser.post(`${target.issuer}${at}`, { csrf }, page.url)).status).toBe(404)
    }
    await a.browser.post(
      `${target.issuer}/account/totp/remove`,
      { csrf, account_id: v.sub, accountId: v.sub },
      page.url,
    )
    expect(await target.sql('select 1 from totp_seeds where account_id = $1', [v.sub])).toHaveLength(1)
  })
})

let known: Protected | undefined
/** One more person with an app, for tests that leave it as it is. */
async function member(name: string): Promise<Protected> {
  known ??= await signUpWithApp(target, clock, `${name}@factor.example`)
  return known
}

async function rejected(accountId: string, step: string): Promise<number> {
  const rows = await target.sql('select 1 from outbox where account_id = $1 and type = $2', [
    accountId,
    `${step}.rejected`,
  ])
  return rows.length
}
