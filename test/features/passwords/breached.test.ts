/** Breached passwords by the front door: a list on disk and a range API on this machine, wherever a password is set. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createBrowser } from '../../support/browser.ts'
import { authorization, discover, PASSWORD, register, SETTINGS, SPA } from '../../support/journeys.ts'
import { mailFolder } from '../../support/mailbox.ts'
import { until } from '../../support/processes.ts'
import { type Server, startServer } from '../../support/server.ts'

const ON_DISK = 'seven violet anvils 22'
const IN_RANGE = 'orange meridian teapot 9'
const DAY = 86_400
const sha1 = (password: string) => createHash('sha1').update(password).digest('hex').toUpperCase()

let folder: string
let api: HttpServer
let server: Server
let asked: string[]
let isAway = false
/** What the range API knows. */
const leaked = [IN_RANGE]

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'genkan-breached-'))
  const file = join(folder, 'list.txt')
  writeFileSync(file, `${[ON_DISK, 'a', 'b', 'c'].map(sha1).sort().join(':5\n')}:5\n`)
  asked = []
  api = createServer((request, response) => {
    asked.push(request.url ?? '')
    if (isAway) return void response.writeHead(503).end()
    response.end(`${'0'.repeat(35)}:0\r\n${leaked.map((password) => `${sha1(password).slice(5)}:12`).join('\r\n')}\r\n`)
  })
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve))
  const breached_api = `http://127.0.0.1:${(api.address() as AddressInfo).port}/range`
  server = await startServer({ settings: { ...SETTINGS, passwords: { breached_file: file, breached_api } } })
})
afterAll(async () => {
  await server?.close()
  api?.close()
  rmSync(folder, { recursive: true })
})

async function registering() {
  const browser = createBrowser({ stopAt: [SPA] })
  const spa = await discover(server.issuer, 'spa')
  return { browser, page: await browser.get((await authorization(spa, `${SPA}/callback`, { prompt: 'create' })).url) }
}

async function metric(line: string): Promise<number> {
  const text = await (await fetch(`${server.managementOrigin}/metrics`)).text()
  return Number(
    text
      .split('\n')
      .find((each) => each.startsWith(line))
      ?.split(' ')
      .at(-1) ?? 0,
  )
}

describe('a password that is known from a breach', () => {
  it.each([
    ['the list', ON_DISK],
    ['the range API', IN_RANGE],
  ])('is refused at registration by %s, with what to do next', async (_, password) => {
    const { browser, page } = await registering()
    const refused = await browser.submit(page, { email: 'ada@example.com', password }, { form: '/register' })
    expect(refused.status).toBe(400)
    expect(refused.text).toContain('known from a data breach elsewhere. Choose another one')
  })

  it('is refused on the account page too; a sign-in soon after asks nobody', async () => {
    const { browser, page } = await registering()
    await register(browser, page, mailFolder(server.dataDir), 'eve@example.com')
    const before = asked.length
    expect(asked.at(-1)).toBe(`/range/${sha1(PASSWORD).slice(0, 5)}`)
    const form = await browser.get(`${server.issuer}/account/password`)
    const again = createBrowser({ stopAt: [SPA] })
    const spa = await discover(server.issuer, 'spa')
    const start = await again.get((await authorization(spa, `${SPA}/callback`, { login_hint: 'eve@example.com' })).url)
    await again.submit(start, { password: PASSWORD }, { form: '/password' })
    expect(asked).toHaveLength(before)
    const values = { current: PASSWORD, password: IN_RANGE }
    const refused = await browser.submit(form, values, { form: '/account/password' })
    expect([refused.status, refused.text.includes('known from a data breach')]).toEqual([400, true])
  })

  it('passes while the API is away, with a metric and a line of the log', async () => {
    isAway = true
    const { browser, page } = await registering()
    const passed = await browser.submit(page, { email: 'bob@example.com', password: IN_RANGE }, { form: '/register' })
    isAway = false
    expect(passed.forms.some(({ action }) => action.endsWith('/verify_email'))).toBe(true)
    expect(await metric('genkan_breach_checks_total{source="api",result="failed"}')).toBe(1)
    await until(
      () => server.logs().filter((line) => line.includes('breached passwords cannot be asked')).length === 1,
      10_000,
    )
    expect(server.logs().join('\n')).not.toContain(IN_RANGE)
  })

  it('that was not when it was chosen: its owner is told after a sign-in, once a month, and only of a leak', async () => {
    const spa = await discover(server.issuer, 'spa')
    const email = 'later@example.com'
    const password = 'nine copper lanterns 31'
    const first = await registering()
    const mails = mailFolder(server.dataDir)
    await register(first.browser, first.page, mails, email, password)
    const signIn = async () => {
      const browser = createBrowser({ stopAt: [SPA] })
      const page = await browser.get((await authorization(spa, `${SPA}/callback`, { login_hint: email })).url)
      const end = await browser.submit(page, { password }, { form: '/password' })
      expect(end.params.has('code')).toBe(true)
    }
    const warnings = async () =>
      (await mails.all()).filter(({ to, subject }) => to.includes(email) && subject.includes('known from a leak'))
        .length
    const askedOf = () => asked.filter((url) => url === `/range/${sha1(password).slice(0, 5)}`).length
    const until = async (count: number, seen: () => number | Promise<number>) => {
      for (let tries = 0; (await seen()) < count && tries < 200; tries++) await sleep(50)
      expect(await seen()).toBe(count)
    }
    await server.shiftDate(31 * DAY)
    await signIn()
    await until(2, askedOf)
    leaked.push(password)
    await signIn()
    await server.shiftDate(62 * DAY)
    await signIn()
    await until(1, warnings)
    await signIn()
    await sleep(300)
    expect([askedOf(), await warnings()]).toEqual([3, 1])
    await server.shiftDate(0)
  })

  it('a list that cannot be searched is said at start', async () => {
    const file = join(folder, 'lower.txt')
    writeFileSync(file, `${sha1('a').toLowerCase()}\n`)
    const settings = { ...SETTINGS, passwords: { breached_file: file } }
    const broken = await startServer({ settings, wait: false })
    expect(await broken.exited()).toBe(1)
    expect(broken.logs().join('\n')).toMatch(/passwords\.breached_file: .*lower\.txt near byte 0: is no SHA-1/)
    await broken.close()
  })
})
