import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Database } from '../../src/platform/postgres.ts'
import { proofFor } from '../support/abuse.ts'
import { type Conversation, startConversation } from '../support/conversation.ts'
import type { Answer } from '../support/conversation_browser.ts'
import type { Cost } from '../support/conversation_rooms.ts'
import { freshDatabase } from '../support/services.ts'

/**
 * A31, A32: known, unknown, disabled and pending identifiers, with and without a password. Each kind walks the same path; of every request the status,
 * redirect, headers, page bytes, hashes, SQL statements, key/value commands and outbox rows must be equal.
 */

const PASSWORD = 'correct horse battery'
const KINDS = ['known', 'unknown', 'disabled', 'pending', 'bare'] as const
type Kind = (typeof KINDS)[number]

interface Seen {
  readonly request: string
  readonly status: number
  readonly location: string | undefined
  readonly headers: readonly string[]
  readonly page: string
  readonly bytes: number
  readonly cost: Cost & { facts: number }
}

let database: Database
let house: Conversation

beforeAll(async () => {
  database = await freshDatabase('embedded')
  house = await startConversation(database)
})
afterAll(async () => {
  await house.close()
  await database.close()
})

/** Addresses of one length, so that equal pages are equal in bytes. */
async function address(kind: Kind, path: string): Promise<string> {
  const email = `${kind.padEnd(8, 'x')}-${path}@example.com`
  if (kind === 'known' || kind === 'disabled') {
    const id = await house.member(email, PASSWORD)
    await house.accounts.state(id)
    if (kind === 'disabled') await house.accounts.disable(id)
  }
  // Without a password: it looks like every other.
  if (kind === 'bare') await house.member(email)
  if (kind === 'pending') await database.transaction((tx) => house.accounts.createPending({ email }, tx))
  return email
}

type Walk = readonly (readonly [action: string, fields: { readonly [name: string]: string }])[]

async function walk(
  kind: Kind,
  path: string,
  prompt: 'login' | 'create',
  steps: (email: string) => Walk,
): Promise<Seen[]> {
  const email = await address(kind, path)
  const browser = house.browser({ ip: `203.0.113.${10 + KINDS.indexOf(kind)}` })
  const interaction = house.engine.open(prompt)
  browser.hold(interaction)
  const seen: Seen[] = []
  let html = ''
  const note = async (request: string, work: () => Promise<Answer>) => {
    const before = await countRows()
    Object.assign(house.cost, { hashes: 0, statements: 0, commands: 0 })
    const answer = await work()
    html = answer.html
    const cost = { ...house.cost, facts: 0 }
    cost.facts = (await countRows()) - before
    seen.push(plain(request, answer, cost, [interaction.uid, email]))
  }
  await note('first page', () => browser.visit(interaction))
  for (const [action, fields] of steps(email)) {
    if (action === 'wait') house.world.time += 31_000
    else await note(`POST ${action}`, () => browser.post(interaction, action, { ...proofFor(html), ...fields }))
    // A page that asks for a proof is answered before another one is opened.
    if (!html.includes('data-puzzle')) await note(`GET after ${action}`, () => browser.visit(interaction))
  }
  return seen
}

async function countRows(): Promise<number> {
  const { rows: counted } = await database.db.raw('select count(*)::int as count from outbox')
  return counted[0].count
}

/** What an observer may compare: everything but what is random or was typed. */
function plain(request: string, answer: Answer, cost: Seen['cost'], own: readonly string[]): Seen {
  const csrf = /name="csrf" value="([^"]+)"/.exec(answer.html)?.[1] ?? '-'
  const nonce = /nonce="([^"]+)"/.exec(answer.html)?.[1] ?? '-'
  const hide = (text: string) =>
    [...own, csrf, nonce]
      .reduce((left, secret) => left.replaceAll(secret, '*'), text)
      // How long the page is good for: it runs while we look.
      .replaceAll(/data-seconds="\d+"/g, 'data-seconds="*"')
      .replaceAll(/(puzzle|ticket)\.\d+\.\d+\.[\w-]{43}\.[\w-]{43}/g, '$1.*')
  const headers = [...answer.headers]
    .filter(([name]) => !['date', 'x-request-id', 'content-security-policy', 'keep-alive', 'connection'].includes(name))
    .map(([name, value]) => `${name}: ${hide(value).replace(/(csrf=)[\w-]+/, '$1*')}`)
  return {
    request,
    status: answer.status,
    location: answer.location && hide(answer.location),
    headers,
    page: hide(answer.html),
    bytes: Buffer.byteLength(answer.html),
    cost,
  }
}

const WALKS: readonly (readonly [string, 'login' | 'create', (email: string) => Walk])[] = [
  [
    'signing in',
    'login',
    (email) => [
      ['identifier', { identifier: email }],
      ['password', { password: 'not the right one' }],
      ['password', { password: '' }],
      ['password', { password: 'x'.repeat(300) }],
      ...Array.from({ length: 3 }, () => ['password', { password: 'another guess' }] as const),
      ['password', { password: 'without a proof', proof: '' }],
      ['password', { password: 'with one of nobody', proof: 'puzzle.1.2.x' }],
      ...Array.from({ length: 7 }, () => ['password', { password: 'another guess' }] as const),
    ],
  ],
  [
    'mailing a code',
    'login',
    (email) => [
      ['identifier', { identifier: email }],
      ['switch', { to: 'email_code' }],
      ['email_code', { code: '123456' }],
      ['email_code', { code: '' }],
      ['email_code', { action: 'resend' }],
      ['switch', { to: 'password' }],
      ['password', { password: 'not the right one' }],
      ['switch', { to: 'email_code' }],
      ['wait', {}],
      ['email_code', { action: 'resend' }],
      ...Array.from({ length: 4 }, () => ['email_code', { code: '654321' }] as const),
      ...Array.from({ length: 6 }, () => [['wait', {}] as const, ['email_code', { action: 'resend' }] as const]).flat(),
      ['switch', { to: 'create' }],
    ],
  ],
  [
    'joining without a password',
    'create',
    (email) => [
      ['register', { email, password: '' }],
      ['verify_email', { code: '123456' }],
      ['wait', {}],
      ['verify_email', { action: 'resend' }],
      ...Array.from({ length: 4 }, () => ['verify_email', { code: '654321' }] as const),
      ['verify_email', { action: 'change', email }],
      ['switch', { to: 'login' }],
      ['switch', { to: 'email_code' }],
    ],
  ],
  [
    'registering',
    'create',
    (email) => [
      ['register', { email, password: 'password1' }],
      ...Array.from({ length: 6 }, () => ['register', { email, password: 'password1' }] as const),
      ['register', { email, password: 'violet tangent 8' }],
      ['verify_email', { code: '123456' }],
      ['verify_email', { action: 'resend' }],
      ['wait', {}],
      ['verify_email', { action: 'resend' }],
      ...Array.from({ length: 4 }, () => ['verify_email', { code: '654321' }] as const),
      ['wait', {}],
      ['verify_email', { action: 'change', email }],
      ['switch', { to: 'login' }],
      ['password', { password: 'violet tangent 8' }],
    ],
  ],
  [
    'recovering',
    'login',
    (email) => [
      ['switch', { to: 'recover' }],
      ['recover', { identifier: email }],
      ['recover_code', { code: '123456' }],
      ['recover_code', { action: 'resend' }],
      ['wait', {}],
      ['recover_code', { action: 'resend' }],
      ...Array.from({ length: 4 }, () => ['recover_code', { code: '654321' }] as const),
      ['switch', { to: 'recover' }],
      ['recover', { identifier: email }],
      ['new_password', { password: 'violet tangent 8' }],
    ],
  ],
]

describe.each(WALKS)('%s answers and costs the same for every kind of identifier', (name, prompt, steps) => {
  let unknown: Seen[]

  beforeAll(async () => {
    unknown = await walk('unknown', name.slice(0, 4), prompt, steps)
  })

  it('is a walk that meets every answer of its limits', () => {
    if (name !== 'signing in') return
    expect(new Set(unknown.filter(({ page }) => page.includes('data-puzzle')).map(({ status }) => status))).toEqual(
      new Set([400, 429]),
    )
    expect(unknown.some(({ status, page }) => status === 429 && !page.includes('data-puzzle'))).toBe(true)
  })

  it('is a walk that sees pages', () => {
    expect(unknown.some(({ cost }) => cost.hashes > 0 || cost.facts > 0)).toBe(true)
    expect(unknown.filter(({ status }) => status === 200 || status === 400 || status === 429).length).toBeGreaterThan(3)
  })

  it.each(KINDS.filter((kind) => kind !== 'unknown'))('%s', async (kind) => {
    const seen = await walk(kind, name.slice(0, 4), prompt, steps)
    expect(seen).toHaveLength(unknown.length)
    for (const [index, one] of seen.entries()) expect(one).toEqual(unknown[index])
  })
})

it('The right password of a disabled or pending account answers like a wrong one of an unknown', async () => {
  const steps = (email: string): Walk => [
    ['identifier', { identifier: email }],
    ['password', { password: PASSWORD }],
  ]
  const unknown = await walk('unknown', 'both', 'login', steps)
  expect(await walk('disabled', 'both', 'login', steps)).toEqual(unknown)
  const email = await address('pending', 'more')
  const id = (await house.accounts.findByIdentifier(email))?.id ?? ''
  await database.transaction((tx) => house.passwords.store(id, `hash of ${PASSWORD}`, tx))
  const browser = house.browser()
  const interaction = house.engine.open('login', { params: { login_hint: email } })
  browser.hold(interaction)
  await browser.visit(interaction)
  expect(await browser.post(interaction, 'password', { password: PASSWORD })).toMatchObject({
    status: 400,
    step: 'password',
  })
})
