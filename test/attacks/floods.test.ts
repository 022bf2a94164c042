/** Floods of sign-ins (A102, A103): who comes from elsewhere goes first, tokens go on, and everybody is told when to come again. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { post } from '../support/abuse.ts'
import type { Answer, Browser, Page } from '../support/browser.ts'
import { API, choose, PASSWORD, SECRET, SETTINGS, SPA } from '../support/journeys.ts'
import { CALLBACK, startTarget, type Target } from '../support/target.ts'

const BASIC = `Basic ${Buffer.from(`machine:${SECRET}`).toString('base64')}`
const WRONG = 'not the right one 12'
const MANY = { sign_in_per_identifier: 1000, sign_in_per_address: 1000, challenge_at_percent: 100 }

const token = ({ server }: Target, headers: Record<string, string> = {}) =>
  fetch(`${server.origin}/token`, {
    method: 'POST',
    headers: { authorization: BASIC, ...headers },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: API }),
  })

async function metric({ server }: Target, series: string): Promise<number> {
  const text = await (await fetch(`${server.managementOrigin}/metrics`)).text()
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  if (line === undefined) throw new Error(`no series ${series}`)
  return Number(line.slice(series.length))
}

/** A metric says so; what is under way meanwhile goes on. */
async function until(target: Target, series: string, holds: (value: number) => boolean): Promise<void> {
  for (let tries = 0; !holds(await metric(target, series)); tries++) {
    if (tries > 800) throw new Error(`${series} stays ${await metric(target, series)}`)
    await sleep(10)
  }
}

interface Person {
  readonly browser: Browser
  readonly page: Page
}

/** At the password page, as somebody at an address. */
async function atPassword(target: Target, identifier: string, ip?: string): Promise<Person> {
  const browser = target.person(ip === undefined ? {} : { ip })
  const page = await browser.submit(await target.open(browser), { identifier }, { form: '/identifier' })
  return { browser, page }
}

const atPasswords = (target: Target, count: number, of: (index: number) => [identifier: string, ip?: string]) =>
  Promise.all(Array.from({ length: count }, (_, index) => atPassword(target, ...of(index))))

const signIn = ({ browser, page }: Person, password = WRONG): Promise<Answer> =>
  post(browser, page, '/password', { password })

const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status)
const refused = (answers: readonly Answer[]) => answers.filter(({ status }) => status === 429 || status === 503)

describe('the queue of hashes', () => {
  let target: Target
  // One at a time, two hundred places: a hundred of one address, 25 of one account; a tenth of that on a slow machine.
  beforeAll(async () => {
    const passwords = { memory_kib: 32_768, passes: 2, max_concurrent: 1, queue_ms: 10_000 }
    target = await startTarget({ settings: { ...SETTINGS, passwords, limits: MANY, overload: false } })
  })
  afterAll(() => target?.close())

  it('A103: fifty sign-ins of one address do not keep one of another waiting', async () => {
    const { email } = await target.signUp('other@example.com')
    const other = await atPassword(target, email)
    const flood = await atPasswords(target, 50, (index) => [`flood${index}@example.com`, '203.0.113.9'])
    let served = 0
    const answers = flood.map(async (person) => {
      const answer = await signIn(person)
      if (answer.status === 400) served += 1
      return answer
    })
    await until(target, 'genkan_hash_queue_length{priority="sign_in"}', (length) => length >= 3)
    const before = served
    const answer = await signIn(other, PASSWORD)
    const meanwhile = served - before
    expect(answer.status).toBe(303)
    const all = await Promise.all(answers)
    // In one row with them, it would have come after them all.
    expect(meanwhile).toBeLessThan((served - before) / 2)
    expect(statuses(all).filter((status) => status === 400)).toHaveLength(served)
    for (const { status, headers } of all) if (status !== 400) expect(headers['retry-after']).toBe('1')
  })

  it('A103: one account cannot fill it from many addresses, be it there or not', async () => {
    const { email } = await target.signUp('victim@example.com')
    for (const identifier of [email, 'nobody@example.com']) {
      const people = await atPasswords(target, 40, () => [identifier])
      const bystander = await atPassword(target, 'bystander@example.com')
      const answers = people.map((person) => signIn(person))
      await until(target, 'genkan_hash_queue_length{priority="sign_in"}', (length) => length >= 3)
      expect((await signIn(bystander)).status).toBe(400)
      const all = statuses(await Promise.all(answers))
      expect(all).toContain(400)
      expect(all).toContain(429)
    }
    expect(
      await metric(target, 'genkan_hash_queue_refused_total{reason="account",priority="sign_in"}'),
    ).toBeGreaterThan(1)
  })

  it('R53: who signs up waits behind those who sign in', async () => {
    const newcomer = target.person()
    const form = await choose(newcomer, await target.open(newcomer), 'create')
    // So many that the newcomer's password is looked at before their turns are over, and so few that all have one beside other tests.
    const early = await atPasswords(target, 14, (index) => [`early${index}@example.com`])
    const late = await atPasswords(target, 3, (index) => [`late${index}@example.com`])
    const order: string[] = []
    const noted = async (name: string, answer: Promise<Answer>) => {
      const { status } = await answer
      order.push(name)
      return status
    }
    const first = early.map((person) => noted('in', signIn(person)))
    await until(target, 'genkan_hash_queue_length{priority="sign_in"}', (length) => length >= 9)
    const values = { email: 'newcomer@example.com', password: PASSWORD }
    const signUp = noted('up', post(newcomer, form, '/register', values))
    await until(target, 'genkan_hash_queue_length{priority="sign_up"}', (length) => length === 1)
    const second = late.map((person) => noted('in', signIn(person)))
    expect(await Promise.all([...first, ...second])).toEqual(Array(17).fill(400))
    expect(await signUp).toBe(303)
    expect(order).toEqual([...Array(17).fill('in'), 'up'])
  })
})

describe('a full queue of hashes', () => {
  let target: Target
  // A hash takes about a second, and so much work may wait: one place.
  beforeAll(async () => {
    const passwords = { memory_kib: 262_144, passes: 4, max_concurrent: 1, queue_ms: 1000 }
    target = await startTarget({ settings: { ...SETTINGS, passwords, limits: MANY, overload: false } })
  })
  afterAll(() => target?.close())

  it('A103: the rest is told so at once, and tokens and documents go on', async () => {
    const crowd = await atPasswords(target, 6, (index) => [`crowd${index}@example.com`])
    const same = await atPasswords(target, 3, (index) => [`same${index}@example.com`, '203.0.113.9'])
    const answers = Promise.all(crowd.map((person) => signIn(person)))
    await until(target, 'genkan_hash_queue_refused_total{reason="full",priority="sign_in"}', (count) => count >= 3)
    const others = await Promise.all([
      ...Array.from({ length: 20 }, () => token(target)),
      ...['/jwks', '/.well-known/openid-configuration'].map((path) => fetch(target.server.origin + path)),
    ])
    expect(others.map(({ status }) => status)).toEqual(Array(22).fill(200))
    expect(await metric(target, 'genkan_hash_queue_running')).toBe(1)
    const turned = refused(await answers)
    expect(statuses(turned)).toEqual(Array(turned.length).fill(503))
    for (const { headers, body } of turned) {
      expect(headers['retry-after']).toBe('1')
      expect(body).toContain('Nothing you did is lost')
    }
    // Of one address alone it is too many, not too much.
    const mine = refused(await Promise.all(same.map((person) => signIn(person))))
    expect(statuses(mine)).toContain(429)
    for (const { headers } of mine) expect(headers['retry-after']).toBe('1')
  })
})

describe('a full queue of hashes behind the gate', () => {
  let target: Target
  // At their pages before there is a line in front of these.
  let same: Person[]
  let crowd: Person[]
  beforeAll(async () => {
    const passwords = { memory_kib: 262_144, passes: 4, max_concurrent: 1, queue_ms: 1000 }
    target = await startTarget({ settings: { ...SETTINGS, passwords, limits: MANY, overload: {} } })
    same = await atPasswords(target, 6, (index) => [`same${index}@example.com`, '203.0.113.9'])
    crowd = await atPasswords(target, 12, (index) => [`crowd${index}@example.com`])
  })
  afterAll(() => target?.close())

  it('A103: a password that would find no place is turned away before anything is done for it, of one address or of all', async () => {
    const early = same.slice(0, 3).map((person) => signIn(person))
    await until(target, 'genkan_hash_queue_length{priority="sign_in"}', (length) => length >= 1)
    const turned = await Promise.all(same.slice(3).map((person) => signIn(person)))
    expect(statuses(turned)).toEqual([503, 503, 503])
    for (const { headers, body } of turned) {
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(2)
      expect(headers['content-length']).toBe(String(Buffer.byteLength(body)))
      expect(body).toContain('reload this page to send it again')
    }
    await Promise.all(early)
    // Its page is still there, and the next try counts.
    const last = same.at(-1)
    if (last !== undefined) expect((await signIn(last)).status).toBe(400)
  })

  it('A103: of many passwords that come in one moment no more are let in than find a place', async () => {
    const answers = await Promise.all(crowd.map((person) => signIn(person)))
    const turned = refused(answers).filter(({ body }) => body.includes('reload this page to send it again'))
    // One runs and one waits, be it in vain; the next comes in when one is done.
    const done = answers.filter(({ status }) => status === 400)
    expect(answers.length - turned.length).toBeLessThanOrEqual(2 + done.length)
    expect(turned).not.toHaveLength(0)
    expect(statuses(turned)).toEqual(Array(turned.length).fill(503))
  })
})

describe('too much at once', () => {
  let target: Target
  const held: Promise<Answer>[] = []
  // Hashes of seconds hold requests in flight; from two on sign-ups are turned away, from three on sign-ins, from four on all.
  beforeAll(async () => {
    const passwords = { memory_kib: 262_144, passes: 7, max_concurrent: 1, queue_ms: 10_000 }
    target = await startTarget({ settings: { ...SETTINGS, passwords, limits: MANY, overload: { max_in_flight: 4 } } })
  })
  afterAll(() => target?.close())

  const html = { accept: 'text/html' }
  const machine = { accept: 'application/json' }
  const get = (path: string, headers: Record<string, string>) =>
    fetch(target.server.origin + path, { headers, redirect: 'manual' })
  const AUTH = `/auth?client_id=own&response_type=code&scope=openid&redirect_uri=${encodeURIComponent(CALLBACK)}&code_challenge=${'a'.repeat(43)}&code_challenge_method=S256`

  it('R53: turns away who signs up, then who begins, then who is under way, tokens last, and recovers by itself', async () => {
    const people: Person[] = []
    for (let i = 0; i < 5; i++) people.push(await atPassword(target, `held${i}@example.com`))
    const [under = { browser: target.person(), page: {} as Page }, ...rest] = people
    const hold = async () => {
      const person = rest.shift()
      if (person !== undefined) held.push(signIn(person))
      await until(target, 'genkan_requests_in_flight', (count) => count === held.length)
    }
    const begin = async () => (await get(AUTH, machine)).status
    const signUp = async () => (await get(`${AUTH}&prompt=create`, machine)).status
    const goOn = async () => (await under.browser.send(under.page.url)).status
    const tokens = async () => (await token(target)).status
    const all = async () => [await signUp(), await begin(), await goOn(), await tokens()]

    expect(await all()).toEqual([303, 303, 200, 200])
    await hold()
    await hold()
    expect(await all()).toEqual([503, 303, 200, 200])
    await hold()
    expect(await all()).toEqual([503, 503, 200, 200])
    await hold()
    expect(await all()).toEqual([503, 503, 503, 503])
    expect((await fetch(`${target.server.origin}/jwks`)).status).toBe(200)
    expect((await fetch(`${target.server.origin}/livez`)).status).toBe(200)
    await answersAre(under)

    await Promise.all(held)
    await until(target, 'genkan_requests_in_flight', (count) => count === 0)
    expect([await goOn(), await tokens()]).toEqual([200, 200])
    const newcomer = target.person()
    const end = Date.now() + 10_000
    let page = await target.open(newcomer, { prompt: 'create' })
    while (page.status !== 200 && Date.now() < end) {
      await sleep(200)
      page = await target.open(newcomer, { prompt: 'create' })
    }
    expect(page.forms.some(({ action }) => action.endsWith('/register'))).toBe(true)
  })

  /** What is told while nobody is let in. */
  async function answersAre({ browser, page }: Person): Promise<void> {
    const tokenAnswer = await token(target, { origin: SPA })
    expect(await tokenAnswer.json()).toMatchObject({ error: 'temporarily_unavailable' })
    expect(tokenAnswer.headers.get('access-control-allow-origin')).toBe(SPA)
    expect(tokenAnswer.headers.get('access-control-expose-headers')).toContain('Retry-After')
    expect(tokenAnswer.headers.get('cache-control')).toBe('no-store')
    const stranger = await token(target, { origin: 'https://stranger.example' })
    expect(stranger.headers.has('access-control-allow-origin')).toBe(false)
    const problem = await get('/account', machine)
    expect(problem.headers.get('content-type')).toBe('application/problem+json')
    expect(await problem.json()).toMatchObject({ code: 'temporarily_unavailable', status: 503 })

    const read = await get('/account', { ...html, 'accept-language': 'sv' })
    const text = await read.text()
    expect(text).toContain('Sidan försöker själv igen')
    expect(text).not.toContain('<script')
    expect(read.headers.get('content-security-policy')).not.toContain('script-src')
    expect(read.headers.get('refresh')).toBe(read.headers.get('retry-after'))
    const sent = await signIn({ browser, page })
    expect(sent.status).toBe(503)
    expect(sent.body).toContain('reload this page to send it again')
    expect(sent.headers.refresh).toBeUndefined()
    expect(Number(sent.headers['retry-after'])).toBeGreaterThanOrEqual(2)
  }
})

describe('the waiting room', () => {
  let target: Target
  let member: Browser
  beforeAll(async () => {
    const brands = [{ id: 'hall', name: 'Concert Hall' }]
    const clients = SETTINGS.clients.map((each) => (each.client_id === 'own' ? { ...each, brand: 'hall' } : each))
    const settings = { ...SETTINGS, brands, clients, waiting_room: { sign_ins_per_second: 1 } }
    target = await startTarget({ settings })
    member = (await target.signUp('member@example.com')).browser
  })
  afterAll(() => target?.close())

  const cameIn = ({ status, forms }: Page) =>
    status === 200 && forms.some(({ action }) => action.endsWith('/identifier'))
  /** Comes again and again, in this order, until all are in. */
  async function comeAgain(people: ReadonlyMap<string, Browser>): Promise<Map<string, Page>> {
    const inside = new Map<string, Page>()
    for (let tries = 0; inside.size < people.size && tries < 300; tries++) {
      const asked: [string, Page][] = []
      for (const [name, browser] of people) if (!inside.has(name)) asked.push([name, await target.open(browser)])
      // Two places may become free in one turn, and then the later one of the two asked first.
      for (const [name, page] of asked.reverse()) if (cameIn(page)) inside.set(name, page)
      await sleep(50)
    }
    return inside
  }
  /** Uses up what may come in at once. */
  async function fill(): Promise<void> {
    for (let tries = 0; (await target.open(target.person())).status !== 503; tries++) {
      if (tries > 50) throw new Error('everybody comes in')
    }
  }

  it('lets in who came first, whoever asks most', async () => {
    await fill()
    const people = new Map<string, Browser>()
    for (const name of ['ann', 'bo', 'cem', 'dag']) {
      const browser = target.person()
      people.set(name, browser)
      expect((await target.open(browser)).status).toBe(503)
    }
    const inside = await comeAgain(new Map([...people].reverse()))
    expect([...inside.keys()]).toEqual(['ann', 'bo', 'cem', 'dag'])
  })

  it('says what is going on without JavaScript, in the language of the person, and comes again by itself', async () => {
    await fill()
    const browser = target.person({ locale: 'fi' })
    const page = await target.open(browser)
    expect([page.status, page.headers.refresh]).toEqual([503, page.headers['retry-after']])
    expect(Number(page.headers['retry-after'])).toBeGreaterThanOrEqual(5)
    expect(page.title).toBe('Olet jonossa · Concert Hall')
    expect(page.html).toMatch(/role="status"><p>Vuorosi tulee/)
    expect(page.html).not.toContain('<script')
    expect(page.headers['content-security-policy']).not.toContain('script-src')
    // Choosing a language asks for the same again, in the same place.
    const swedish = await browser.submit(page, {}, { form: 0, button: 'ui_locales=sv' })
    expect([swedish.status, swedish.title]).toEqual([503, 'Du står i kö · Concert Hall'])
    const [before, after] = [new URL(page.url), new URL(swedish.url)]
    after.searchParams.delete('ui_locales')
    expect([...after.searchParams].sort()).toEqual([...before.searchParams].sort())
  })

  it('keeps nobody out who is signed in or under way, and no token', async () => {
    const browser = target.person()
    const page = (await comeAgain(new Map([['me', browser]]))).get('me')
    await fill()
    if (page === undefined) throw new Error('nobody comes in')
    const next = await browser.submit(page, { identifier: 'me@example.com' }, { form: '/identifier' })
    expect(next.forms.some(({ action }) => action.endsWith('/password'))).toBe(true)
    expect((await target.open(member)).params.has('code')).toBe(true)
    expect((await target.open(target.person(), { prompt: 'none' })).params.get('error')).toBe('login_required')
    expect((await token(target)).status).toBe(200)
  })

  it('A103: takes no ticket that it did not give, no cookie for a session, and nobody for a program', async () => {
    await fill()
    const honest = target.person()
    const request = (await target.open(honest)).url
    const jar = honest.jar.header(new URL(request), { crossSite: false, topLevelGet: true }) ?? ''
    const [, time = '', rest = ''] = /genkan_place=([0-9a-z]+)(\.[\w.-]+)/.exec(jar) ?? []
    expect(rest).not.toBe('')
    const older = (Number.parseInt(time, 36) - 3_600_000).toString(36)
    const forged = { cookie: `genkan_place=${older}${rest}`, accept: 'text/html' }
    const invented = { cookie: 'genkan_session=abcdefghijklmnopqrstuvwxyz0123456789abcdefg', accept: 'text/html' }
    const ask = async (headers: Record<string, string>) =>
      (await fetch(request, { headers, redirect: 'manual' })).status
    const program = { accept: 'application/json', 'sec-fetch-dest': 'iframe' }
    const seen = new Set<number>()
    for (let tries = 0; !cameIn(await target.open(honest)) && tries < 300; tries++) {
      for (const headers of [forged, invented, program]) seen.add(await ask(headers))
      await sleep(50)
    }
    // The same with a ticket of ours came in.
    expect([...seen]).toEqual([503])
  })
})
