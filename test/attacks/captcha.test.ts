/**
 * The CAPTCHA of a vendor in place of the puzzle, by the front door: shown only where a limit is warm, good once, for one
 * identifier at one address of this site, and giving way to the puzzle when its vendor fails. The vendor is one of ours.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { captchaIn, challengeIn, post, solve } from '../support/abuse.ts'
import type { Answer } from '../support/browser.ts'
import { type CaptchaVendor, startCaptchaVendor, VENDOR_SECRET, type VendorMood } from '../support/captcha_vendor.ts'
import { newProfile } from '../support/chromium.ts'
import { type BrowserOfClients, startBrowserOfClients } from '../support/client_site.ts'
import { authorization, PASSWORD, SETTINGS } from '../support/journeys.ts'
import { sample, sampleTitle } from '../support/sample.ts'
import { CALLBACK, OWN, startTarget, type Target } from '../support/target.ts'

const WRONG = 'not the right one 12'
const WARM = 5
const WINDOW = 600
const REST = 30
const TICKET_WAIT = 10
const HOST = 'localhost'

/** In which it cannot be asked. */
const AWAY: readonly VendorMood[] = ['error', 'busy', 'slow', 'redirect', 'huge', 'garbage']

let vendor: CaptchaVendor
let target: Target
let shifted = 0

async function start(env: { readonly [name: string]: string | undefined }): Promise<void> {
  vendor = await startCaptchaVendor()
  shifted = 0
  target = await startTarget({ settings: { ...SETTINGS, captcha: vendor.settings }, env })
}

async function stop(): Promise<void> {
  await target?.close()
  await vendor?.close()
}

async function later(seconds: number): Promise<void> {
  shifted += seconds
  await target.server.shiftDate(shifted)
}

async function guesser(identifier: string, ip?: string) {
  const browser = target.person(ip === undefined ? {} : { ip })
  const page = await browser.submit(await target.open(browser), { identifier }, { form: '/identifier' })
  const guess = (password: string, proof?: string) => post(browser, page, '/password', { password, proof })
  return { browser, page, guess }
}

/** Strangers guess until the next try wants a proof. */
async function warmUp(identifier: string): Promise<void> {
  for (let tries = 0; tries < WARM; tries++) expect((await (await guesser(identifier)).guess(WRONG)).status).toBe(400)
}

/** What a page asks for that refused for want of a token. */
function captchaOf({ status, body }: Answer) {
  const captcha = captchaIn(body)
  expect([status, captcha !== undefined, challengeIn(body)]).toEqual([429, true, undefined])
  return captcha ?? { captcha: '', ticket: '' }
}

/** Whoever knows the identifier meets the widget, solves it, and sends the token as the page's script does. */
async function solved(identifier: string, { at = HOST, ip }: { at?: string; ip?: string } = {}) {
  const person = await guesser(identifier, ip)
  const { captcha, ticket } = captchaOf(await person.guess(PASSWORD))
  const token = vendor.solveAt(at)
  return { ...person, captcha, ticket, token, proof: `${captcha}~${token}` }
}

const policyOf = ({ headers }: Pick<Answer, 'headers'>) => String(headers['content-security-policy'])

async function metric(result: string): Promise<number> {
  const text = await (await fetch(`${target.server.managementOrigin}/metrics`)).text()
  return Number(new RegExp(`^genkan_challenges_total\\{result="${result}"\\} (\\d+)`, 'm').exec(text)?.[1] ?? 0)
}

describe.each([
  ['Redis', {}],
  ['SQL', { REDIS_URL: undefined }],
])('with limits in %s', (_, env) => {
  beforeAll(() => start(env))
  afterAll(stop)
  afterEach(() => {
    vendor.mood = 'well'
    vendor.questions.length = 0
  })

  it('nothing of the vendor is on a page, nor its policy any other, before a limit is warm; then only there', async () => {
    const { email } = await target.signUp('warm@puzzles.example')
    const { page, guess } = await guesser(email)
    const failed = await guess(WRONG)
    for (const { html, headers } of [page, { html: failed.body, headers: failed.headers }]) {
      expect(html).not.toMatch(/captcha/)
      expect(policyOf({ headers })).not.toMatch(/strict-dynamic|frame-src|127\.0\.0\.1/)
    }
    for (let tries = 1; tries < WARM; tries++) await (await guesser(email)).guess(WRONG)
    const held = await guess(PASSWORD)
    captchaOf(held)
    expect(held.body).toContain(`data-script="${vendor.origin}/widget.js?hl=en"`)
    expect(held.body).toContain('class="test-captcha" data-sitekey="site-key-of-the-test"')
    expect(held.body).not.toContain(VENDOR_SECRET)
    expect(held.headers['retry-after']).toMatch(/^\d+$/)
    const policy = policyOf(held)
    expect(policy).toMatch(/script-src 'nonce-[\w+/=-]+' 'strict-dynamic';/)
    expect(policy).toContain(`frame-src ${vendor.origin};`)
    expect(policy).toContain(`connect-src 'self' ${vendor.origin};`)
    expect(policyOf(await target.person().get(target.issuer))).not.toMatch(/strict-dynamic|frame-src/)
    expect(vendor.questions).toEqual([])
  })

  it('a token of this site lets its owner in, and is told to the vendor with the address', async () => {
    const { email } = await target.signUp('good@puzzles.example')
    await warmUp(email)
    const before = await metric('captcha_passed')
    const owner = await solved(email, { ip: '203.0.113.9' })
    expect((await owner.guess(PASSWORD, owner.proof)).status).toBe(303)
    expect(vendor.questions).toEqual([{ secret: VENDOR_SECRET, response: owner.token, remoteip: '203.0.113.9' }])
    expect((await metric('captcha_passed')) - before).toBe(1)
  })

  it('a wrong token, one of another host, and one that was used before, are refused in words', async () => {
    const { email } = await target.signUp('bad@puzzles.example')
    await warmUp(email)
    // The vendor says yes to each token for ever: that it counts once is our own doing.
    vendor.mood = 'reuse'
    const first = await solved(email)
    expect((await first.guess(WRONG, first.proof)).status).toBe(400)
    const [again, elsewhere, none] = [
      await solved(email),
      await solved(email, { at: 'evil.example' }),
      await solved(email),
    ]
    for (const refused of [
      await again.guess(PASSWORD, `${again.captcha}~${first.token}`),
      await elsewhere.guess(PASSWORD, elsewhere.proof),
      await none.guess(PASSWORD, `${none.captcha}~0.made-up`),
    ]) {
      captchaOf(refused)
      expect(refused.body).toContain('The check was not accepted.')
    }
    // The same proof once more, and one whose token is gone: asked for anew, without a question.
    const asked = vendor.questions.length
    for (const proof of [first.proof, none.captcha, `${none.captcha}~`]) captchaOf(await first.guess(PASSWORD, proof))
    expect(vendor.questions).toHaveLength(asked)
  })

  it('of 20 uses of one token at once, by people of their own, one is looked at', async () => {
    const { email } = await target.signUp('twenty@puzzles.example')
    await warmUp(email)
    vendor.mood = 'reuse'
    const people: Awaited<ReturnType<typeof solved>>[] = []
    for (let i = 0; i < 20; i++) people.push(await solved(email))
    const { token = '' } = people[0] ?? {}
    const answers = await Promise.all(people.map(({ guess, captcha }) => guess(WRONG, `${captcha}~${token}`)))
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(19)
  })

  it('a signature is worth nothing for another identifier, at another address, or changed', async () => {
    const [one, two] = ['bound@puzzles.example', 'bound-two@puzzles.example']
    for (const email of [one, two]) await warmUp(email)
    const ip = '203.0.113.40'
    const mine = await solved(one, { ip })
    const [elsewhere, other] = [await guesser(one, '203.0.113.41'), await guesser(two, ip)]
    captchaOf(await elsewhere.guess(WRONG, mine.proof))
    captchaOf(await other.guess(WRONG, mine.proof))
    captchaOf(await mine.guess(WRONG, mine.proof.replace('captcha.', 'captcha.1')))
    expect(vendor.questions).toEqual([])
  })

  it('a token that comes when no limit is warm is not looked at', async () => {
    const { email } = await target.signUp('cool@puzzles.example')
    await warmUp(email)
    const [first, second] = [await solved(email), await solved(email)]
    // A success forgets the tries at the identifier.
    expect((await first.guess(PASSWORD, first.proof)).status).toBe(303)
    expect((await second.guess(PASSWORD, second.proof)).status).toBe(303)
    expect(vendor.questions.map(({ response }) => response)).toEqual([first.token])
  })

  describe(sampleTitle('a vendor'), () => {
    it.each([...sample(AWAY), 'secret'] as const)(
      'in the mood "%s" lets nobody pass and keeps nobody out: the puzzle takes its place',
      async (mood) => {
        const { email } = await target.signUp(`mood-${mood}@puzzles.example`)
        await warmUp(email)
        const before = await metric('captcha_away')
        const owner = await solved(email)
        vendor.mood = mood
        const began = Date.now()
        const held = await owner.guess(PASSWORD, owner.proof)
        expect(Date.now() - began).toBeLessThan(3500)
        const puzzle = challengeIn(held.body)
        expect([held.status, puzzle !== undefined, captchaIn(held.body)]).toEqual([429, true, undefined])
        expect(policyOf(held)).not.toMatch(/strict-dynamic|frame-src/)
        expect(vendor.questions).toHaveLength(1)
        expect((await metric('captcha_away')) - before).toBe(1)
        if (puzzle !== undefined) expect((await owner.guess(PASSWORD, solve(puzzle))).status).toBe(303)
        await later(REST + 1)
      },
      60_000,
    )
  })

  it('while it rests after a failure, it is not asked, and pages show the puzzle at once', async () => {
    const { email } = await target.signUp('rest@puzzles.example')
    await warmUp(email)
    const [owner, late] = [await solved(email), await solved(email)]
    vendor.mood = 'error'
    await owner.guess(WRONG, owner.proof)
    vendor.mood = 'well'
    const { length } = vendor.questions
    expect(challengeIn((await late.guess(WRONG, late.proof)).body)).toBeDefined()
    expect(challengeIn((await (await guesser(email)).guess(WRONG)).body)).toBeDefined()
    expect(vendor.questions).toHaveLength(length)
    await later(REST + 1)
    expect((await solved(email)).captcha).toMatch(/^captcha\./)
  })

  it('the ticket of the same page is good after its wait, for whoever cannot use the widget', async () => {
    const { email } = await target.signUp('ticket@puzzles.example')
    await warmUp(email)
    const owner = await solved(email, { ip: '203.0.113.60' })
    const early = captchaOf(await owner.guess(PASSWORD, owner.ticket))
    expect(early.ticket).toBe(owner.ticket)
    await later(TICKET_WAIT)
    expect((await owner.guess(PASSWORD, owner.ticket)).status).toBe(303)
    expect(vendor.questions).toEqual([])
  })

  it.each([
    ['create', '/register', 'email', { password: PASSWORD }],
    ['recover', '/recover', 'identifier', {}],
  ] as const)('%s: asks for it from the sixth request for one address on', async (path, form, field, more) => {
    const email = `flood-${path}@puzzles.example`
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
    const { browser, page } = await open()
    const { captcha } = captchaOf(await post(browser, page, form, { [field]: email, ...more }))
    const proof = `${captcha}~${vendor.solveAt(HOST)}`
    expect((await post(browser, page, form, { [field]: email, ...more, proof })).status).toBe(303)
  })

  it('the log says what failed, and neither the secret nor a token', () => {
    const logs = target.server.logs().join('\n')
    expect(logs).toContain('the vendor of the CAPTCHA cannot be asked')
    expect(logs).toContain('the vendor of the CAPTCHA does not accept our requests')
    expect(logs).toContain('a token of a CAPTCHA was made at another host')
    expect(logs).not.toContain(VENDOR_SECRET)
    expect(logs).not.toMatch(/captcha\.\d{10}|0\.[\w-]{43}/)
  })
})

describe('in Chromium', () => {
  let clients: BrowserOfClients
  beforeAll(async () => {
    await start({})
    clients = await startBrowserOfClients()
  })
  afterAll(async () => {
    await clients?.close()
    await stop()
  })
  afterEach(async () => {
    vendor.mood = 'well'
    vendor.loads.length = 0
    await later(WINDOW + 1)
  })

  /** A window at the password page of an account, and everything that goes wrong in it. */
  async function open(email: string, more: Parameters<typeof newProfile>[1] = {}) {
    const profile = await newProfile(clients.browser, { viewport: { width: 360, height: 800 }, ...more })
    const page = await profile.newPage()
    const problems: string[] = []
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
    page.on('pageerror', (error) => problems.push(String(error)))
    await page.goto((await authorization(target.client, CALLBACK, { login_hint: email })).url)
    const enter = async () => {
      await page.fill('#password', PASSWORD)
      await page.click('button.primary')
    }
    // The answer 429 itself is told to the console.
    const said = () => problems.filter((problem) => !problem.includes('429'))
    return { page, enter, said, close: () => profile.close() }
  }

  it('the widget comes with the warm limit and not before, draws itself under the policy, and lets its solver in', async () => {
    const { email } = await target.signUp('solver@puzzles.example')
    const cool = await open(email)
    await cool.enter()
    await cool.page.waitForURL(`${OWN}/**`)
    await cool.close()
    expect(vendor.loads).toEqual([])
    await warmUp(email)
    const { page, enter, said, close } = await open(email, { colorScheme: 'dark' })
    expect(vendor.loads).toEqual([])
    await enter()
    const button = page.locator('#test-captcha-button')
    await button.waitFor()
    expect(await page.textContent('.alert')).toContain('Do the check below')
    expect(await button.textContent()).toBe('site-key-of-the-test dark compact en')
    // The script that the widget's script brings, and its frame.
    await page.waitForSelector('html[data-second]', { state: 'attached' })
    await page.frameLocator('[title="frame of the widget"]').locator('p').waitFor({ state: 'attached' })
    expect([...vendor.loads].sort()).toEqual(['/frame', '/second.js', '/widget.js?hl=en'])
    await enter()
    expect(await page.textContent('#captcha-status')).toContain('Do the check first')
    await button.click()
    await page.waitForSelector('text=solved')
    await page.click('button.primary')
    await page.waitForURL(`${OWN}/**`, { timeout: 10_000 })
    expect(said()).toEqual([])
    await close()
  }, 90_000)

  it('on a wide and light screen it has its normal size, and the language of the page', async () => {
    const { email } = await target.signUp('wide@puzzles.example')
    await warmUp(email)
    const { page, enter, close } = await open(email, { viewport: { width: 1280, height: 800 }, locale: 'ar' })
    await enter()
    expect(await page.textContent('#test-captcha-button')).toBe('site-key-of-the-test light normal ar')
    expect(vendor.loads).toContain('/widget.js?hl=ar')
    await close()
  }, 60_000)

  it('a vendor that fails at the check gives way to the puzzle, which the page solves', async () => {
    const { email } = await target.signUp('fallen@puzzles.example')
    await warmUp(email)
    const { page, enter, said, close } = await open(email)
    await enter()
    await page.click('#test-captcha-button')
    await page.waitForSelector('text=solved')
    vendor.mood = 'error'
    await enter()
    await page.waitForSelector('[data-puzzle]', { state: 'attached' })
    expect(await page.textContent('.alert')).toContain('short calculation')
    await enter()
    await page.waitForURL(`${OWN}/**`, { timeout: 30_000 })
    expect(said()).toEqual([])
    await close()
  }, 90_000)

  it.each([
    ['a widget that cannot be loaded', true],
    ['no JavaScript', false],
  ])(
    'with %s the page says how long to wait, and the plain form goes on',
    async (_, javaScriptEnabled) => {
      const { email } = await target.signUp(`blocked-${javaScriptEnabled}@puzzles.example`)
      await warmUp(email)
      vendor.mood = 'no_script'
      const { page, enter, close } = await open(email, { javaScriptEnabled })
      await enter()
      await page.waitForSelector('[data-captcha]', { state: 'attached' })
      // Once the browser has given the script up, the page says so and takes the empty place away.
      if (javaScriptEnabled) await page.waitForSelector('#captcha-status:text("The check cannot be loaded.")')
      expect(await page.locator('#captcha').isVisible()).toBe(false)
      expect(await page.locator('form .hint').allTextContents()).toContainEqual(
        expect.stringContaining('wait 10 seconds and send the form without it'),
      )
      await later(TICKET_WAIT)
      await enter()
      await page.waitForURL(`${OWN}/**`, { timeout: 30_000 })
      await close()
    },
    90_000,
  )
})
