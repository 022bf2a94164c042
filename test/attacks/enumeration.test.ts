/** Who has an account: nobody learns it from answers (A31) or from the work behind them, counted instead of timed (A32). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { isJobStatement, postgresReader, type Relay, redisReader, startRelay } from '../bench/wire.ts'
import type { Answer, Browser, Page } from '../support/browser.ts'
import { formsOf } from '../support/html.ts'
import { authorization, PASSWORD } from '../support/journeys.ts'
import { freshDatabaseUrl, startRedis } from '../support/services.ts'
import { CALLBACK, holdLock, startTarget, type Target } from '../support/target.ts'

/** Of equal length, so that lengths of answers can be compared. */
const WHO = {
  known: 'known@enum.example',
  nobody: 'nobdy@enum.example',
  disabled: 'disab@enum.example',
  pending: 'pendg@enum.example',
  /** Without a password. */
  bare: 'barep@enum.example',
}
type Who = keyof typeof WHO
const STATES = Object.keys(WHO) as Who[]

let target: Target
let relays: { readonly postgres: Relay; readonly redis: Relay }
let database: string

beforeAll(async () => {
  database = await freshDatabaseUrl()
  relays = {
    postgres: await startRelay(database, postgresReader),
    redis: await startRelay((await startRedis()).url, redisReader),
  }
  const stores = { databaseUrl: relays.postgres.url, redisUrl: relays.redis.url }
  target = await startTarget({ stores, database })
  await target.signUp(WHO.known)
  const { sub } = await target.signUp(WHO.disabled)
  expect(await target.server.run('accounts', 'disable', sub)).toMatchObject({ code: 0, stderr: '' })
  await target.signUp(WHO.bare, '')
  const browser = target.person()
  const page = await target.open(browser, { prompt: 'create' })
  await browser.submit(page, { email: WHO.pending, password: PASSWORD }, { form: '/register' })
  await target.mailbox.to(WHO.pending)
  await visit('login', 'nobody')
})
afterAll(async () => {
  await target?.close()
  await Promise.all([relays.postgres.close(), relays.redis.close()])
})

interface Cost {
  readonly hashes: number
  readonly statements: readonly string[]
  readonly commands: readonly string[]
  readonly facts: number
  readonly bytes: number
}

interface Seen {
  readonly answers: readonly string[]
  readonly cost: Cost
}

type Journey = (
  browser: Browser,
  email: string,
  step: (page: Page, form: string, values: object) => Promise<Page>,
) => Promise<void>

const JOURNEYS: { readonly [name: string]: Journey } = {
  login: async (browser, email, step) => {
    const page = await step(await start(browser), '/identifier', { identifier: email })
    await step(page, '/password', { password: 'not the right one 12' })
    await step(page, '/password', { password: PASSWORD.toUpperCase() })
  },
  register: async (browser, email, step) => {
    const page = await step(await start(browser, { prompt: 'create' }), '/register', {
      email,
      password: 'four brown teapots 81',
    })
    await step(page, '/verify_email', { code: '000000' })
    await step(page, '/verify_email', { action: 'resend' })
  },
  'register without a password': async (browser, email, step) => {
    const page = await step(await start(browser, { prompt: 'create' }), '/register', { email, password: '' })
    await step(page, '/verify_email', { code: '000000' })
    await step(page, '/verify_email', { action: 'resend' })
  },
  'sign in by a code': async (browser, email, step) => {
    const page = await step(await start(browser, { login_hint: email }), '/switch', { to: 'email_code' })
    await step(page, '/email_code', { code: '000000' })
    await step(page, '/email_code', { action: 'resend' })
    await step(page, '/email_code', { code: '111111' })
    await step(page, '/email_code', { code: '222222' })
    await step(page, '/email_code', { code: '333333' })
    await step(page, '/switch', { to: 'password' })
  },
  'register with a weak password': async (browser, email, step) => {
    await step(await start(browser, { prompt: 'create' }), '/register', { email, password: 'password1' })
  },
  recover: async (browser, email, step) => {
    const page = await step(await start(browser, { login_hint: email }), '/switch', { to: 'recover' })
    const asked = await step(page, '/recover', { identifier: email })
    await step(asked, '/recover_code', { code: '000000' })
    await step(asked, '/recover_code', { action: 'resend' })
    await step(asked, '/recover_code', { code: '111111' })
    await step(asked, '/recover_code', { code: '222222' })
    await step(asked, '/recover_code', { code: '333333' })
  },
}

async function start(browser: Browser, parameters: { [name: string]: string } = {}): Promise<Page> {
  const checks = { state: 'the-same-state', nonce: 'the-same-nonce', scope: 'openid' }
  return browser.get((await authorization(target.client, CALLBACK, { ...parameters, ...checks })).url)
}

/** Walks a journey as somebody new, and says what was answered and what it cost while nothing else ran. */
async function visit(journey: string, who: Who, observe = true): Promise<Seen> {
  // Mails are nobody's request: held back, so that only what the requester causes is counted. One of the visit before, on its
  // way already, would end in this one.
  if (observe) await target.settled()
  // What the visit before has counted, at its address or its neighbours', is over.
  await later(3700)
  const release = observe ? await holdLock(database, 'lock table deliveries in access exclusive mode') : async () => {}
  try {
    const browser = target.person({ ip: `192.0.2.${1 + ((visits++ * 7) % 250)}` })
    const answers: string[] = []
    const before = await count()
    relays.postgres.take()
    relays.redis.take()
    await JOURNEYS[journey]?.(browser, WHO[who], async (page, form, values) => {
      const sent = await post(browser, page, form, { ...values })
      answers.push(...sent.answers.map((answer) => normal(answer, WHO[who])))
      return sent.page
    })
    const statements = relays.postgres.take().filter((sql) => !isJobStatement(sql) && !CACHED.test(sql))
    const asked = relays.redis.take().filter((command) => !/^(PING|INFO|TIME)/.test(command))
    const commands = asked.map((command) => command.split(':').slice(0, 2).join(':'))
    const after = await count()
    return {
      answers,
      cost: {
        hashes: after.hashes - before.hashes,
        statements,
        commands,
        facts: after.facts - before.facts,
        bytes: answers.reduce((sum, answer) => sum + answer.length, 0),
      },
    }
  } finally {
    await release()
  }
}
let visits = 0

let ahead = 0
async function later(seconds: number): Promise<void> {
  ahead += seconds
  await target.server.shiftDate(ahead)
}

/** Clients, brands, providers and realms are read anew every half minute for whoever comes first; the others are jobs. */
const CACHED =
  /\bfrom "?(clients|signing_keys|client_secrets|brands|data_keys|upstreams|realms)\b|^update "?\w+"? t set last_used_at|skip locked|^delete from|^update (sessions|outbox) set sealed_ip = null|^select clock_timestamp\(\)|^select key from untaken_ends/

async function count(): Promise<{ hashes: number; facts: number }> {
  const { hashes } = await target.observe()
  const [row] = await target.sql<{ count: string }>('select count(*) from outbox')
  return { hashes, facts: Number(row?.count) }
}

/** Posts and follows one redirect, keeping every answer as it came. */
async function post(browser: Browser, page: Page, form: string, values: { [name: string]: string }) {
  const { action = '', fields = [] } = page.forms.find((each) => each.action.endsWith(form)) ?? {}
  const csrf = fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const url = new URL(action || page.url, page.url).href
  const first = await browser.send(url, {
    method: 'POST',
    from: page.url,
    body: new URLSearchParams({ csrf, ...values }).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
  if (first.status !== 303) return { answers: [first], page: { ...page, forms: formsOf(first.body) } }
  const next = new URL(first.headers.location ?? '', url).href
  const second = await browser.send(next, { from: page.url })
  return { answers: [first, second], page: { ...page, url: next, html: second.body, forms: formsOf(second.body) } }
}

/** An answer as text, without what is random in every answer and without the typed address. */
function normal({ status, headers, body }: Answer, email: string): string {
  const text = JSON.stringify({ status, headers: Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1)), body })
  return (
    text
      .replaceAll(email, 'EMAIL'.padEnd(email.length, '.'))
      .replaceAll(encodeURIComponent(email), 'ENCODED')
      .replace(/interaction\/[\w-]+/g, 'interaction/UID')
      .replace(/("x-request-id",")[^"]+/g, '$1ID')
      .replace(/("date",")[^"]+/g, '$1DATE')
      .replace(/nonce-[\w+/=-]+|nonce=\\"[^"]+\\"/g, 'NONCE')
      .replace(/(genkan_\w+=)[^;"]+/g, '$1VALUE')
      .replace(/(name=\\"csrf\\" value=\\")[^"\\]+/g, '$1CSRF')
      .replace(/(expires=)[^;"]+/g, '$1TIME')
      // Seconds until the next code or try: they run while we look.
      .replace(/("retry-after",")\d+/g, '$1N')
      .replace(/(data-(?:countdown|until|seconds)[\w-]*=\\")\d+/g, '$1N')
      .replace(/puzzle\.[\w.-]+/g, 'PUZZLE')
      .replace(/\b\d+ seconds?/g, 'N seconds')
  )
}

describe.each(Object.keys(JOURNEYS))('%s', (journey) => {
  it('A31: known, unknown, disabled and pending addresses, with and without a password, get equal answers', async () => {
    const seen = new Map<Who, Seen>()
    for (const who of STATES) seen.set(who, await visit(journey, who, false))
    const { answers = [] } = seen.get('nobody') ?? {}
    expect(answers.length).toBeGreaterThan(0)
    for (const who of STATES) expect([who, seen.get(who)?.answers]).toEqual([who, answers])
  })

  it('A32: and cost equal work: hashes, statements, commands, facts and bytes', async () => {
    // The twin of the comparison: the same journey twice costs the same, so a difference is one of the address.
    const { cost } = await visit(journey, 'nobody')
    expect(cost.statements.length + cost.commands.length).toBeGreaterThan(4)
    for (const who of [...STATES, ...STATES]) {
      const seen = await visit(journey, who)
      expect([who, seen.cost]).toEqual([who, cost])
    }
  })
})

describe('A31: beside the main way', () => {
  it('the right password of a disabled or unproven account answers like a wrong one', async () => {
    // What the journeys above have counted is over.
    await later(5000)
    const seen: string[][] = []
    for (const [email, password] of [
      [WHO.disabled, PASSWORD],
      [WHO.pending, PASSWORD],
      [WHO.nobody, PASSWORD],
      [WHO.known, 'not the right one 12'],
    ] as const) {
      const browser = target.person()
      const { page } = await post(browser, await start(browser), '/identifier', { identifier: email })
      const { answers } = await post(browser, page, '/password', { password })
      seen.push(answers.map((answer) => normal(answer, email)))
    }
    expect(seen[0]).toEqual(seen[3])
    expect(seen[1]).toEqual(seen[3])
    expect(seen[2]).toEqual(seen[3])
    expect(seen[0]?.[0]).toContain('"status":400')
  })

  it('a change of address tells nothing of others before the mailbox is proven', async () => {
    const { browser } = await target.signUp('moves@enum.example')
    const url = `${target.issuer}/account/email`
    const seen: string[][] = []
    for (const email of [WHO.known, WHO.nobody, WHO.disabled, WHO.pending]) {
      const { answers } = await post(browser, await browser.get(url), '/account/email', { email })
      seen.push(answers.map((answer) => normal(answer, email)))
    }
    for (const answers of seen) expect(answers).toEqual(seen[0])
  })

  it('a locked address looks the same whether it has an account or not', async () => {
    const seen: (string | undefined)[] = []
    for (const email of [WHO.known, WHO.nobody]) {
      await later(10_000)
      const browser = target.person()
      const { page } = await post(browser, await start(browser), '/identifier', { identifier: email })
      let last: string | undefined
      for (let tries = 0; tries < 11; tries++) {
        const { answers } = await post(browser, page, '/password', { password: 'not the right one 12' })
        last = answers[0] && normal(answers[0], email)
      }
      seen.push(last)
    }
    expect(seen[0]).toContain('"status":429')
    expect(seen[0]).toEqual(seen[1])
  })
})
