/** Remembered browsers in the conversation: real steps, services and SQL, a second factor and an engine that stand in. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { newId } from '../../../src/platform/ids.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { type Conversation, startConversation } from '../../support/conversation.ts'
import { FACTOR_CODE } from '../../support/safety_rooms.ts'
import { freshDatabase } from '../../support/services.ts'

const PASSWORD = 'correct horse battery'
const DAY = 86_400_000
const COOKIE = '__Host-genkan_device'

describe.each(['embedded', 'postgres'] as const)('a remembered browser on %s', (kind) => {
  let database: Database
  let house: Conversation
  let email: string
  let id: string
  let browser: ReturnType<Conversation['browser']>

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
    house.world.time += 1000
    browser = house.browser({ headers: { 'User-Agent': FIREFOX } })
  })

  type Opening = Parameters<Conversation['engine']['open']>[1]

  /** Through the password; ends at the client, or where more is asked. */
  async function password(by = browser, opening: Opening = {}) {
    const interaction = house.engine.open('login', { params: { login_hint: email }, ...opening })
    by.hold(interaction)
    await by.visit(interaction)
    return { interaction, page: await by.submit(interaction, 'password', { password: PASSWORD }) }
  }
  async function factor(fields: { [name: string]: string }, by = browser) {
    const { interaction } = await password(by)
    return by.post(interaction, 'totp', { code: FACTOR_CODE, ...fields })
  }
  const asks = async (by = browser, opening: Opening = {}) => {
    const { page } = await password(by, opening)
    return page.step
  }

  it('is asked for no second factor for thirty days and not a second longer', async () => {
    expect((await factor({ trust: 'yes' })).location).toContain('/auth/')
    const remembered = house.world.time
    expect(await asks()).toBeUndefined()
    house.world.time = remembered + 30 * DAY - 1
    const { interaction, page } = await password()
    expect(page.location).toContain('/auth/')
    expect(house.engine.records.get(interaction.uid)?.result).toMatchObject({
      login: { proofs: [{ method: 'pwd' }, { method: 'device', second: true, at: house.world.time }] },
    })
    house.world.time = remembered + 30 * DAY
    expect(await asks()).toBe('totp')
  })

  it('is so by the checkbox only, and a remembered browser does not prolong itself', async () => {
    await factor({})
    expect(await asks()).toBe('totp')
    await factor({ trust: 'yes' })
    house.world.time += 20 * DAY
    const { interaction } = await password(browser)
    expect(house.engine.records.get(interaction.uid)?.result).toBeDefined()
    house.world.time += 10 * DAY
    expect(await asks()).toBe('totp')
  })

  it('is that one browser, for that one account', async () => {
    await factor({ trust: 'yes' })
    const other = house.browser()
    expect(await asks(other)).toBe('totp')
    other.jar.set(COOKIE, 'x'.repeat(43))
    expect(await asks(other)).toBe('totp')
    const mine = email
    email = `other-${email}`
    await house.safety.change(await house.member(email, PASSWORD), true)
    expect(await asks()).toBe('totp')
    email = mine
    expect(await asks()).toBeUndefined()
  })

  it('is not remembered on a shared computer', async () => {
    const interaction = house.engine.open('login', { params: { login_hint: email } })
    browser.hold(interaction)
    await browser.visit(interaction)
    await browser.submit(interaction, 'password', { password: PASSWORD, shared: 'yes' })
    const end = await browser.post(interaction, 'totp', { code: FACTOR_CODE, trust: 'yes' })
    expect(end.headers.getSetCookie().find((cookie) => cookie.startsWith(COOKIE))).not.toMatch(/expires/i)
    expect(await asks()).toBe('totp')
  })

  it('is no answer to prompt=login or max_age', async () => {
    await factor({ trust: 'yes' })
    for (const reason of ['login_prompt', 'max_age']) expect(await asks(browser, { reasons: [reason] })).toBe('totp')
  })

  it('the wish of one account says nothing of another that is named later in the same conversation', async () => {
    const interaction = house.engine.open('login', { params: { login_hint: email } })
    browser.hold(interaction)
    await browser.visit(interaction)
    await browser.submit(interaction, 'password', { password: PASSWORD })
    await browser.post(interaction, 'totp', { code: '000000', trust: 'yes' })
    await browser.post(interaction, 'totp', { code: FACTOR_CODE })
    expect(await asks()).toBe('totp')
  })

  describe('is so no more at once', () => {
    const secured: readonly [string, () => Promise<unknown>][] = [
      [
        'a new password',
        () =>
          database.transaction((tx) => house.outbox.record([{ type: 'account.password_changed', accountId: id }], tx)),
      ],
      ['a factor that is added', () => house.safety.change(id, true)],
      ['the end of all sessions', () => house.sessions.endAll(id, 'ended_by_account')],
      ['the end of all other sessions', () => house.sessions.endAll(id, 'ended_by_account', { exceptUid: 'here' })],
      [
        'an account that was switched off and on again',
        async () => {
          await house.accounts.disable(id)
          await house.accounts.enable(id)
        },
      ],
      [
        'being forgotten',
        async () => {
          const [device] = await house.safety.devices.service.list(id)
          expect(device).toMatchObject({ browser: 'Firefox', system: 'Linux', trustedUntil: expect.any(Date) })
          expect(await house.safety.devices.service.forget('somebody-else', device?.id ?? '')).toBe(false)
          expect(await house.safety.devices.service.forget(id, device?.id ?? '')).toBe(true)
        },
      ],
      ['forgetting all', () => house.safety.devices.service.forgetAll(id)],
    ]
    it.each(secured)('after %s', async (_, act) => {
      await factor({ trust: 'yes' })
      expect(await asks()).toBeUndefined()
      await act()
      expect(await asks()).toBe('totp')
    })

    it('also in a conversation that was already let past the second factor', async () => {
      await factor({ trust: 'yes' })
      // Another account is signed in here, so that the conversation stops once more before its end.
      browser.signIn({ accountId: await house.member(`else-${email}`), uid: 'elsewhere' })
      const { interaction, page } = await password()
      expect(page.step).toBe('switch_account')
      await house.safety.change(id, true)
      const end = await browser.submit(interaction, 'switch_account', { action: 'switch' })
      expect(end.step).toBe('totp')
      expect(house.engine.records.get(interaction.uid)?.result).toBeUndefined()
    })

    it('and is not made so by a second factor that was shown before the account was secured', async () => {
      const shownAt = house.world.time
      house.world.time += 1000
      await house.safety.change(id, true)
      const request = { ip: '', userAgent: '', locale: 'en', requestId: '', deviceToken: 'y'.repeat(43) }
      expect(await house.safety.devices.service.trust(id, shownAt, request)).toBe(false)
      expect(await house.safety.devices.service.trust(id, house.world.time, request)).toBe(true)
    })
  })

  it('trust is never given by a factor shown before a change of one, also when both come at the same time', async () => {
    const request = { ip: '', userAgent: '', locale: 'en', requestId: '', deviceToken: 'z'.repeat(43) }
    for (let round = 0; round < 5; round++) {
      const shownAt = house.world.time
      house.world.time += 10
      await Promise.all([
        house.safety.change(id, true),
        ...Array.from({ length: 4 }, () => house.safety.devices.service.trust(id, shownAt, request)),
      ])
      const account = await house.accounts.view(id)
      if (account === undefined) throw new Error('no account')
      expect(await house.safety.devices.service.recognise(account, request)).toBeUndefined()
    }
  })
})

const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
const PHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1'

describe('a browser that the account was not used in before', () => {
  let database: Database
  let house: Conversation
  beforeAll(async () => {
    database = await freshDatabase('embedded')
    house = await startConversation(database)
  })
  afterAll(async () => {
    await house?.close()
    await database?.close()
  })

  async function signIn(by: ReturnType<Conversation['browser']>, email: string) {
    const interaction = house.engine.open('login', { params: { login_hint: email } })
    by.hold(interaction)
    await by.visit(interaction)
    expect((await by.post(interaction, 'password', { password: PASSWORD })).location).toContain('/auth/')
    await house.consume()
  }
  const notices = async (email: string) =>
    (await house.mails()).filter(({ to, values }) => to === email && values.event === 'new_device')

  it('is told of once, not at the first sign-in, and again after it was forgotten', async () => {
    const email = 'ada@example.com'
    const id = await house.member(email, PASSWORD)
    const desk = house.browser({ headers: { 'User-Agent': FIREFOX } })
    const phone = house.browser({ headers: { 'User-Agent': PHONE } })
    await signIn(desk, email)
    expect(await notices(email)).toEqual([])
    await signIn(desk, email)
    expect(await notices(email)).toEqual([])
    await signIn(phone, email)
    await signIn(phone, email)
    const [notice, ...more] = await notices(email)
    expect(more).toEqual([])
    expect(notice?.values).toMatchObject({ device: 'Safari, iOS', link: { purpose: 'disown' } })
    await house.safety.devices.service.forgetAll(id)
    await signIn(desk, email)
    expect(await notices(email)).toHaveLength(2)
  })

  it('is told of once when its fact is delivered twice at the same time', async () => {
    const email = 'twice@example.com'
    const id = await house.member(email, PASSWORD)
    await signIn(house.browser(), email)
    const at = new Date(house.world.time)
    await Promise.all(Array.from({ length: 8 }, () => house.safety.devices.service.seen(id, 'a-new-one', FIREFOX, at)))
    expect(await notices(email)).toHaveLength(1)
  })

  it('the cookie is the browser’s for 400 days, out of reach of scripts, and kept from one sign-in to the next', async () => {
    const email = 'cookie@example.com'
    await house.member(email, PASSWORD)
    const browser = house.browser()
    await signIn(browser, email)
    const first = browser.jar.get(COOKIE)
    expect(first).toMatch(/^[\w-]{43}$/)
    const interaction = house.engine.open('login', { params: { login_hint: email } })
    browser.hold(interaction)
    await browser.visit(interaction)
    const end = await browser.post(interaction, 'password', { password: PASSWORD })
    const cookie = end.headers.getSetCookie().find((text) => text.startsWith(COOKIE)) ?? ''
    expect(cookie).toMatch(/; path=\/; expires=[^;]+; samesite=lax; secure; httponly$/i)
    const expires = Date.parse(/expires=([^;]+)/i.exec(cookie)?.[1] ?? '')
    expect(Math.round((expires - Date.now()) / DAY)).toBe(400)
    expect(browser.jar.get(COOKIE)).toBe(first)
    const rows: { token_hash: string }[] = await database.db('devices').select('token_hash')
    expect(JSON.stringify(rows)).not.toContain(first)
  })
})
