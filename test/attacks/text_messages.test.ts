/** What A may try with V's phone, or with our money (A36, A38, A41, A46, R49d). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, Page } from '../support/browser.ts'
import { SETTINGS, signIn } from '../support/journeys.ts'
import { stepOf } from '../support/people.ts'
import { clockOf, firstFactor } from '../support/second_factors.ts'
import { type Member, startTarget, type Target } from '../support/target.ts'
import { codeOf, startTextProvider, type TextProvider } from '../support/text_provider.ts'

const NUMBER = '+358401234567'
let provider: TextProvider
let target: Target
let clock: ReturnType<typeof clockOf>
let v: Member

beforeAll(async () => {
  provider = await startTextProvider()
  // Small enough to be used up here; the rest as in production.
  const sms = {
    url: provider.url,
    countries: ['FI'],
    budget: { prefix_per_hour: 12 },
    conversion: { sample: 8, least: 0.25 },
  }
  target = await startTarget({ settings: { ...SETTINGS, sms } })
  clock = clockOf(target)
  v = await target.signUp('v@texts.example')
  const { end } = await propose(v, NUMBER)
  const code = codeOf(await provider.to(NUMBER))
  const done = await v.browser.submit(end, { code }, { form: '/account/phone/new' })
  if (!done.text.includes('Your phone is set up.')) throw new Error(done.text)
  await clock.later(600)
})
afterAll(async () => {
  await target?.close()
  await provider?.close()
})

const submit = (browser: Browser, page: Page, code: string) => browser.submit(page, { code }, { form: '/sms_code' })
const messages = () => provider.accepted.filter(({ to }) => to === NUMBER).length
const failuresOf = async () =>
  (await target.sql<{ failures: number }>('select failures from phones where account_id = $1', [v.sub]))[0]?.failures

/** Types a number on the account page. */
async function propose({ browser, email }: Member, phone: string): Promise<{ end: Page }> {
  const start = await browser.get(`${target.issuer}/account/phone/new`)
  const page = stepOf(start) === undefined ? start : await signIn(browser, start, email)
  return { end: await browser.submit(page, { phone }, { form: '/account/phone/new' }) }
}

describe('A36: guessing', () => {
  it('over new conversations, addresses and a restart, five are looked at in ten minutes and the right one is held', async () => {
    const statuses: number[] = []
    for (let i = 0; i < 7; i++) {
      const { browser, page } = await firstFactor(target, v)
      statuses.push((await submit(browser, page, '000000')).status)
      if (i === 5) await target.server.restart()
    }
    expect(statuses).toEqual([400, 400, 400, 400, 400, 429, 429])
    expect(await failuresOf()).toBe(5)
    await clock.later(31)
    const sent = messages()
    const { browser, page } = await firstFactor(target, v)
    const code = codeOf(await provider.to(NUMBER, sent + 1))
    expect((await submit(browser, page, code)).status).toBe(429)
    const rejected = await target.sql(`select 1 from outbox where type = 'sms_code.rejected' and account_id = $1`, [
      v.sub,
    ])
    expect(rejected).toHaveLength(5)
    await clock.later(600)
  })

  it('A46: nothing, a part of a code, a form of another kind or a GET pass no page, and a submit counts', async () => {
    const { browser, page } = await firstFactor(target, v)
    const before = (await failuresOf()) ?? 0
    const at = new URL(page.url)
    const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    for (const fields of [{}, { code: '' }, { code: '12345' }, { code: '{"$ne":1}' }, { otp: '123456' }]) {
      const answer = await browser.post(`${at.origin}${at.pathname}/sms_code`, { csrf, ...fields }, page.url)
      expect([fields, answer.status, stepOf(answer)]).toEqual([fields, 400, 'sms_code'])
    }
    expect(await failuresOf()).toBe(before + 5)
    for (const method of ['GET', 'HEAD']) {
      const answer = await browser.send(`${at.origin}${at.pathname}/sms_code?code=123456`, { method })
      expect(String(answer.headers.location ?? '')).not.toContain('code=')
    }
    expect((await target.open(browser, { prompt: 'none' })).params.get('error')).toBe('login_required')
    await clock.later(600)
  })

  it('A38: who does not know the password causes no message and counts nothing', async () => {
    const before = [messages(), await failuresOf()]
    const browser = target.person()
    const page = await signIn(browser, await target.open(browser), v.email, 'not the password at all')
    const at = new URL(page.url)
    const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    await browser.post(`${at.origin}${at.pathname}/switch`, { csrf, to: 'sms_code' }, page.url)
    await browser.post(`${at.origin}${at.pathname}/sms_code`, { csrf, action: 'resend' }, page.url)
    await browser.post(`${at.origin}${at.pathname}/sms_setup`, { csrf, action: 'send', phone: NUMBER }, page.url)
    await target.settled()
    expect([messages(), await failuresOf()]).toEqual(before)
  })

  it('A41: the first factor sets no other phone up', async () => {
    const { browser, page } = await firstFactor(target, v)
    const at = new URL(page.url)
    const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    const forged = await browser.post(
      `${at.origin}${at.pathname}/sms_setup`,
      { csrf, action: 'send', phone: '+358457654321' },
      page.url,
    )
    expect(stepOf(forged)).toBe('sms_code')
    expect(stepOf(await browser.get(`${target.issuer}/account/phone/new`))).toBeDefined()
    await target.settled()
    expect(provider.accepted.some(({ to }) => to === '+358457654321')).toBe(false)
  })
})

describe('R49d: who earns by messages', () => {
  it('to a prefix is stopped when nobody uses their codes, for an hour, and the operator is told', async () => {
    const before = provider.accepted.length
    const ends: number[] = []
    for (let i = 0; i < 11; i++) {
      const a = await target.signUp(`a${i}@texts.example`)
      const { end } = await propose(a, `+3584510${String(10_000 + i)}`)
      ends.push(end.status)
      if (i === 10) {
        expect(end.text).toContain('We cannot send a text message to this number now.')
        expect(Number(end.headers['retry-after'])).toBeGreaterThan(3000)
      }
    }
    expect(ends).toEqual([...Array.from({ length: 8 }, () => 200), 429, 429, 429])
    await target.settled()
    expect(provider.accepted.length - before).toBe(8)
    const facts = await target.sql<{ data: object }>(`select data from outbox where type = 'sms.stopped'`)
    expect(facts).toEqual([{ data: { prefix: '+358451', country: 'FI', seconds: 3600 } }])
    const metrics = await (await fetch(`${target.server.managementOrigin}/metrics`)).text()
    expect(metrics).toContain('genkan_text_messages_total{event="stopped"} 1')
    await clock.later(3600)
    const late = await target.signUp('late@texts.example')
    expect((await propose(late, '+358451099999')).end.status).toBe(200)
  }, 120_000)
})
