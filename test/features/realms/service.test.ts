/** The rules of realms over real rows; the DNS and the time are arguments. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { realmRepository } from '../../../src/features/realms/repository.ts'
import { createRealmsService, type RealmsService } from '../../../src/features/realms/service.ts'
import type { AccountView } from '../../../src/interaction/step.ts'
import { createLocalInvalidation } from '../../../src/platform/invalidation.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import type { TxtAnswer } from '../../../src/platform/txt_records.ts'
import { freshDatabase } from '../../support/services.ts'

const HOUR = 3_600_000
const START = new Date('2026-11-26T10:00:00Z').getTime()
const ABSENT: TxtAnswer = { kind: 'absent' }

describe.each(['embedded', 'postgres'] as const)('realms on %s', (kind) => {
  let database: Database
  let realms: RealmsService
  let facts: Fact[]
  let time = START
  let answer: TxtAnswer | 'right'
  let token = ''
  const people = new Map<string, AccountView>()

  beforeAll(async () => {
    database = await freshDatabase(kind)
    for (const [accountId, factors] of [
      ['A', ['totp']],
      ['B', []],
    ] as const) {
      const email = `${accountId.toLowerCase()}@acme.example`
      people.set(email, { accountId, email, emailVerified: true, active: true, epoch: 0, factors })
      const row = { id: accountId, email_hash: email, sealed_personal: 'x', state: 'active' }
      await database.db('accounts').insert({ ...row, created_at: new Date(START), updated_at: new Date(START) })
    }
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.db('realms').delete()
    facts = []
    time = START
    answer = 'right'
    realms = createRealmsService({
      repository: realmRepository(database.db),
      transaction: database.transaction,
      outbox: { record: async (stated) => void facts.push(...stated) },
      invalidation: createLocalInvalidation(),
      clock: { now: () => new Date(time) },
      newToken: () => {
        token = `token-${facts.length}`
        return token
      },
      lookUp: async () => (answer === 'right' ? { kind: 'found', values: [`genkan-domain=${token}`] } : answer),
      upstreams: { states: async () => [{ name: 'acme' }, { name: 'other' }] },
      findAccount: async (who) => people.get(who),
    })
  })

  const types = () => facts.map(({ type }) => type)
  const sync = (...declared: { domain: string; [setting: string]: unknown }[]) =>
    database.transaction((tx) => realms.syncDeclared(declared, tx))
  const later = async (hours: number) => {
    time += hours * HOUR
    await realms.recheck(new Date(time))
  }

  it("is nobody's before it is proven", async () => {
    await realms.set('ACME.example', { upstream: 'acme', policy: 'enforce' })
    expect(await realms.of('a@acme.example')).toBeUndefined()
    expect(await realms.vouches('acme', 'a@acme.example')).toBeUndefined()
    expect([await realms.closesAny(), await realms.closesAddress('a@acme.example')]).toEqual([false, false])
    expect(await realms.prove('acme.example')).toBe('proven')
    expect(await realms.of('a@acme.example')).toMatchObject({ domain: 'acme.example', upstream: 'acme' })
    expect([await realms.closesAny(), await realms.closesAddress('a@acme.example')]).toEqual([true, true])
    expect(await realms.closesAddress('a@acme.example', 'acme')).toBe(false)
    expect(await realms.closesAddress('a@sub.acme.example')).toBe(false)
    expect(await realms.vouches('acme', 'a@acme.example')).toBe(true)
    expect(await realms.vouches('other', 'a@acme.example')).toBe(false)
    expect(types()).toEqual(['realm.created', 'realm.verified'])
  })

  it('keeps its proof through an outage of the DNS, however long', async () => {
    await realms.set('acme.example', { upstream: 'acme' })
    await realms.prove('acme.example')
    answer = { kind: 'failed', reason: 'ETIMEOUT' }
    for (let day = 0; day < 30; day++) await later(25)
    expect(await realms.of('a@acme.example')).toBeDefined()
    expect((await realms.states())[0]).toMatchObject({ state: 'proven', misses: 0 })
  })

  it('an outage proves nothing either', async () => {
    await realms.set('acme.example', { upstream: 'acme' })
    answer = { kind: 'failed', reason: 'ETIMEOUT' }
    expect(await realms.prove('acme.example')).toEqual({ failed: 'ETIMEOUT' })
    expect(await realms.of('a@acme.example')).toBeUndefined()
  })

  it('is over when the record is gone for days, which is stated once, and can be proven again', async () => {
    await realms.set('acme.example', { upstream: 'acme', policy: 'enforce' })
    await realms.prove('acme.example')
    answer = ABSENT
    await later(25)
    await later(25)
    expect((await realms.states())[0]).toMatchObject({ state: 'failing', misses: 2 })
    expect(await realms.closesAddress('a@acme.example')).toBe(true)
    await later(25)
    expect(await realms.of('a@acme.example')).toBeUndefined()
    await later(25)
    expect(facts.filter(({ type }) => type === 'realm.lapsed')).toMatchObject([
      { actor: 'system', data: { domain: 'acme.example', reason: 'record_gone' } },
    ])
    answer = 'right'
    expect(await realms.prove('acme.example')).toBe('proven')
    expect((await realms.states())[0]).toMatchObject({ state: 'proven', misses: 0, missedSince: undefined })
  })

  it('is looked at once a day, by one of many instances', async () => {
    await realms.set('acme.example', { upstream: 'acme' })
    await realms.prove('acme.example')
    answer = ABSENT
    await later(23)
    expect((await realms.states())[0]?.misses).toBe(0)
    time += 2 * HOUR
    await Promise.all([1, 2, 3, 4].map(() => realms.recheck(new Date(time))))
    expect((await realms.states())[0]?.misses).toBe(1)
  })

  it('made anew has another token: the record of before proves nothing', async () => {
    const before = await realms.set('acme.example', { upstream: 'acme' })
    await realms.remove('acme.example')
    const now = await realms.set('acme.example', { upstream: 'acme' })
    expect(now.value).not.toBe(before.value)
    answer = { kind: 'found', values: [before.value] }
    expect(await realms.prove('acme.example')).toBe('other_value')
  })

  it('is brought from the file: once, changed, off, and on again with the same token', async () => {
    expect(await sync({ domain: 'Acme.Example', upstream: 'acme' })).toEqual(['acme.example'])
    await realms.prove('acme.example')
    expect(await sync({ domain: 'acme.example', upstream: 'acme' })).toEqual([])
    await sync({ domain: 'acme.example', upstream: 'acme', policy: 'enforce' })
    await sync()
    await realms.announce(['acme.example'])
    expect(await realms.of('a@acme.example')).toBeUndefined()
    await sync({ domain: 'acme.example', upstream: 'acme', policy: 'enforce' })
    await realms.announce(['acme.example'])
    expect(await realms.of('a@acme.example')).toMatchObject({ policy: 'enforce' })
    expect(types()).toEqual(['realm.created', 'realm.verified', 'realm.updated', 'realm.disabled', 'realm.enabled'])
  })

  it.each([
    [{ domain: 'acme', upstream: 'acme' }, 'realms.acme.domain: must be an e-mail domain such as example.com'],
    [{ domain: 'a.example' }, 'realms.a.example.upstream: '],
    [{ domain: 'a.example', upstream: 'acme', polici: 'route' }, 'polici'],
    [{ domain: 'a.example', upstream: 'acme', policy: 'closed' }, 'realms.a.example.policy: '],
    [{ domain: 'a.example', upstream: 'acme', break_glass: ['x@b.example'] }, 'nothing is closed to it'],
  ])('a declaration like %j is refused with the reason', async (declared, reason) => {
    await expect(sync(declared)).rejects.toMatchObject({
      code: 'invalid_realm',
      message: expect.stringContaining(reason),
    })
  })

  it('takes accounts that keep their methods from the file, and says which it cannot', async () => {
    const declared = {
      ...{ domain: 'acme.example', upstream: 'acme', policy: 'enforce' },
      break_glass: ['a@acme.example', 'B@acme.example', 'c@acme.example'],
    }
    await sync(declared)
    await realms.prove('acme.example')
    expect(await realms.syncBreakGlass([declared])).toEqual([
      'realms.acme.example.break_glass: b@acme.example: the account has no second factor: set one up first',
      'realms.acme.example.break_glass: c@acme.example: there is no such account yet',
    ])
    expect(await realms.closes({ accountId: 'A', email: 'a@acme.example' })).toBe(false)
    expect(await realms.closes({ accountId: 'C', email: 'c@acme.example' })).toBe(true)
    await realms.syncBreakGlass([{ ...declared, break_glass: ['b@acme.example'] }])
    expect((await realms.states())[0]?.breakGlass).toEqual(['B'])
    expect(
      types()
        .filter((type) => type.includes('break_glass'))
        .sort(),
    ).toEqual([...['realm.break_glass_added', 'realm.break_glass_added', 'realm.break_glass_removed']])
    await expect(realms.setBreakGlass('acme.example', 'a@acme.example', true)).rejects.toMatchObject({
      code: 'realm_managed_by_file',
    })
  })
})
