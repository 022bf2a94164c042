/** Codes by text message on the real product: as files in the demo, and by a provider that may fail. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import type { Browser, Page } from '../../support/browser.ts'
import { authorization, choose, discover, PASSWORD, redeem, SETTINGS, signIn } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { clientBrowser, newPerson, redirectUri, stepOf } from '../../support/people.ts'
import { type Server, startServer } from '../../support/server.ts'
import { startTarget, type Target } from '../../support/target.ts'
import { codeOf, startTextProvider, type TextProvider, textFile } from '../../support/text_provider.ts'

const MFA = 'urn:genkan:acr:mfa'
const NUMBER = '+358401234567'

describe('in the demo', () => {
  let server: Server
  let browser: Browser
  const email = 'ada@phone.example'

  beforeAll(async () => {
    server = await startServer({ settings: SETTINGS, stores: 'embedded' })
    browser = (await newPerson(server.issuer, mailFolder(server.dataDir), email)).browser
  })
  afterAll(() => server?.close())

  it('a client that asks for more leads through the number and its code to acr and amr', async () => {
    const client = await discover(server.issuer, 'own')
    const request = await authorization(client, redirectUri('own'), { acr_values: MFA, prompt: 'login' })
    const choice = await signIn(browser, await browser.get(request.url), email)
    expect(stepOf(choice)).toBe('enrol')
    const page = await choose(browser, choice, 'sms_setup')
    expect(page.html).toMatch(/<input id="phone" name="phone" type="tel" value="" autocomplete="tel"/)
    const wrong = await browser.submit(page, { phone: '040 123' }, { form: '/sms_setup' })
    expect(wrong.status).toBe(400)
    expect(wrong.html).toContain('value="040 123"')
    expect(wrong.text).toContain('This is not a complete phone number.')
    const asks = await browser.submit(wrong, { phone: ' +358 40 123-4567 ' }, { form: '/sms_setup' })
    expect(asks.text).toContain(`We sent a code by text message to ${NUMBER}`)
    expect(asks.html).toMatch(/<input class="code"[^>]*inputmode="numeric" autocomplete="one-time-code"/)
    const text = await textFile(server.dataDir, NUMBER)
    expect(text).toMatch(
      /^To: \+358401234567\n\n\d{6} is your Genkan code\. Never share it: .*\n\n@localhost #\d{6}\n$/,
    )
    const codes = await browser.submit(asks, { code: codeOf(text) }, { form: '/sms_setup' })
    expect(stepOf(codes)).toBe('new_recovery_codes')
    const end = await browser.submit(codes, {}, { form: '/new_recovery_codes' })
    const { id_token: idToken = '' } = await redeem(client, request, end)
    const { acr, amr } = decodeJwt(idToken)
    expect(acr).toBe(MFA)
    expect([...(amr as string[])].sort()).toEqual(['mfa', 'otp', 'pwd', 'sms'])
  })

  it('the next sign-in asks for a code by itself, on a number that only its owner recognises', async () => {
    await server.shiftDate(60)
    const client = await discover(server.issuer, 'own')
    const request = await authorization(client, redirectUri('own'))
    const fresh = clientBrowser()
    const page = await signIn(fresh, await fresh.get(request.url), email)
    expect(stepOf(page)).toBe('sms_code')
    expect(page.text).toContain('You protected your account with a second step.')
    expect(page.text).toContain('•••• 67')
    expect(page.html).not.toContain('4012345')
    const code = codeOf(await textFile(server.dataDir, NUMBER, 2))
    // Looking again sends nothing.
    await fresh.get(page.url)
    const end = await fresh.submit(page, { code: `${code.slice(0, 3)} ${code.slice(3)}` }, { form: '/sms_code' })
    const { id_token: idToken = '' } = await redeem(client, request, end)
    expect(decodeJwt(idToken)).toMatchObject({ acr: MFA, amr: ['pwd', 'otp', 'sms', 'mfa'] })
    await expect(textFile(server.dataDir, NUMBER, 3)).rejects.toThrow('no message 3')
  })

  it('the account page shows it, replaces it, and takes it away, each after the highest level', async () => {
    await server.shiftDate(600)
    const asked = await browser.get(`${server.issuer}/account/phone`)
    const more = stepOf(asked) === 'sms_code' ? asked : await signIn(browser, asked, email, PASSWORD)
    expect(stepOf(more)).toBe('sms_code')
    const shown = await browser.submit(
      more,
      { code: codeOf(await textFile(server.dataDir, NUMBER, 3)) },
      { form: '/sms_code' },
    )
    expect(shown.text).toContain('•••• 67')
    expect(shown.text).toMatch(/Last used on/)
    const other = '+358457654321'
    const start = await browser.get(`${server.issuer}/account/phone/new`)
    expect(start.text).toContain('The number that you use now gets no more codes')
    const refused = await browser.submit(start, { phone: '+358600123456' }, { form: '/account/phone/new' })
    expect(refused.status).toBe(400)
    expect(refused.text).toContain('We cannot send codes to this number.')
    const asks = await browser.submit(refused, { phone: other }, { form: '/account/phone/new' })
    const code = codeOf(await textFile(server.dataDir, other))
    const done = await browser.submit(asks, { code }, { form: '/account/phone/new' })
    expect(done.text).toContain('Your new phone is set up.')
    expect(done.text).toMatch(/Codes by text message Set up/)
    const phone = await browser.get(`${server.issuer}/account/phone`)
    expect(phone.text).toContain('•••• 21')
    const removed = await browser.submit(phone, {}, { form: '/account/phone/remove' })
    expect(removed.text).toContain('Your phone was removed.')
    expect(removed.text).toMatch(/Codes by text message Not set up/)
    const wanted = ['added to', 'replaced', 'removed'].map((word) => new RegExp(`phone .*${word}`))
    for (let tries = 0; tries < 200; tries++) {
      const subjects = (await mailFolder(server.dataDir).all()).map(({ subject }) => subject)
      if (wanted.every((word) => subjects.some((subject) => word.test(subject)))) return
      await sleep(25)
    }
    throw new Error('the owner was not told')
  })
})

describe('with a provider', () => {
  let target: Target
  let provider: TextProvider
  let page: Page
  let browser: Browser

  beforeAll(async () => {
    provider = await startTextProvider()
    const sms = {
      url: provider.url,
      headers: { authorization: `Bearer \${env:SMS_TOKEN}` },
      body_template: { to: '{to}', text: '{text}', id: '{id}', from: 'Genkan' },
      countries: ['FI'],
    }
    target = await startTarget({ settings: { ...SETTINGS, sms }, env: { SMS_TOKEN: 'of-the-operator' } })
  })
  afterAll(async () => {
    await target?.close()
    await provider?.close()
  })

  async function setUp(email: string, number: string) {
    const member = await target.signUp(email)
    const start = await member.browser.get(`${target.issuer}/account/phone/new`)
    const at = stepOf(start) === 'password' ? await signIn(member.browser, start, email) : start
    const asks = await member.browser.submit(at, { phone: number }, { form: '/account/phone/new' })
    return { ...member, asks }
  }

  it('sends in our words with the secret of the environment, and a number confirms a claim of the same number only', async () => {
    const { browser: own, asks, sub } = await setUp('ida@phone.example', NUMBER)
    const done = await own.submit(asks, { code: codeOf(await provider.to(NUMBER)) }, { form: '/account/phone/new' })
    expect(done.text).toContain('Your phone is set up.')
    expect(provider.requests[0]).toMatchObject({
      headers: { authorization: 'Bearer of-the-operator' },
      body: { to: NUMBER, from: 'Genkan', id: expect.stringMatching(/^[0-9a-f]{32}$/) },
    })
    expect(await target.sql('select factors from accounts where id = $1', [sub])).toEqual([
      { factors: ['sms_code', 'recovery_code'] },
    ])
    const dump = JSON.stringify([
      await target.sql('select * from phones'),
      await target.sql('select data, sealed from outbox'),
    ])
    expect(dump).not.toContain(NUMBER.slice(1))
  })

  it('that fails is asked again, while the page stands and leads to another way; nothing is an error of ours', async () => {
    await target.server.shiftDate(120)
    provider.status = 503
    const before = provider.requests.length
    browser = target.person()
    page = await signIn(browser, await target.open(browser), 'ida@phone.example')
    expect([page.status, stepOf(page)]).toEqual([200, 'sms_code'])
    while (provider.requests.length === before) await sleep(25)
    const other = await choose(browser, page, 'recovery_code')
    expect(stepOf(other)).toBe('recovery_code')
    const back = await choose(browser, other, 'sms_code')
    expect([back.status, stepOf(back)]).toEqual([200, 'sms_code'])
    provider.status = 202
    await target.server.shiftDate(150)
    const code = codeOf(await provider.to(NUMBER, 2))
    const ids = provider.requests.slice(before).map(({ body }) => (body as { id: string }).id)
    expect(ids.length).toBeGreaterThan(1)
    expect(new Set(ids).size).toBe(1)
    const end = await browser.submit(back, { code }, { form: '/sms_code' })
    expect(end.params.has('code')).toBe(true)
    const metrics = await (await fetch(`${target.server.managementOrigin}/metrics`)).text()
    expect(metrics).toMatch(/genkan_text_messages_total\{event="failed"\} [1-9]/)
    expect(metrics).toMatch(/genkan_text_messages_total\{event="used"\} 2/)
  })

  it('holds a number of a country that is not served', async () => {
    const { asks } = await setUp('ulla@phone.example', '+46701234567')
    expect(asks.status).toBe(400)
    expect(asks.text).toContain('We cannot send codes to this number.')
  })

  it('sealed numbers follow the secret key', async () => {
    const resealed = await target.server.run('keys', 'reseal')
    expect(resealed).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('everything is under the newest secret key'),
    })
  })
})

it('without settings for it, in production, there is no step to post to, no page, and no offer (A96)', async () => {
  const target = await startTarget()
  try {
    const { browser } = await target.signUp('none@phone.example')
    const start = await browser.get(`${target.issuer}/account/security`)
    expect(start.text).not.toContain('Codes by text message')
    expect((await browser.get(`${target.issuer}/account/phone`)).status).toBe(404)
    const page = await target.open(browser, { acr_values: MFA })
    expect(stepOf(page)).toBe('enrol')
    expect(page.html).not.toContain('sms_setup')
    const { origin, pathname } = new URL(page.url)
    const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
    const forged = await browser.post(
      `${origin}${pathname}/sms_setup`,
      { csrf, phone: NUMBER, action: 'send' },
      page.url,
    )
    expect(forged.status).toBe(403)
  } finally {
    await target.close()
  }
})
