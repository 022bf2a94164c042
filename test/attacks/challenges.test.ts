/**
 * Guessing from many places (A37, A38) and the proof of work that it costs, with a script and without. Limits and the puzzle's
 * difficulty are those of production; the clock moves instead.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { challengeIn, post, solve } from '../support/abuse.ts'
import type { Answer, Browser, Page } from '../support/browser.ts'
import { newProfile } from '../support/chromium.ts'
import { startBrowserOfClients } from '../support/client_site.ts'
import { authorization, PASSWORD } from '../support/journeys.ts'
import { CALLBACK, OWN, startTarget, type Target } from '../support/target.ts'

const WRONG = 'not the right one 12'
const WARM = 5
const PER_IDENTIFIER = 10
const PER_SUBNET_WARM = 250
const WINDOW = 600
const TICKET_WAIT = 10
const TICKET_LIFE = 60
const MOST_FAILURES = 100

let target: Target
let shifted = 0
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target?.close())

async function later(seconds: number): Promise<void> {
  shifted += seconds
  await target.server.shiftDate(shifted)
}

interface Guesser {
  readonly browser: Browser
  readonly page: Page
  /** Posts the password as it is; `proof` as the hidden field. */
  guess(password: string, proof?: string): Promise<Answer>
}

async function guesser(identifier: string, ip?: string): Promise<Guesser> {
  const browser = target.person(ip === undefined ? {} : { ip })
  const page = await browser.submit(await target.open(browser), { identifier }, { form: '/identifier' })
  return { browser, page, guess: (password, proof) => post(browser, page, '/password', { password, proof }) }
}

/** Strangers from addresses of their own guess until the next try wants a proof. */
async function warmUp(identifier: string): Promise<void> {
  for (let tries = 0; tries < WARM; tries++) {
    const { status } = await (await guesser(identifier)).guess(WRONG)
    expect(status).toBe(400)
  }
}

/** The challenge of a page that refused for want of a proof. */
function challengeOf({ status, body, headers }: Answer) {
  const challenge = challengeIn(body)
  expect([status, challenge !== undefined]).toEqual([429, true])
  expect(headers['retry-after']).toMatch(/^\d+$/)
  if (challenge === undefined) throw new Error('no challenge')
  return challenge
}

describe('guessing from many places', () => {
  it('many addresses, one identifier: five are looked at for nothing, five more for a proof each, then nobody is', async () => {
    const { email } = await target.signUp('many-addresses@shop.example')
    await warmUp(email)
    const before = await target.observe()
    for (let tries = WARM; tries < PER_IDENTIFIER; tries++) {
      const stranger = await guesser(email)
      const held = await stranger.guess(PASSWORD)
      expect((await stranger.guess(WRONG, solve(challengeOf(held)))).status).toBe(400)
    }
    const last = await guesser(email)
    const full = await last.guess(PASSWORD)
    expect([full.status, challengeIn(full.body)]).toEqual([429, undefined])
    expect((await target.observe()).hashes - before.hashes).toBe(PER_IDENTIFIER - WARM)
    await later(WINDOW + 1)
    expect((await last.guess(PASSWORD)).status).toBe(303)
  })

  it('an unknown identifier gets the same answers', async () => {
    const email = 'nobody-at-all@shop.example'
    await warmUp(email)
    const stranger = await guesser(email)
    const challenge = challengeOf(await stranger.guess(WRONG))
    expect((await stranger.guess(WRONG, solve(challenge))).status).toBe(400)
  })

  it('one subnet, many identifiers: from half of its limit on every try from there costs a proof, elsewhere none', async () => {
    const { email } = await target.signUp('neighbour@shop.example')
    let [host, mine] = [0, 0]
    let stranger: Guesser | undefined
    for (let tries = 0; tries < PER_SUBNET_WARM; tries++) {
      // An address gets warm by itself at 50, an identifier at 5.
      if (tries % 45 === 0) host++
      if (tries % 4 === 0) stranger = await guesser(`spray-${tries}@shop.example`, `198.51.100.${host}`)
      if ((await stranger?.guess(WRONG))?.status === 400) mine++
    }
    expect(mine).toBe(PER_SUBNET_WARM)
    const near = await guesser(email, '198.51.100.200')
    const challenge = challengeOf(await near.guess(PASSWORD))
    expect((await (await guesser(email, '198.51.101.200')).guess(PASSWORD)).status).toBe(303)
    // The twin: who lives there pays a second of work, and is in.
    expect((await near.guess(PASSWORD, solve(challenge))).status).toBe(303)
    await later(WINDOW + 1)
  }, 240_000)

  it('A37: X-Forwarded-For of an untrusted peer, whatever it says, makes no other address', async () => {
    const untrusting = await startTarget({ env: { TRUSTED_PROXIES: '192.0.2.1' } })
    try {
      const forged = ['203.0.113.1, 192.0.2.1', 'a', '::ffff:10.9.8.7', '', `${'1,'.repeat(1500)}1`, '127.0.0.1']
      for (let tries = 0; tries < 50; ) {
        const browser = untrusting.person({ ip: `${forged[tries % forged.length]}` })
        const start = await untrusting.open(browser)
        const page = await browser.submit(start, { identifier: `xff-${tries}@shop.example` }, { form: '/identifier' })
        for (let more = 0; more < 4 && tries < 50; more++, tries++) {
          expect((await post(browser, page, '/password', { password: WRONG })).status).toBe(400)
        }
      }
      const browser = untrusting.person({ ip: '203.0.113.200' })
      const start = await untrusting.open(browser)
      const page = await browser.submit(start, { identifier: 'xff-last@shop.example' }, { form: '/identifier' })
      challengeOf(await post(browser, page, '/password', { password: WRONG }))
    } finally {
      await untrusting.close()
    }
  }, 120_000)

  it('after a hundred failures in a row strangers have one try an hour, whether there is an account or not', async () => {
    const { email } = await target.signUp('hundred@shop.example')
    const none = 'hundred-none@shop.example'
    for (const identifier of [email, none]) expect((await (await guesser(identifier)).guess(WRONG)).status).toBe(400)
    const rows = await target.sql('select failures from password_failures where failures = 1')
    expect(rows.length).toBeGreaterThanOrEqual(2)
    // As after nine windows of ten.
    await target.sql('update password_failures set failures = $1', [MOST_FAILURES - PER_IDENTIFIER])
    await later(WINDOW + 1)
    for (const identifier of [email, none]) {
      let looked = 0
      for (let round = 0; round < 3; round++) {
        const { guess } = await guesser(identifier)
        for (let tries = 0; tries < WARM - 1; tries++) if ((await guess(WRONG)).status === 400) looked++
        await later(WINDOW + 1)
      }
      // One that still was free, and one that is by the hour.
      expect([identifier, looked]).toEqual([identifier, 2])
    }
    await later(3601)
    const one = await guesser(email)
    expect((await one.guess(WRONG)).status).toBe(400)
    const held = await one.guess(PASSWORD)
    expect([held.status, Number(held.headers['retry-after']) > WINDOW]).toEqual([429, true])
    await later(3601)
    const owner = await guesser(email)
    expect((await owner.guess(PASSWORD)).status).toBe(303)
    // A success ends the row: mistakes are looked at again.
    const again = await guesser(email)
    for (let tries = 0; tries < 3; tries++) expect((await again.guess(WRONG)).status).toBe(400)
    await later(WINDOW + 1)
  }, 240_000)
})

describe('the puzzle', () => {
  it('of 50 parallel uses of one solution one is looked at', async () => {
    const { email } = await target.signUp('fifty@shop.example')
    await warmUp(email)
    const stranger = await guesser(email)
    const proof = solve(challengeOf(await stranger.guess(WRONG)))
    const answers = await Promise.all(Array.from({ length: 50 }, () => stranger.guess(WRONG, proof)))
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(49)
    await later(WINDOW + 1)
  })

  it('is worth nothing for another identifier, at another address, later than ten minutes, half solved, or changed', async () => {
    const { email } = await target.signUp('bound@shop.example')
    const ip = '203.0.113.140'
    await warmUp(email)
    await warmUp('bound-other@shop.example')
    const mine = await guesser(email, ip)
    const proof = solve(challengeOf(await mine.guess(WRONG)))
    const [puzzle = '', answers = ''] = proof.split('~')
    const [kind, from, until, ...rest] = puzzle.split('.')
    const elsewhere = await guesser(email, '203.0.113.141')
    const other = await guesser('bound-other@shop.example', ip)
    for (const answer of [
      await other.guess(WRONG, proof),
      await elsewhere.guess(PASSWORD, proof),
      await mine.guess(PASSWORD, puzzle),
      await mine.guess(PASSWORD, `${puzzle}~${answers.split('.').slice(1).join('.')}`),
      await mine.guess(PASSWORD, `${puzzle}~${answers.replace(/\d+$/, '0')}`),
      await mine.guess(PASSWORD, `${[kind, from, Number(until) + 900, ...rest].join('.')}~${answers}`),
      await mine.guess(PASSWORD, '1'.repeat(10_000)),
    ]) {
      challengeOf(answer)
    }
    // The limits stay warm for as long as strangers keep at it; the puzzle does not.
    await later(WINDOW + 1)
    await warmUp(email)
    challengeOf(await mine.guess(PASSWORD, proof))
    await later(WINDOW + 1)
  })

  it('solved where it was given it lets the owner in', async () => {
    const { email } = await target.signUp('solved@shop.example')
    await warmUp(email)
    const owner = await guesser(email)
    expect((await owner.guess(PASSWORD, solve(challengeOf(await owner.guess(PASSWORD))))).status).toBe(303)
  })
})

describe('the ticket of whoever runs no script', () => {
  it('is good ten seconds later, once, for one identifier at one address', async () => {
    const { email } = await target.signUp('ticket@shop.example')
    const ip = '203.0.113.150'
    await warmUp(email)
    await warmUp('ticket-other@shop.example')
    const owner = await guesser(email, ip)
    const { ticket } = challengeOf(await owner.guess(PASSWORD))
    expect(ticket).toMatch(/^ticket\./)
    // Too early: the page keeps the same ticket, and says how long.
    const early = await owner.guess(PASSWORD, ticket)
    expect(challengeOf(early).ticket).toBe(ticket)
    expect(Number(early.headers['retry-after'])).toBeLessThanOrEqual(TICKET_WAIT)
    await later(TICKET_WAIT)
    challengeOf(await (await guesser('ticket-other@shop.example', ip)).guess(WRONG, ticket))
    challengeOf(await (await guesser(email, '203.0.113.151')).guess(PASSWORD, ticket))
    const used = await Promise.all(Array.from({ length: 20 }, () => owner.guess(WRONG, ticket)))
    expect(used.filter(({ status }) => status === 400)).toHaveLength(1)
    challengeOf(await owner.guess(PASSWORD, ticket))
    await later(TICKET_LIFE + 1)
    const { ticket: second } = challengeOf(await owner.guess(PASSWORD))
    await later(TICKET_WAIT)
    expect((await owner.guess(PASSWORD, second)).status).toBe(303)
    await later(WINDOW + 1)
  })

  it('is open once for an identifier and five times for an address', async () => {
    const names = Array.from({ length: 7 }, (_, i) => `slots-${i}@shop.example`)
    for (const name of names) await warmUp(name)
    const ip = '203.0.113.160'
    const ticketOf = async (name: string, from: string) =>
      challengeOf(await (await guesser(name, from)).guess(WRONG)).ticket
    const [first = '', ...others] = names
    const given = await Promise.all(Array.from({ length: 10 }, () => ticketOf(first, ip)))
    expect(given.filter((ticket) => ticket !== '')).toHaveLength(1)
    expect(await ticketOf(first, '203.0.113.161')).toBe('')
    const more: string[] = []
    for (const name of others) more.push(await ticketOf(name, ip))
    expect(more.map((ticket) => ticket !== '')).toEqual([true, true, true, true, false, false])
    // The sixth has another address, or waits.
    expect(await ticketOf(others[4] ?? '', '203.0.113.162')).not.toBe('')
    await later(TICKET_LIFE + 1)
    expect(await ticketOf(others[5] ?? '', ip)).not.toBe('')
    await later(WINDOW + 1)
  })
})

describe('registration and recovery', () => {
  it.each([
    ['create', '/register', 'email', { password: PASSWORD }],
    ['recover', '/recover', 'identifier', {}],
  ] as const)(
    '%s: from the sixth request for one address on each costs a proof, and none is refused',
    async (path, form, field, more) => {
      const email = `flood-${path}@shop.example`
      const open = async () => {
        const browser = target.person()
        const start = await target.open(browser)
        const link = start.forms.find(({ fields }) => fields.some(({ name, value }) => name === 'to' && value === path))
        if (link !== undefined)
          return { browser, page: await browser.submit(start, {}, { form: start.forms.indexOf(link) }) }
        const page = await browser.submit(start, { identifier: email }, { form: '/identifier' })
        const forgot = page.forms.findIndex(({ fields }) => fields.some(({ value }) => value === path))
        return { browser, page: await browser.submit(page, {}, { form: forgot }) }
      }
      for (let tries = 0; tries < WARM; tries++) {
        const { browser, page } = await open()
        expect((await post(browser, page, form, { [field]: email, ...more })).status).toBe(303)
      }
      for (let tries = 0; tries < 3; tries++) {
        const { browser, page } = await open()
        const held = challengeOf(await post(browser, page, form, { [field]: email, ...more }))
        expect((await post(browser, page, form, { [field]: email, ...more, proof: solve(held) })).status).toBe(303)
      }
      await later(WINDOW + 1)
    },
  )
})

describe('in Chromium', () => {
  it.each([
    ['a script solves the puzzle while the form is filled in', true],
    ['without JavaScript the page says to wait, and the plain form goes on', false],
  ])(
    '%s',
    async (_, javaScriptEnabled) => {
      const { email } = await target.signUp(`chromium-${javaScriptEnabled}@shop.example`)
      await warmUp(email)
      const clients = await startBrowserOfClients()
      try {
        const profile = await newProfile(clients.browser, { javaScriptEnabled, viewport: { width: 390, height: 844 } })
        const page = await profile.newPage()
        const problems: string[] = []
        page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
        page.on('pageerror', (error) => problems.push(String(error)))
        await page.goto((await authorization(target.client, CALLBACK, { login_hint: email })).url)
        const enter = async () => {
          await page.fill('#password', PASSWORD)
          await page.click('button.primary')
        }
        await enter()
        await page.waitForSelector('[data-puzzle]', { state: 'attached' })
        // Nobody reads and types before the page's script is there; a form sent without it comes back with another puzzle.
        await page.waitForLoadState('load')
        expect(await page.textContent('.alert')).toContain('short calculation')
        if (!javaScriptEnabled) {
          expect(await page.textContent('noscript')).toContain('Wait 10 seconds')
          await enter()
          await page.waitForSelector('[data-puzzle]', { state: 'attached' })
          await later(TICKET_WAIT)
        }
        const started = Date.now()
        await enter()
        await page.waitForURL(`${OWN}/**`, { timeout: 30_000 })
        process.stdout.write(`chromium, ${javaScriptEnabled ? 'puzzle' : 'ticket'}: ${Date.now() - started} ms\n`)
        // The answer 429 itself is told to the console.
        expect(problems.filter((problem) => !problem.includes('429'))).toEqual([])
      } finally {
        await clients.close()
      }
      await later(WINDOW + 1)
    },
    90_000,
  )
})
