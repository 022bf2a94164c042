/** RFC 8628: the OAuth 2.0 Device Authorization Grant. PROTOCOL.md E 40; attacks A62, A72, A77, A78 on it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createBrowser } from '../../support/browser.ts'
import { DEVICE_CLIENTS, device, goOn, stop, typeCode } from '../../support/devices.ts'
import { allow, SETTINGS, signIn } from '../../support/journeys.ts'
import { mailFolder, type SmtpMailbox, startMailbox } from '../../support/mailbox.ts'
import { newPerson, type Person } from '../../support/people.ts'
import { sampleKinds } from '../../support/sample.ts'
import { realStores, type Server, startServer } from '../../support/server.ts'
import { clientRequests, payloadOf, postForm, tokensOf } from '../../support/token_requests.ts'

const FIREFOX = { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' }
const settings = { ...SETTINGS, clients: [...SETTINGS.clients, ...DEVICE_CLIENTS] }

describe.each(sampleKinds(['embedded', 'postgres and redis'] as const, import.meta.url))('devices on %s', (kind) => {
  let server: Server
  let mailbox: SmtpMailbox
  let ann: Person
  let tv: ReturnType<typeof device>

  beforeAll(async () => {
    mailbox = await startMailbox()
    const stores = kind === 'embedded' ? {} : { stores: await realStores() }
    server = await startServer({ settings, env: { SMTP_URL: mailbox.url }, ...stores })
    ann = await newPerson(server.issuer, mailbox, 'ann@example.com')
    tv = device(server.issuer, 'tv', FIREFOX)
  })
  afterAll(async () => {
    await server?.close()
    await mailbox?.stop()
  })

  const page = (code: string, who = ann.browser) => typeCode(who, `${server.issuer}/device`, code)

  it('is discovered, and every address is of the issuer', async () => {
    const metadata = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as {
      [name: string]: unknown
    }
    expect(metadata.device_authorization_endpoint).toBe(`${server.issuer}/device/auth`)
    expect(metadata.grant_types_supported).toContain('urn:ietf:params:oauth:grant-type:device_code')
    const asked = await tv.ask()
    expect(asked.verificationUri).toBe(`${server.issuer}/device`)
    expect(asked.completeUri).toBe(`${server.issuer}/device?user_code=${asked.userCode}`)
    expect(asked.userCode).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/)
  })

  it('gives tokens to the device once a person has gone on, and says so on its pages', async () => {
    const { deviceCode, userCode } = await tv.ask({ scope: 'openid email offline_access' })
    expect((await tv.poll(deviceCode)).body.error).toBe('authorization_pending')
    // As people type: small letters, a blank for the hyphen.
    const confirm = await page(userCode.toLowerCase().replace('-', ' '))
    expect(confirm.text).toContain('Connect a device to Harbour TV?')
    expect(confirm.text).toContain(userCode)
    expect(confirm.text).toContain('Firefox on Linux')
    expect(confirm.text).toContain('see your e-mail address')
    expect(confirm.text).toContain('From the same network as this browser.')
    const done = await goOn(ann.browser, confirm)
    expect(done.text).toContain('Your device is connected')
    const answer = await tv.poll(deviceCode)
    const { access, refresh, id } = tokensOf(answer)
    expect(payloadOf(id)).toMatchObject({ aud: 'tv', iss: server.issuer })
    const client = clientRequests(server.issuer)
    expect((await client.userinfo(access)).body.email).toBe(ann.email)
    const refreshed = await postForm(
      `${server.issuer}/token`,
      {
        ...{ grant_type: 'refresh_token', client_id: 'tv', refresh_token: refresh },
      },
      FIREFOX,
    )
    expect(refreshed.status).toBe(200)
    // Seen and taken back like any other.
    const clients = await ann.browser.get(`${server.issuer}/account/clients`)
    expect(clients.text).toContain('Harbour TV')
    await ann.browser.submit(clients, {}, { form: '/account/clients/tv/revoke' })
    expect((await client.userinfo(access)).status).toBe(401)
    const facts = await server.run('audit', 'list', '--type', 'device.connected', '--json')
    expect(facts.stdout).toContain('"tv"')
  })

  it('asks a stranger to sign in, and a third party’s device for consent', async () => {
    const other = device(server.issuer, 'other-tv')
    const { deviceCode, userCode } = await other.ask({ scope: 'openid email' })
    const browser = createBrowser()
    const asksWho = await goOn(browser, await page(userCode, browser))
    const consent = await signIn(browser, asksWho, ann.email)
    expect(consent.text).toContain('Allow Another TV to use your account?')
    expect((await other.poll(deviceCode)).body.error).toBe('authorization_pending')
    expect((await allow(browser, consent)).text).toContain('Your device is connected')
    await sleep(4100)
    expect((await other.poll(deviceCode)).status).toBe(200)
  })

  it('access_denied: when the person stops, before or after the sign-in', async () => {
    const first = await tv.ask()
    expect((await stop(ann.browser, await page(first.userCode))).text).toContain('Nothing was connected')
    expect((await tv.poll(first.deviceCode)).body.error).toBe('access_denied')

    const other = device(server.issuer, 'other-tv')
    const second = await other.ask({ scope: 'openid email' })
    const browser = createBrowser()
    const asksWho = await goOn(browser, await page(second.userCode, browser))
    const consent = await signIn(browser, asksWho, ann.email)
    if (consent.text.includes('Allow Another TV')) {
      await browser.submit(consent, {}, { form: '/consent', button: 'deny' })
      expect((await other.poll(second.deviceCode)).body.error).toBe('access_denied')
    }
  })

  it('slow_down: a device that asks too often is told, and may ask again later', async () => {
    const { deviceCode } = await tv.ask()
    const first = await tv.poll(deviceCode)
    const second = await tv.poll(deviceCode)
    expect([first.body.error, second.status, second.body.error]).toEqual(['authorization_pending', 400, 'slow_down'])
  })

  it('expired_token, and the page says that the time is over', async () => {
    const { deviceCode, userCode } = await tv.ask()
    await server.shiftDate(601)
    expect(['expired_token', 'invalid_grant']).toContain((await tv.poll(deviceCode)).body.error)
    const late = await page(userCode, createBrowser())
    expect([late.status, /not known|time for this code is over/.test(late.text)]).toEqual([400, true])
    await server.shiftDate(0)
  })

  it('is redeemed once, also by twenty at the same moment, and then its tokens are dead', async () => {
    const { deviceCode, userCode } = await tv.ask({ scope: 'openid email offline_access' })
    await goOn(ann.browser, await page(userCode))
    const answers = await Promise.all(Array.from({ length: 20 }, () => tv.poll(deviceCode)))
    const good = answers.filter(({ status }) => status === 200)
    expect(good).toHaveLength(1)
    expect(answers.filter(({ body }) => body.error === 'invalid_grant')).toHaveLength(19)
    const { access } = tokensOf(good[0] as (typeof answers)[number])
    expect((await clientRequests(server.issuer).userinfo(access)).status).toBe(401)
  })

  it('A62: another client cannot redeem it, and then nobody can', async () => {
    const { deviceCode, userCode } = await tv.ask()
    await goOn(ann.browser, await page(userCode))
    const stolen = await device(server.issuer, 'other-tv').poll(deviceCode)
    expect([stolen.status, stolen.body.error]).toEqual([400, 'invalid_grant'])
    expect((await tv.poll(deviceCode)).body.error).toBe('invalid_grant')
  })

  it('A27: a user code is no device code, whatever is put in front of it', async () => {
    const { userCode } = await tv.ask()
    await goOn(ann.browser, await page(userCode))
    const plain = userCode.replace('-', '')
    for (const value of [userCode, plain, `user_code ${plain}`, `user_code ${userCode}`]) {
      expect((await tv.poll(value)).body.error).toBe('invalid_grant')
    }
  })

  it.each([
    ['a client that may not (unauthorized_client)', { client_id: 'spa' }, 'unauthorized_client'],
    ['an unknown client', { client_id: 'nobody' }, 'invalid_client'],
    ['A77 a scope that it may not have', { scope: 'openid phone' }, 'invalid_scope'],
    ['a malformed scope', { scope: 'openid "' }, 'invalid_scope'],
  ])('refuses %s', async (_name, fields, error) => {
    const answer = await postForm(`${server.issuer}/device/auth`, { client_id: 'tv', scope: 'openid', ...fields })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
    expect(['invalid_request', error]).toContain(answer.body.error)
  })

  it('A78: a parameter that comes twice is refused', async () => {
    const body = 'client_id=tv&scope=openid&scope=openid%20email'
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const answer = await fetch(`${server.issuer}/device/auth`, { method: 'POST', body, headers })
    expect([answer.status, (await answer.json()) as object]).toMatchObject([400, { error: 'invalid_request' }])
  })
})

it('devices of the embedded default keep their answer over a restart', async () => {
  const server = await startServer({ settings })
  try {
    const ann = await newPerson(server.issuer, mailFolder(server.dataDir), 'ann@example.com')
    const tv = device(server.issuer, 'tv')
    const { deviceCode, userCode } = await tv.ask()
    await goOn(ann.browser, await typeCode(ann.browser, `${server.issuer}/device`, userCode))
    await server.restart()
    expect((await tv.poll(deviceCode)).status).toBe(200)
  } finally {
    await server.close()
  }
})
