/** The way back after lost factors, in the conversation: real steps, services and SQL; the factor and the engine stand in. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { newId } from '../../../src/platform/ids.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { type Conversation, startConversation } from '../../support/conversation.ts'
import { textOf } from '../../support/html.ts'
import { FACTOR_CODE } from '../../support/safety_rooms.ts'
import { freshDatabase } from '../../support/services.ts'

const PASSWORD = 'correct horse battery'
const HOUR = 3_600_000
const PAGE = { locale: 'en' }

describe.each(['embedded', 'postgres'] as const)('lost factors on %s', (kind) => {
  let database: Database
  let house: Conversation
  let email: string
  let id: string

  beforeAll(async () => {
    database = await freshDatabase(kind)
    house = await startConversation(database)
  })
  afterAll(async () => {
    await house?.close()
    await database?.close()
  })
  beforeEach(async () => {
    email = `${newId().toLowerCase().replaceAll(/[-_]/g, 'x')}@example.com`
    id = await house.member(email, PASSWORD)
    await house.safety.change(id, true)
    await house.consume()
    house.world.time += 1000
  })

  async function stuck() {
    const browser = house.browser()
    const interaction = house.engine.open('login', { params: { login_hint: email } })
    browser.hold(interaction)
    await browser.visit(interaction)
    const asked = await browser.submit(interaction, 'password', { password: PASSWORD })
    expect(asked.step).toBe('totp')
    expect(asked.html).toContain('<a>lost_factor</a>')
    const page = await browser.submit(interaction, 'switch', { to: 'lost_factor' })
    expect(page.step ?? 'waiting').toMatch(/lost_factor|waiting/)
    return { browser, interaction, page }
  }
  async function request() {
    const at = await stuck()
    const page = await at.browser.submit(at.interaction, 'lost_factor', { action: 'request' })
    return { ...at, page }
  }
  async function remove() {
    const { browser, interaction } = await stuck()
    return { interaction, answer: await browser.post(interaction, 'lost_factor', { action: 'remove' }) }
  }
  const result = (interaction: { uid: string }) => house.engine.records.get(interaction.uid)?.result
  const told = async () =>
    (await house.mails()).filter(({ to }) => to === email).map(({ values }) => values.event ?? '')
  const linkOf = async (event: string) => {
    const mail = (await house.mails()).findLast(({ to, values }) => to === email && values.event === event)
    const { url } = (mail?.values.link ?? { url: '' }) as unknown as { url: string }
    return new URL(url)
  }
  const service = () => house.safety.lostFactors.service

  it('asking signs nobody in, tells everybody, and changes nothing before its time', async () => {
    const { interaction, page } = await request()
    expect(page.status).toBe(200)
    expect(textOf(page.html)).toContain('November 4, 2026')
    expect(result(interaction)).toBeUndefined()
    expect(await told()).toEqual(['removal_requested'])
    expect((await linkOf('removal_requested')).pathname).toBe('/notices/keep_factors')
    house.world.time += 72 * HOUR - 2000
    const early = await remove()
    expect(early.answer.status).toBe(400)
    expect(result(early.interaction)).toBeUndefined()
    expect((await house.accounts.view(id))?.factors).toEqual(['totp'])
  })

  it('when it is time the next sign-in removes the factors, ends everything else, tells everybody and signs in', async () => {
    const elsewhere = await house.sessions.open({
      ...{ accountId: id, proofs: [], amr: [], transient: false, now: new Date(house.world.time) },
    })
    await request()
    house.world.time += 72 * HOUR
    const { interaction, answer } = await remove()
    expect(answer.location).toContain('/auth/')
    expect(result(interaction)).toMatchObject({ login: { accountId: id, epoch: 1, proofs: [{ method: 'pwd' }] } })
    expect((await house.accounts.view(id))?.factors).toEqual([])
    expect((await house.sessions.list(id)).map(({ uid }) => uid)).not.toContain(elsewhere)
    await house.consume()
    expect(await told()).toEqual(['removal_requested', 'removal_done'])
    const facts: { type: string }[] = await database.db('outbox').where({ account_id: id }).select('type')
    expect(facts.map(({ type }) => type)).toEqual(
      expect.arrayContaining([
        'factor_removal.requested',
        'factor.removed',
        'sessions.ended',
        'factor_removal.completed',
      ]),
    )
  })

  it('reminds everybody once, a day before', async () => {
    await request()
    const tend = () => service().tend(new Date(house.world.time))
    house.world.time += 47 * HOUR
    await tend()
    expect(await told()).not.toContain('removal_near')
    house.world.time += HOUR + 1000
    await Promise.all([tend(), tend(), tend()])
    await tend()
    expect((await told()).filter((event) => event === 'removal_near')).toHaveLength(1)
    expect((await linkOf('removal_near')).pathname).toBe('/notices/keep_factors')
  })

  it('is called off by each of the mailed links, once, and by a POST only', async () => {
    for (const event of ['removal_requested', 'removal_near']) {
      await request()
      house.world.time += 49 * HOUR
      await service().tend(new Date(house.world.time))
      const token = (await linkOf(event)).searchParams.get('token') ?? ''
      const notices = house.safety.notices.service
      expect(await notices.isLive(token, 'keep_factors')).toBe(true)
      expect(await notices.isLive(token, 'disown')).toBe(false)
      expect(await notices.use(token, 'restore_email', PAGE)).toMatchObject({ code: 'notice_link_gone' })
      expect(await service().find(id)).toBeDefined()
      const uses = await Promise.all(Array.from({ length: 20 }, () => notices.use(token, 'keep_factors', PAGE)))
      expect(uses.filter(({ ok }) => ok)).toHaveLength(1)
      expect(await service().find(id)).toBeUndefined()
      house.world.time += 30 * HOUR
      const { interaction, answer } = await remove()
      expect(answer.status).toBe(400)
      expect(result(interaction)).toBeUndefined()
      house.world.time += 24 * HOUR
    }
    expect((await told()).filter((event) => event === 'removal_cancelled')).toHaveLength(2)
  })

  it.each<[string, () => Promise<unknown>]>([
    [
      'a sign-in with the factor',
      async () => {
        const { browser, interaction } = await stuck()
        await browser.submit(interaction, 'switch', { to: 'totp' })
        expect((await browser.post(interaction, 'totp', { code: FACTOR_CODE })).location).toContain('/auth/')
        await house.consume()
      },
    ],
    [
      '"this was not me"',
      async () => {
        const account = await house.accounts.view(id)
        if (account === undefined) throw new Error('no account')
        await database.transaction((tx) => house.safety.notices.service.tell('new_device', account, PAGE, tx))
        const token = (await linkOf('new_device')).searchParams.get('token') ?? ''
        expect(await house.safety.notices.service.use(token, 'disown', PAGE)).toEqual({ ok: true })
      },
    ],
    [
      'a new password',
      () =>
        database.transaction((tx) => house.outbox.record([{ type: 'account.password_changed', accountId: id }], tx)),
    ],
    [
      'an account that is switched off',
      async () => {
        await house.accounts.disable(id)
        await house.accounts.enable(id)
      },
    ],
    ['a change of the factors', () => house.safety.change(id, true)],
  ])('is called off by %s', async (_, act) => {
    await request()
    await act()
    expect(await service().find(id)).toBeUndefined()
    house.world.time += 73 * HOUR
    expect((await remove()).answer.status).toBe(400)
    expect((await house.accounts.view(id))?.factors).toEqual(['totp'])
  })

  it('asked for again it does not begin anew, and too often it is refused', async () => {
    await request()
    const first = await service().find(id)
    house.world.time += HOUR
    await request()
    expect(await service().find(id)).toEqual(first)
    await request()
    // The page offers no button while one waits; a form that is posted all the same is counted.
    const { page } = await request()
    expect(page.status).toBe(429)
    expect((await told()).filter((event) => event === 'removal_requested')).toHaveLength(1)
  })

  it('of many requests, and of many completions, at once exactly one counts', async () => {
    const account = await house.accounts.view(id)
    if (account === undefined) throw new Error('no account')
    const ask = (index: number) => service().request(account, `198.51.100.${index}`, PAGE)
    await Promise.all(Array.from({ length: 3 }, (_, index) => ask(index)))
    expect((await told()).filter((event) => event === 'removal_requested')).toHaveLength(1)
    house.world.time += 73 * HOUR
    const ends = await Promise.all(Array.from({ length: 10 }, () => service().complete(id, PAGE)))
    expect(ends.filter((end) => end !== undefined)).toHaveLength(1)
    expect((await house.accounts.view(id))?.epoch).toBe(1)
  })

  it('lapses a week after its time: an old request is nobody’s way in', async () => {
    await request()
    house.world.time += 72 * HOUR + 7 * 24 * HOUR
    expect((await remove()).answer.status).toBe(400)
    await request()
    expect(await service().find(id)).toMatchObject({ isDue: false })
    house.world.time += 72 * HOUR + 7 * 24 * HOUR
    await service().tend(new Date(house.world.time))
    expect(await database.db('factor_removals').where({ account_id: id }).pluck('outcome')).toEqual([
      'lapsed',
      'lapsed',
    ])
  })

  it('is not to be reached without the first factor of this conversation', async () => {
    const browser = house.browser()
    const fresh = house.engine.open('login', { params: { login_hint: email } })
    browser.hold(fresh)
    await browser.visit(fresh)
    await browser.submit(fresh, 'switch', { to: 'lost_factor' })
    expect((await browser.post(fresh, 'lost_factor', { action: 'request' })).status).toBe(303)
    expect(await service().find(id)).toBeUndefined()
    // A session that is merely to be stepped up brings its password along: not enough.
    const proofs = [{ method: 'pwd', amr: ['pwd'], accountId: id, at: house.world.time, epoch: 0 }]
    house.engine.browsers.set(browser.id, { accountId: id, uid: 's1', proofs })
    const session = { accountId: id, uid: 's1' }
    const step = house.engine.open('login', {
      ...{ session, reasons: ['level'], params: { acr_values: 'urn:genkan:acr:mfa' } },
    })
    browser.hold(step)
    expect((await browser.visit(step)).step).toBe('totp')
    await browser.submit(step, 'switch', { to: 'lost_factor' })
    expect((await browser.post(step, 'lost_factor', { action: 'request' })).status).toBe(303)
    expect(await service().find(id)).toBeUndefined()
  })
})
