/**
 * Who asks people through the back channel without their having wished it, answers in their place, or learns by it who has an
 * account (A36, A53, A55, A62, A72). The twin of each is in test/protocol/ciba.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { allowLatest, answer, CIBA_CLIENTS, open, openLatest, till, waiting } from '../support/approvals.ts'
import { createBrowser } from '../support/browser.ts'
import { SETTINGS } from '../support/journeys.ts'
import { type Mailbox, mailFolder } from '../support/mailbox.ts'
import { newPerson, type Person } from '../support/people.ts'
import { type Server, startServer } from '../support/server.ts'

let server: Server
let origin: string
let mailbox: Mailbox
let shop: ReturnType<typeof till>
let people = 0
const somebody = () => newPerson(origin, mailbox, `victim-${++people}@example.com`)

beforeAll(async () => {
  server = await startServer({ settings: { ...SETTINGS, clients: [...SETTINGS.clients, ...CIBA_CLIENTS] } })
  origin = server.issuer
  mailbox = mailFolder(server.dataDir)
  shop = till(origin)
})
afterAll(() => server?.close())

const tokenIn = ({ forms }: Awaited<ReturnType<typeof open>>) =>
  forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value ?? ''

it('A36: known, unknown, disabled and unproven people, and what is no address: one answer', async () => {
  const [ann, gone] = [await somebody(), await somebody()]
  await server.run('accounts', 'disable', gone.email, '--reason', 'test')
  const shapes: unknown[] = []
  for (const hint of [ann.email, gone.email, 'nobody@example.com', 'no address', 'x'.repeat(3000)]) {
    const { status, headers, body } = await shop.request({ login_hint: hint })
    const poll = await shop.poll(String(body.auth_req_id))
    const { auth_req_id: id, ...rest } = body
    shapes.push([status, rest, String(id).length, headers.get('cache-control'), poll.status, poll.body])
  }
  expect(shapes[0]).toEqual([200, { expires_in: 300 }, 43, 'no-store', 400, expect.objectContaining({})])
  for (const shape of shapes) expect(shape).toEqual(shapes[0])
  // And the one that is somebody was asked.
  expect(await waiting(ann, origin)).toHaveLength(1)
})

it('A72: a client that asks and asks is answered as ever, and the person is left in peace', async () => {
  const ann = await somebody()
  const answers: Awaited<ReturnType<typeof shop.request>>[] = []
  for (let i = 0; i < 8; i++) answers.push(await shop.request({ login_hint: ann.email }))
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  expect(await waiting(ann, origin)).toHaveLength(3)
  const polled = await shop.poll(String(answers[7]?.body.auth_req_id))
  expect(polled.body.error).toBe('authorization_pending')
  // Those three are about the account, whichever client asks; at once they are no more either.
  const others = await Promise.all(
    Array.from({ length: 5 }, () => till(origin, 'other-till').request({ login_hint: ann.email })),
  )
  expect(others.every(({ status }) => status === 200)).toBe(true)
  expect(await waiting(ann, origin)).toHaveLength(3)
  // Answering makes room, but not for the client that has used up its turns.
  for (let i = 0; i < 3; i++) await answer(ann.browser, await openLatest(ann, origin), 'deny')
  await shop.ask({ login_hint: ann.email })
  expect(await waiting(ann, origin)).toEqual([])
  await till(origin, 'mfa-till').ask({ login_hint: ann.email })
  expect(await waiting(ann, origin)).toHaveLength(1)
})

it('parallel requests find room for three all the same', async () => {
  const ann = await somebody()
  await Promise.all(Array.from({ length: 6 }, () => shop.request({ login_hint: ann.email })))
  expect(await waiting(ann, origin)).toHaveLength(3)
})

describe('somebody else’s request', () => {
  let victim: Person
  let attacker: Person
  let id: string
  let url: string

  beforeAll(async () => {
    victim = await somebody()
    attacker = await somebody()
    id = await shop.ask({ login_hint: victim.email })
    url = (await waiting(victim, origin))[0] ?? ''
  })

  it('A53: is neither shown to another account nor answered by it', async () => {
    expect(await open(attacker, url)).toMatchObject({ status: 404 })
    const own = await attacker.browser.get(`${origin}/account/profile`)
    for (const what of ['allow', 'deny', 'unexpected']) {
      const end = await attacker.browser.post(url, { csrf: tokenIn(own), answer: what })
      expect(end.status).toBe(409)
    }
    expect((await shop.poll(id)).body.error).toBe('authorization_pending')
  })

  it('is not shown without a sign-in: the link of the mail is worth nothing by itself', async () => {
    const stranger = createBrowser()
    const page = await stranger.get(url)
    expect(page.text).not.toContain('Harbour till to use')
    expect(page.forms.some(({ action }) => action.includes('/interaction/'))).toBe(true)
  })

  it('A55: a forged form answers nothing: without the token, with another’s, from another site, by GET', async () => {
    const page = await open(victim, url)
    const theirs = tokenIn(await attacker.browser.get(`${origin}/account/profile`))
    for (const [csrf, from] of [
      ['', url],
      [theirs, url],
      [tokenIn(page), 'https://evil.example/'],
    ] as const) {
      expect((await victim.browser.post(url, { csrf, answer: 'allow' }, from)).status).toBeGreaterThanOrEqual(400)
    }
    await victim.browser.get(`${url}?answer=allow&csrf=${encodeURIComponent(tokenIn(page))}`)
    expect(await waiting(victim, origin)).toHaveLength(1)
    const again = await open(victim, url)
    for (const what of ['', 'yes', 'granted']) {
      expect((await victim.browser.post(url, { csrf: tokenIn(again), answer: what })).status).toBe(400)
    }
    expect(await waiting(victim, origin)).toHaveLength(1)
  })

  it('the same form without the fault allows it, and not a second time', async () => {
    const page = await open(victim, url)
    expect((await answer(victim.browser, page, 'allow')).text).toContain('You have allowed it')
    expect(await answer(victim.browser, page, 'deny')).toMatchObject({ status: 409 })
    expect(await open(victim, url)).toMatchObject({ status: 404 })
  })
})

it('A48: whoever finds an open browser says no at the most: yes needs a fresh sign-in', async () => {
  const ann = await somebody()
  const ids = [await shop.ask({ login_hint: ann.email, requested_expiry: '600' })]
  const page = await openLatest(ann, origin)
  await server.shiftDate(310)
  try {
    const end = await answer(ann.browser, page, 'allow')
    expect(end.text).not.toContain('You have allowed it')
    expect(end.forms.some(({ action }) => action.endsWith('/password'))).toBe(true)
    expect((await shop.poll(String(ids[0]))).body.error).toBe('authorization_pending')
    expect((await answer(ann.browser, page, 'deny')).text).toContain('You have denied it')
  } finally {
    await server.shiftDate(0)
  }
})

it('policy holds: what a client demands more than the account can show is refused, and said', async () => {
  const ann = await somebody()
  const strict = till(origin, 'mfa-till')
  const id = await strict.ask({ login_hint: ann.email })
  const page = await openLatest(ann, origin)
  const end = await answer(ann.browser, page, 'allow')
  expect([end.status, end.text]).toEqual([
    403,
    expect.stringContaining('a stronger sign-in than your account can make'),
  ])
  expect((await strict.poll(id)).body.error).toBe('authorization_pending')
  expect((await answer(ann.browser, end, 'deny')).text).toContain('You have denied it')
})

it('“I did not expect this” denies, is stated, and tells the owner what to do', async () => {
  const ann = await somebody()
  const id = await shop.ask({ login_hint: ann.email })
  expect((await answer(ann.browser, await openLatest(ann, origin), 'unexpected')).text).toContain('You have denied it')
  expect((await shop.poll(id)).body.error).toBe('access_denied')
  const facts = await server.run('audit', 'list', '--type', 'approval.denied', '--json')
  expect(facts.stdout).toMatch(/"unexpected": ?true/)
  const mail = await mailbox.to(ann.email, { count: 3 })
  expect(mail.subject).toContain('Somebody asked for access')
  expect(mail.text).toContain('/notices/disown?token=')
})

it.each([
  ['empty', ''],
  ['blank', '   '],
  ['101 characters', 'x'.repeat(101)],
  ['a line break', 'one\ntwo'],
  ['a control character', 'one\u0007two'],
  ['an override of direction', 'pay \u202e09.91'],
  ['an isolate', 'pay \u2067 19.90'],
  ['an invisible character', 'pay\u200b19'],
  ['a line separator', 'one\u2028two'],
  ['a private character', 'one\ue000two'],
])('A10: a binding_message with %s is refused (invalid_binding_message)', async (name, message) => {
  const { status, body } = await shop.request({ login_hint: 'nobody@example.com', binding_message: message })
  // An empty parameter is none (RFC 6749 §3.1).
  if (name === 'empty') expect([200, 400]).toContain(status)
  else expect([status, body.error]).toEqual([400, 'invalid_binding_message'])
})

it('markup in a binding_message is text', async () => {
  const ann = await somebody()
  const message = '<img src=x onerror=alert(1)> {{ 7*7 }} </bdi>'
  await shop.ask({ login_hint: ann.email, binding_message: message })
  const page = await openLatest(ann, origin)
  expect(page.text).toContain(message)
  expect(page.html).not.toContain('<img src=x')
})

it('A110: neither the request nor who was named is in the database in clear', async () => {
  const ann = await somebody()
  const id = await shop.ask({ login_hint: ann.email, binding_message: 'purple elephant 7' })
  await allowLatest(ann, origin)
  const facts = await server.run('audit', 'list', '--json')
  for (const secret of [id, ann.email, 'purple elephant 7']) expect(facts.stdout).not.toContain(secret)
})
