/** A72: whoever knows, guesses, sends or forges a user code. The twin of each is in test/protocol/rfc8628. */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { createBrowser } from '../support/browser.ts'
import { DEVICE_CLIENTS, device, goOn, stop, typeCode } from '../support/devices.ts'
import { SETTINGS } from '../support/journeys.ts'
import { mailFolder } from '../support/mailbox.ts'
import { newPerson, type Person } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'

let server: Server
let victim: Person
let attacker: Person
const tv = () => device(server.issuer, 'tv')

beforeAll(async () => {
  const mfa = { ...DEVICE_CLIENTS[0], client_id: 'mfa-tv', minimum_acr: 'urn:genkan:acr:mfa' }
  server = await startServer({
    settings: {
      ...SETTINGS,
      trusted_proxies: ['127.0.0.1/32'],
      country_header: 'X-Country',
      clients: [...SETTINGS.clients, ...DEVICE_CLIENTS, mfa],
    },
  })
  const mailbox = mailFolder(server.dataDir)
  victim = await newPerson(server.issuer, mailbox, 'victim@example.com')
  attacker = await newPerson(server.issuer, mailbox, 'attacker@example.com')
})
afterAll(() => server?.close())

const open = (url: string, { browser } = victim) => browser.get(url)

it('the complete link connects nothing: it shows the code, and waits for the button', async () => {
  const { deviceCode, completeUri, userCode } = await tv().ask()
  const page = await open(completeUri)
  expect(page.html).toContain(userCode)
  expect(page.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'user_code')?.value).toBe(userCode)
  // No script sends it, and it is not the page on which anything is allowed.
  expect(page.html).not.toContain('confirm')
  expect((await tv().poll(deviceCode)).body.error).toBe('authorization_pending')
})

it('a forged form connects nothing: without the browser’s own token, with another’s, or from another site', async () => {
  const { deviceCode, userCode } = await tv().ask()
  const own = await open(`${server.issuer}/device`, attacker)
  const theirs = own.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'xsrf')?.value ?? ''
  await open(`${server.issuer}/device`)
  for (const xsrf of ['', theirs]) {
    const body = new URLSearchParams({ user_code: userCode, confirm: 'yes', xsrf }).toString()
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const answer = await victim.browser.send(`${server.issuer}/device`, { method: 'POST', headers, body })
    expect(answer.status).toBe(400)
  }
  expect((await tv().poll(deviceCode)).body.error).toBe('authorization_pending')
})

it('the first answer is the device’s: two who have the page open cannot both give one', async () => {
  const { deviceCode, userCode } = await tv().ask()
  const pages = await Promise.all(
    [victim, attacker].map(({ browser }) => typeCode(browser, `${server.issuer}/device`, userCode)),
  )
  const [mine, theirs] = pages as [(typeof pages)[number], (typeof pages)[number]]
  const [first, second] = await Promise.all([goOn(victim.browser, mine), goOn(attacker.browser, theirs)])
  const connected = [first, second].filter(({ text }) => text.includes('Your device is connected'))
  expect(connected).toHaveLength(1)
  expect((await tv().poll(deviceCode)).status).toBe(200)
})

it('an answer that was given cannot be taken back by somebody else', async () => {
  const { deviceCode, userCode } = await tv().ask()
  const late = await typeCode(attacker.browser, `${server.issuer}/device`, userCode)
  await goOn(victim.browser, await typeCode(victim.browser, `${server.issuer}/device`, userCode))
  expect((await stop(attacker.browser, late)).text).toContain('used already')
  expect((await tv().poll(deviceCode)).status).toBe(200)
})

it('a device that asks from another country is called so', async () => {
  const { userCode } = await device(server.issuer, 'tv', { 'x-country': 'SE', 'x-forwarded-for': '203.0.113.9' }).ask()
  const browser = createBrowser({ headers: { 'x-country': 'FI', 'x-forwarded-for': '198.51.100.7' } })
  const page = await typeCode(browser, `${server.issuer}/device`, userCode)
  expect(page.text).toContain('This device asks from Sweden, and you are somewhere else.')
  expect(page.text).not.toContain('same network')
})

it('policy holds: a client that wants two factors gets no device by one', async () => {
  const mfa = device(server.issuer, 'mfa-tv')
  const { deviceCode, userCode } = await mfa.ask()
  const page = await goOn(victim.browser, await typeCode(victim.browser, `${server.issuer}/device`, userCode))
  expect(page.text).not.toContain('Your device is connected')
  expect((await mfa.poll(deviceCode)).body.error).toBe('authorization_pending')
})

it('an account that was disabled in between gets the device nothing', async () => {
  const { deviceCode, userCode } = await tv().ask()
  await goOn(attacker.browser, await typeCode(attacker.browser, `${server.issuer}/device`, userCode))
  await server.run('accounts', 'disable', attacker.email, '--reason', 'test')
  expect((await tv().poll(deviceCode)).body.error).toBe('invalid_grant')
})

it('right codes are no guesses: an office behind one address connects its devices, and guesses no more for it', async () => {
  const headers = { 'x-forwarded-for': '192.0.2.99' }
  const browser = createBrowser({ headers })
  const type = async (code: string) => (await typeCode(browser, `${server.issuer}/device`, code)).status
  const { userCode } = await tv().ask()
  for (let entry = 0; entry < 25; entry++) expect(await type(userCode)).toBe(200)
  // A right one in between takes back itself alone.
  for (let guess = 0; guess < 20; guess++) {
    expect(await type('BCDF-GHJK')).toBe(400)
    if (guess % 5 === 0) expect(await type(userCode)).toBe(200)
  }
  expect([await type('BCDF-GHJK'), await type(userCode)]).toEqual([429, 429])
})

it('guessing is held back, for one network and whatever the browser, and says when to come again', async () => {
  const headers = { 'x-forwarded-for': '192.0.2.77' }
  const statuses: number[] = []
  for (let guess = 0; guess < 22; guess++) {
    const browser = createBrowser({ headers })
    const page = await typeCode(browser, `${server.issuer}/device`, 'BCDF-GHJK')
    statuses.push(page.status)
    if (page.status === 429) expect(Number(page.headers['retry-after'])).toBeGreaterThan(0)
  }
  expect(statuses.slice(0, 20).every((status) => status === 400)).toBe(true)
  expect(statuses.slice(20)).toEqual([429, 429])
  // Others go on.
  const { userCode } = await tv().ask()
  expect((await typeCode(victim.browser, `${server.issuer}/device`, userCode)).status).toBe(200)
})
