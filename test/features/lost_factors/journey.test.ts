/** A real authenticator app on the real product: remembered browsers, and the way back after it was lost, in moved time. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { newToken, sha256 } from '../../../src/platform/ids.ts'
import type { Browser, Page } from '../../support/browser.ts'
import { choose, PASSWORD, SETTINGS } from '../../support/journeys.ts'
import { linkFrom } from '../../support/mailbox.ts'
import { stepOf } from '../../support/people.ts'
import {
  type Clock,
  clockOf,
  firstFactor,
  openAccount,
  type Protected,
  signUpWithApp,
} from '../../support/second_factors.ts'
import { startTarget, type Target } from '../../support/target.ts'

const DAY = 86_400
let target: Target
let clock: Clock

/** Two of the support, each with the file of their key. */
const TEAM = ['ann', 'bo'].map((name) => ({ name, key: newToken() }))

beforeAll(async () => {
  const support = TEAM.map(({ name, key }) => ({ name, key_hash: sha256(key) }))
  target = await startTarget({ settings: { ...SETTINGS, recovery: { support } } })
  for (const { name, key } of TEAM) writeFileSync(join(target.server.dataDir, '..', name), `${key}\n`)
  clock = clockOf(target)
})
afterAll(() => target?.close())

/** Password and code, with the box checked; ends at the client. */
async function remember(person: Protected, browser: Browser): Promise<void> {
  const { page } = await firstFactor(target, person, {}, browser)
  expect(page.text).toContain('Remember this browser for 30 days')
  await clock.later(30)
  const end = await browser.submit(page, { code: person.app.code(clock.now()), trust: 'yes' }, { form: '/totp' })
  expect(end.params.has('code')).toBe(true)
}

/** What a new sign-in in this browser is asked after the password. */
async function asked(person: Protected, browser: Browser): Promise<string> {
  const { page } = await firstFactor(target, person, { prompt: 'select_account' }, await signedOut(browser))
  return page.params.has('code') ? 'nothing' : (stepOf(page) ?? page.url)
}

/** The same browser without its session: the device's cookie stays. */
async function signedOut(browser: Browser): Promise<Browser> {
  const page = await browser.get(`${target.issuer}/account`)
  if (page.forms.some(({ action }) => action.endsWith('/account/sign-out'))) {
    await browser.submit(page, {}, { form: '/account/sign-out' })
  }
  return browser
}

async function lost(person: Protected, browser = target.person()): Promise<{ browser: Browser; page: Page }> {
  const { page } = await firstFactor(target, person, {}, browser)
  expect(stepOf(page)).toBe('totp')
  return { browser, page: await choose(browser, page, 'lost_factor') }
}

async function mailOf(email: string, subject: string) {
  for (let tries = 0; tries < 200; tries++) {
    const found = (await target.mailbox.all()).findLast((mail) => mail.to.includes(email) && mail.subject === subject)
    if (found !== undefined) return found
    await sleep(50)
  }
  throw new Error(`no mail "${subject}" to ${email}`)
}

describe('a remembered browser', () => {
  it('is asked for no code for thirty days, and for one when they are over', async () => {
    const person = await signUpWithApp(target, clock, 'remembered@example.com')
    const browser = target.person()
    await remember(person, browser)
    const start = clock.now()
    expect(await asked(person, browser)).toBe('nothing')
    expect(await asked(person, target.person())).toBe('totp')
    await clock.later(30 * DAY - 60 - (clock.now().getTime() - start.getTime()) / 1000)
    expect(await asked(person, browser)).toBe('nothing')
    await clock.later(60)
    expect(await asked(person, browser)).toBe('totp')
  })

  it('is so no more after a new password', async () => {
    const person = await signUpWithApp(target, clock, 'secured@example.com')
    const browser = target.person()
    await remember(person, browser)
    const account = { email: person.email, app: person.app, clock }
    const own = target.person()
    const page = await openAccount(target, own, '/account/password', account)
    const changed = await own.submit(
      page,
      { current: PASSWORD, password: `${PASSWORD} 2` },
      { form: '/account/password' },
    )
    expect(changed.text).toContain('Your password is changed')
    const { page: next } = await firstFactorWith(person, `${PASSWORD} 2`, browser)
    expect(stepOf(next)).toBe('totp')
  })
})

async function firstFactorWith({ email }: Protected, password: string, browser: Browser) {
  const start = await target.open(await signedOut(browser))
  const named = await browser.submit(start, { identifier: email }, { form: '/identifier' })
  return { page: await browser.submit(named, { password }, { form: '/password' }) }
}

describe('a lost app', () => {
  it('is removed after three days by the next sign-in, which everybody was told of', async () => {
    const person = await signUpWithApp(target, clock, 'lost@example.com')
    const { browser, page } = await lost(person)
    const waiting = await browser.submit(page, {}, { form: '/lost_factor', button: 'request' })
    expect(waiting.text).toContain('The removal was asked for')
    expect((await mailOf(person.email, 'The second step of your Genkan account is to be removed')).text).toContain(
      '/notices/keep_factors',
    )
    await clock.later(3 * DAY)
    const { browser: later, page: due } = await lost(person)
    expect(due.text).toContain('The waiting is over')
    const end = await later.submit(due, {}, { form: '/lost_factor', button: 'remove' })
    expect(end.params.has('code')).toBe(true)
    await mailOf(person.email, 'The second step of your Genkan account was removed')
    const rows = await target.sql('select a.factors from accounts a where a.email_hash = $1', [
      await target.emailHash(person.email),
    ])
    expect(rows).toEqual([{ factors: [] }])
    expect(
      await target.sql('select 1 from totp_seeds t join accounts a on a.id = t.account_id where a.email_hash = $1', [
        await target.emailHash(person.email),
      ]),
    ).toEqual([])
    expect(await asked(person, target.person())).toBe('nothing')
  })

  it('stays when a mailed link is pressed, and when its owner signs in with it', async () => {
    const person = await signUpWithApp(target, clock, 'kept@example.com')
    const subject = 'The second step of your Genkan account is to be removed'
    for (const how of ['link', 'app']) {
      const { browser, page } = await lost(person)
      await browser.submit(page, {}, { form: '/lost_factor', button: 'request' })
      if (how === 'link') {
        const reader = target.person()
        const asks = await reader.get(linkFrom(await mailOf(person.email, subject), '/notices/keep_factors'))
        const form = asks.forms.findIndex(({ action }) => action.startsWith('/notices/'))
        expect((await reader.submit(asks, {}, { form })).text).toContain('The second step stays')
      } else {
        const { browser: own, page: code } = await firstFactor(target, person)
        await clock.later(30)
        await own.submit(code, { code: person.app.code(clock.now()) }, { form: '/totp' })
        await target.settled()
      }
      await clock.later(3 * DAY)
      const { page: after } = await lost(person)
      expect(after.text).not.toContain('The waiting is over')
      expect(after.forms.some(({ action }) => action.endsWith('/lost_factor'))).toBe(true)
    }
    expect(await asked(person, target.person())).toBe('totp')
  })

  it('is removed at once where two of the support approve what its owner asked for', async () => {
    const approve = (name: string) =>
      target.server.run(
        ...['support', 'approve', person.email, '--name', name, '--reason', 'seen at the counter'],
        ...['--key', join(target.server.dataDir, '..', name)],
      )
    const person = await signUpWithApp(target, clock, 'counter@example.com')
    expect((await approve('ann')).stderr).toContain('no removal is waiting')
    const { browser, page } = await lost(person)
    await browser.submit(page, {}, { form: '/lost_factor', button: 'request' })
    expect((await approve('ann')).stdout).toContain('somebody else of the support has to approve too')
    expect((await approve('ann')).code).toBe(1)
    expect((await lost(person)).page.text).not.toContain('The waiting is over')
    expect((await approve('bo')).stdout).toContain('the waiting has ended')
    await mailOf(person.email, 'Last reminder: the second step of your Genkan account')
    const { browser: later, page: due } = await lost(person)
    expect(due.text).toContain('The waiting is over')
    const end = await later.submit(due, {}, { form: '/lost_factor', button: 'remove' })
    expect(end.params.has('code')).toBe(true)
    const listed = await target.server.run('audit', 'list', '--type', 'factor_removal.approved', '--json')
    expect(listed.stdout).toContain('"by": "ann"')
    expect(listed.stdout).toContain('"by": "bo"')
  })
})
