/** Guessing: passwords (A33-A35) and codes (A36). Limits are those of production; the clock moves instead. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { proofFor } from '../support/abuse.ts'
import type { Answer, Browser, Page } from '../support/browser.ts'
import { formsOf } from '../support/html.ts'
import { choose, PASSWORD } from '../support/journeys.ts'
import { codeFrom } from '../support/mailbox.ts'
import { startTarget, type Target } from '../support/target.ts'

const WRONG = 'not the right one 12'
const PER_IDENTIFIER = 10
const PER_ADDRESS = 100
const WINDOW = 600
const DEEP = process.env.GENKAN_TEST_DEEP === '1'

let target: Target
let shifted = 0
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target?.close())

/** Time only goes forward here: every test begins with new windows. */
async function later(seconds: number): Promise<void> {
  shifted += seconds
  await target.server.shiftDate(shifted)
}

/** The password page for an identifier as somebody at an address of their own. */
async function passwordPage(identifier: string, ip?: string): Promise<{ browser: Browser; page: Page }> {
  const browser = target.person(ip === undefined ? {} : { ip })
  const page = await browser.submit(await target.open(browser), { identifier }, { form: '/identifier' })
  return { browser, page }
}

/** As a browser does it: the puzzle of a page that asks for one is solved, and the form sent again. */
async function guess(browser: Browser, page: Page, password: string): Promise<Answer> {
  const answer = await send(browser, page, '/password', { password })
  return answer.status === 429 ? proven(browser, page, '/password', { password }, answer) : answer
}

function proven(browser: Browser, page: Page, form: string, values: { [name: string]: string }, held: Answer) {
  const { proof } = proofFor(held.body)
  return proof === undefined ? held : send(browser, page, form, { ...values, proof })
}

/** Asks for a code of recovery, with the proof that a page wants. */
async function askCode(browser: Browser, identifier: string): Promise<Page> {
  const start = await choose(browser, await target.open(browser, { login_hint: identifier }), 'recover')
  const page = await browser.submit(start, { identifier }, { form: '/recover' })
  const { proof } = proofFor(page.html)
  return proof === undefined ? page : browser.submit(page, { identifier, proof }, { form: '/recover' })
}

function send(browser: Browser, page: Page, form: string, values: { [name: string]: string }): Promise<Answer> {
  const { action = '', fields = [] } = page.forms.find((each) => each.action.endsWith(form)) ?? {}
  const csrf = fields.find(({ name }) => name === 'csrf')?.value ?? ''
  return browser.send(new URL(action, page.url).href, {
    method: 'POST',
    from: page.url,
    body: new URLSearchParams({ csrf, ...values }).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
}

describe('A33: one counter for all spellings', () => {
  it('case, full width, spaces and IDN forms share one limit, from as many addresses as there are', async () => {
    const { email } = await target.signUp('spelling@xn--bcher-kva.example')
    const spellings = [
      'spelling@bücher.example',
      'SPELLING@BÜCHER.EXAMPLE',
      ' spelling@bücher.example ',
      'Spelling@xn--bcher-kva.example',
      'ｓｐｅｌｌｉｎｇ@bücher.example',
      'spelling＠bücher.example',
      'spelling@bu\u0308cher.example',
      'spelling@XN--BCHER-KVA.example',
      'SpElLiNg@BüCHER.example',
      '\tspelling@bücher.example',
    ]
    for (const spelling of spellings) {
      const { browser, page } = await passwordPage(spelling)
      expect([spelling, (await guess(browser, page, WRONG)).status]).toEqual([spelling, 400])
    }
    const { browser, page } = await passwordPage(email)
    const held = await guess(browser, page, PASSWORD)
    expect(held.status).toBe(429)
    expect(Number(held.headers['retry-after'])).toBeLessThanOrEqual(WINDOW)
    await later(WINDOW + 1)
    expect((await guess(browser, page, PASSWORD)).status).toBe(303)
  })

  it('one address that guesses at many accounts is held, and nobody else', async () => {
    const { email } = await target.signUp('bystander@shop.example')
    const ip = '203.0.113.77'
    const browser = target.person({ ip })
    const first = await target.open(browser)
    let held = 0
    for (let tries = 0; tries <= PER_ADDRESS; tries++) {
      const page = tries % PER_IDENTIFIER === 0 ? await other(browser, first, `guess-${tries}@shop.example`) : last
      last = page
      const { status } = await guess(browser, page, WRONG)
      expect([400, 429]).toContain(status)
      if (status === 429) held++
    }
    expect(held).toBeGreaterThanOrEqual(1)
    const { browser: same, page } = await passwordPage(email, ip)
    expect((await guess(same, page, PASSWORD)).status).toBe(429)
    const elsewhere = await passwordPage(email)
    expect((await guess(elsewhere.browser, elsewhere.page, PASSWORD)).status).toBe(303)
    await later(WINDOW + 1)
    expect((await guess(same, page, PASSWORD)).status).toBe(303)
  }, 180_000)
  let last: Page

  /** The same conversation, about somebody else. */
  async function other(browser: Browser, start: Page, identifier: string): Promise<Page> {
    const back =
      start.forms.some(({ action }) => action.endsWith('/identifier')) && !touched ? start : await reset(browser)
    touched = true
    return browser.submit(back, { identifier }, { form: '/identifier' })
  }
  let touched = false

  async function reset(browser: Browser): Promise<Page> {
    return choose(browser, last, 'identifier')
  }
})

describe('A34: 500 wrong and one right at once', () => {
  it('no more are verified than the limit allows, and the right one is held', async () => {
    const { email } = await target.signUp('at-once@shop.example')
    const { browser, page } = await passwordPage(email)
    const before = await target.observe()
    const wrong = Array.from({ length: 500 }, (_, i) => send(browser, page, '/password', { password: `${WRONG} ${i}` }))
    const answers = await Promise.all([...wrong, send(browser, page, '/password', { password: PASSWORD })])
    const after = await target.observe()
    expect(answers.filter(({ status }) => status === 303)).toHaveLength(0)
    expect(answers.filter(({ status }) => ![400, 429, 503].includes(status))).toHaveLength(0)
    // A busy machine may answer some of them 503 before they are counted; never a word about the password.
    expect(answers.filter(({ status }) => status !== 400).length).toBeGreaterThanOrEqual(501 - PER_IDENTIFIER)
    expect(after.hashes - before.hashes).toBeLessThanOrEqual(PER_IDENTIFIER)
    // Whoever pays with a proof for each try finds the limit at ten.
    const puzzles = await Promise.all(
      Array.from({ length: 20 }, () => send(browser, page, '/password', { password: PASSWORD })),
    )
    const proofs = puzzles.map(({ status, body }) => ({ status, proof: proofFor(body).proof ?? '' }))
    expect(new Set(proofs.map(({ status }) => status))).toEqual(new Set([429]))
    const paid = await Promise.all(
      proofs.map(({ proof }, i) => send(browser, page, '/password', { password: `${WRONG} ${i}`, proof })),
    )
    expect(paid.filter(({ status }) => status === 400).length).toBeLessThanOrEqual(PER_IDENTIFIER)
    expect((await target.observe()).hashes - before.hashes).toBeLessThanOrEqual(PER_IDENTIFIER)
    expect((await guess(browser, page, PASSWORD)).status).toBe(429)
    await later(WINDOW + 1)
    expect((await guess(browser, page, PASSWORD)).status).toBe(303)
  }, 120_000)
})

describe('A35: a locked account has no side door', () => {
  it('the current password, a fresh authentication and other clients are held as well', async () => {
    const member = await target.signUp('locked@shop.example')
    // The owner is at the password page of the account when somebody else locks it.
    const change = await member.browser.get(`${target.issuer}/account/password`)
    const fresh = await target.open(member.browser, { prompt: 'login' })
    const attacker = await passwordPage(member.email)
    for (let tries = 0; tries < PER_IDENTIFIER; tries++) await guess(attacker.browser, attacker.page, WRONG)
    expect((await guess(attacker.browser, attacker.page, PASSWORD)).status).toBe(429)
    const changed = await send(member.browser, change, '/account/password', {
      current: PASSWORD,
      password: 'nine quiet geese 33',
    })
    expect(changed.status).toBe(429)
    // A session is no key: only a browser that is known by its own cookie has tries of its own (A38).
    member.browser.jar.delete('genkan_device')
    expect((await guess(member.browser, fresh, PASSWORD)).status).toBe(429)
    const spa = await target.open(target.person(), { prompt: 'login', login_hint: member.email, max_age: '0' })
    expect(spa.status).toBe(200)
    const again = await passwordPage(member.email.toUpperCase())
    expect((await guess(again.browser, again.page, PASSWORD)).status).toBe(429)
    await later(WINDOW - 400)
    await later(401)
    const released = await passwordPage(member.email)
    expect((await guess(released.browser, released.page, PASSWORD)).status).toBe(303)
  })

  it('A38: the browser that its owner was signed in in gets in meanwhile, and has a limit of its own', async () => {
    const member = await target.signUp('known@shop.example')
    await target.settled()
    const attacker = await passwordPage(member.email)
    for (let tries = 0; tries < PER_IDENTIFIER; tries++) await guess(attacker.browser, attacker.page, WRONG)
    expect((await guess(attacker.browser, attacker.page, PASSWORD)).status).toBe(429)
    const own = await target.open(member.browser, { prompt: 'login' })
    expect((await guess(member.browser, own, PASSWORD)).status).toBe(303)
    const again = await target.open(member.browser, { prompt: 'login' })
    const statuses: number[] = []
    for (let tries = 0; tries < 40; tries++) statuses.push((await guess(member.browser, again, WRONG)).status)
    expect(statuses.at(-1)).toBe(429)
    expect((await guess(member.browser, again, PASSWORD)).status).toBe(429)
  })

  it('wrong current passwords on the account page count against the sign-in', async () => {
    const member = await target.signUp('guess-current@shop.example')
    const page = await member.browser.get(`${target.issuer}/account/password`)
    for (let tries = 0; tries < PER_IDENTIFIER; tries++) {
      const { status } = await send(member.browser, page, '/account/password', {
        current: WRONG,
        password: 'nine quiet geese 33',
      })
      expect(status).toBe(400)
    }
    const elsewhere = await passwordPage(member.email)
    expect((await guess(elsewhere.browser, elsewhere.page, PASSWORD)).status).toBe(429)
    await later(WINDOW + 1)
    expect((await guess(elsewhere.browser, elsewhere.page, PASSWORD)).status).toBe(303)
  })
})

describe('A36: codes', () => {
  const [PER_CODE, PER_DAY] = [3, 100]

  it('over many conversations, addresses and a restart at most a hundred a day are looked at; then the right one waits', async () => {
    const { email } = await target.signUp('coded@shop.example')
    let [counted, hours] = [0, 0]
    const rounds = DEEP ? 10_000 / PER_CODE : 45
    for (let round = 0; round < rounds; round++) {
      // Thirty mails an hour go to one mailbox; all of this is within one day.
      if (round % 30 === 29 && hours++ < 20) await later(3601)
      if (round === 20) await target.server.restart()
      const browser = target.person()
      const page = await askCode(browser, email)
      if (page.status === 429) continue
      for (let tries = 0; tries < PER_CODE; tries++) {
        const { status, body } = await send(browser, page, '/recover_code', {
          code: String(100_000 + round * 3 + tries),
        })
        expect([400, 429]).toContain(status)
        if (status === 400 && body.includes('does not work')) counted++
      }
    }
    expect(counted).toBeGreaterThan(PER_DAY / 2)
    expect(counted).toBeLessThanOrEqual(PER_DAY)
    await later(3601)
    const browser = target.person()
    const page = await askCode(browser, email)
    await target.settled()
    const mails = (await target.mailbox.all()).filter(({ to }) => to.includes(email)).length
    const held = await send(browser, page, '/recover_code', { code: codeFrom(await target.mailbox.to(email)) })
    expect([mails > 30, held.status]).toEqual([true, 429])
    // The twin: a day later the owner recovers.
    await later(86_400)
    const owner = target.person()
    const asked = await askCode(owner, email)
    const code = codeFrom(await target.mailbox.to(email, { count: mails + 1 }))
    const right = await owner.submit(asked, { code }, { form: '/recover_code' })
    expect(right.forms.some(({ action }) => action.endsWith('/new_password'))).toBe(true)
  }, 1_800_000)

  it('a code has three tries, also when they come at once with the right one', async () => {
    const { email } = await target.signUp('three@shop.example')
    const browser = target.person()
    const page = await askCode(browser, email)
    const code = codeFrom(await target.mailbox.to(email, { count: 2 }))
    const wrong = Array.from({ length: 100 }, (_, i) => String((Number(code) + 1 + i) % 1_000_000).padStart(6, '0'))
    const answers = await Promise.all(wrong.map((each) => send(browser, page, '/recover_code', { code: each })))
    expect(answers.filter(({ body }) => body.includes('does not work')).length).toBeLessThanOrEqual(PER_CODE)
    const late = await send(browser, page, '/recover_code', { code })
    expect(late.status).not.toBe(303)
    // The twin: a new code works.
    await later(60)
    const resend = formsOf(late.body).findIndex(({ fields }) => fields.some(({ value }) => value === 'resend'))
    const again = await browser.submit({ ...page, forms: formsOf(late.body) }, {}, { form: resend })
    const fresh = codeFrom(await target.mailbox.to(email, { count: 3 }))
    const right = await browser.submit(again, { code: fresh }, { form: '/recover_code' })
    expect(right.forms.some(({ action }) => action.endsWith('/new_password'))).toBe(true)
  })

  it('one requester alone cannot use up what the owner of the mailbox needs', async () => {
    const { email } = await target.signUp('owner@shop.example')
    const ip = '203.0.113.99'
    for (let round = 0; round < 12; round++) {
      if (round % 6 === 5) await later(3601)
      const browser = target.person({ ip })
      const page = await askCode(browser, email)
      if (page.status === 429) continue
      for (let tries = 0; tries < PER_CODE; tries++) await send(browser, page, '/recover_code', { code: '123456' })
    }
    await target.settled()
    const before = (await target.mailbox.all()).filter(({ to }) => to.includes(email)).length
    const owner = target.person()
    const page = await askCode(owner, email)
    const code = codeFrom(await target.mailbox.to(email, { count: before + 1 }))
    const right = await owner.submit(page, { code }, { form: '/recover_code' })
    expect(right.forms.some(({ action }) => action.endsWith('/new_password'))).toBe(true)
  })
})
