/**
 * Random walks through the conversation: two tabs of one browser and one of another, three accounts of which one has a second
 * factor, every step and switch with every kind of input, in any order. Whoever walks knows only some secrets; the judge knows
 * which, and nothing of the code: no walk ends as an account whose secrets the walker had not, and none changes what such an
 * account can be signed in to by.
 */
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import type { Database } from '../../src/platform/postgres.ts'
import { type Conversation, startConversation } from '../support/conversation.ts'
import { FACTOR_CODE } from '../support/safety_rooms.ts'
import { generator, SEED, sample, sampleTitle } from '../support/sample.ts'
import { freshDatabase } from '../support/services.ts'

const WALKS = 2000
const LENGTH = 14
const EMAILS = ['ann@example.com', 'bob@example.com', 'eve@example.com'] as const
/** Eve has set up a second factor. */
const PROTECTED = 'eve@example.com'
const STEPS = [
  ...['choose_account', 'identifier', 'register', 'recover', 'recover_code', 'new_password', 'password', 'email_code'],
  ...['verify_email', 'switch_account', 'totp', 'lost_factor'],
]
const SWITCHES = ['login', 'create', 'recover', 'identifier', ...STEPS]

interface Person {
  readonly id: string
  readonly email: string
  readonly password: string
  readonly factors: readonly string[]
  /** Of the password as it is stored. */
  hash: string | undefined
}

/** What the walker has of one person. */
interface Secrets {
  readonly password: boolean
  readonly mailbox: boolean
  readonly factor: boolean
}

let database: Database
let house: Conversation
let people: readonly Person[]

beforeAll(async () => {
  database = await freshDatabase('embedded')
  house = await startConversation(database)
  const make = async (email: string): Promise<Person> => {
    const password = `the own password of ${email.slice(0, 3)} 7`
    const id = await house.member(email, password)
    const factors = email === PROTECTED ? ['totp'] : []
    if (factors.length > 0) await house.safety.change(id, true)
    return { id, email, password, factors, hash: (await house.passwords.findByEmail(email))?.hash }
  }
  people = [await make(EMAILS[0]), await make(EMAILS[1]), await make(EMAILS[2])]
})
afterAll(async () => {
  await house.close()
  await database.close()
})

type Walk = ReturnType<typeof beginWalk>

function beginWalk(seed: number) {
  const random = generator(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
  const secrets = (): Secrets => ({ password: random() < 0.4, mailbox: random() < 0.3, factor: random() < 0.4 })
  const has = people.map(secrets)
  const log: string[] = []
  const began = new Date(house.world.time)
  const [mine, other] = [house.browser({ ip: '203.0.113.7' }), house.browser({ ip: '198.51.100.9' })]
  const tabs = [mine, mine, other].map((browser) => {
    const interaction = house.engine.open(pick(['login', 'login', 'create', 'select_account'] as const))
    browser.hold(interaction)
    return { browser, interaction }
  })

  /** The newest code that went to a mailbox in this walk. */
  const lastCode = async (email: string) =>
    (await house.mails(began)).filter(({ to }) => to === email).at(-1)?.values.code ?? '999999'

  async function fieldsOf(step: string): Promise<{ [name: string]: string }> {
    if (random() < 0.1) return {}
    const who = pick([...people.keys()])
    const { email = '', password = '' } = people[who] ?? {}
    const guess = pick(['000000', '', '123456'])
    const code = has[who]?.mailbox === true ? await lastCode(email) : guess
    const action = pick(['confirm', 'continue', 'other', 'switch', 'stay', 'resend', 'change', 'request', 'remove', ''])
    const known = has[who]?.password === true ? password : 'wrong one'
    return {
      ...{ identifier: email, email },
      // There is one code, and one account that it is good for.
      code: step === 'totp' ? (has.at(-1)?.factor === true ? FACTOR_CODE : guess) : code,
      ...(random() < 0.3 ? { trust: 'yes' } : {}),
      password: step === 'new_password' ? `walked to a new one ${who}` : known,
      ...(action === '' ? {} : { action }),
    }
  }

  return {
    has,
    log,
    results: () => tabs.map(({ interaction }) => interaction.result),
    /** Whether the walker may end as this person: they know the password, or read the mailbox, and have the factor if any. */
    mayBe(who: number): boolean {
      const { password = false, mailbox = false, factor = false } = has[who] ?? {}
      return (password || mailbox) && (factor || people[who]?.factors.length === 0)
    },
    /** One act: an answer to the step that is shown more often than to any other, or a switch. */
    async act(): Promise<void> {
      const { browser, interaction } = pick(tabs)
      const page = await browser.visit(interaction)
      if (random() < 0.2) {
        const to = pick(SWITCHES)
        log.push(`${interaction.uid.slice(0, 3)} switch ${to}`)
        await browser.post(interaction, 'switch', { to })
        return
      }
      const step = page.step !== undefined && random() < 0.7 ? page.step : pick(STEPS)
      const fields = await fieldsOf(step)
      log.push(`${interaction.uid.slice(0, 3)} ${step} ${JSON.stringify(fields)}`)
      const answer = await browser.post(interaction, step, fields)
      expect([303, 400, 429]).toContain(answer.status)
      await house.deliver(began)
    },
  }
}

async function judge(walk: Walk): Promise<void> {
  for (const result of walk.results()) {
    const login = result?.login as { accountId: string; proofs: { accountId: string }[] } | undefined
    if (login === undefined) continue
    const who = people.findIndex(({ id }) => id === login.accountId)
    // Whoever is neither has registered in this walk, which takes the mailbox: both addresses have owners already.
    expect(who).not.toBe(-1)
    expect(walk.mayBe(who)).toBe(true)
    expect(login.proofs.map(({ accountId }) => accountId)).toEqual(login.proofs.map(() => login.accountId))
    expect(login.proofs).not.toHaveLength(0)
  }
  for (const [who, { id, email, hash, factors }] of people.entries()) {
    // Nothing of what there is to post takes a factor away, or gives one, within the waiting.
    expect((await house.accounts.view(id))?.factors).toEqual(factors)
    if (walk.has[who]?.mailbox !== true) expect((await house.passwords.findByEmail(email))?.hash).toBe(hash)
  }
}

/** Whoever had the mailbox may have set another password, or begun a waiting: the next walk begins as the first did. */
async function reset(walk: Walk): Promise<void> {
  for (const [who, person] of people.entries()) {
    await house.database.transaction((tx) => house.safety.lostFactors.service.cancel(person.id, 'refused', tx))
    if (walk.has[who]?.mailbox !== true) continue
    const prepared = await house.passwords.prepare(person.password, [])
    if (!prepared.ok) throw new Error(prepared.code)
    await house.database.transaction((tx) => house.passwords.store(person.id, prepared.hash, tx))
    person.hash = prepared.hash
  }
}

const seeds = sample(Array.from({ length: WALKS }, (_, index) => SEED * WALKS + index))

it(sampleTitle(`${WALKS} walks end only as somebody whose secrets were had`), async () => {
  let ended = 0
  let endedProtected = 0
  for (const seed of seeds) {
    house.world.time += 3_600_000
    const walk = beginWalk(seed)
    try {
      for (let step = 0; step < LENGTH; step++) await walk.act()
      await judge(walk)
    } catch (error) {
      throw new Error(`walk ${seed}, has ${JSON.stringify(walk.has)}:\n${walk.log.join('\n')}`, { cause: error })
    }
    const logins = walk.results().flatMap((result) => (result?.login as { accountId: string } | undefined) ?? [])
    ended += logins.length
    endedProtected += logins.filter(({ accountId }) => accountId === people.at(-1)?.id).length
    await reset(walk)
  }
  // Walks that never get anywhere would prove nothing.
  expect(ended).toBeGreaterThan(seeds.length / 20)
  if (seeds.length === WALKS) expect(endedProtected).toBeGreaterThan(WALKS / 200)
}, 1_800_000)
