import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { approvalRepository } from '../../../src/features/approvals/repository.ts'
import { type ApprovalDeps, createApprovalService } from '../../../src/features/approvals/service.ts'
import type { Answer, Asked, By } from '../../../src/features/approvals/types.ts'
import type { AccountView, ClientView } from '../../../src/interaction/step.ts'
import { newId, sha256 } from '../../../src/platform/ids.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { accountColumns, testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const LEVELS = ['basic', 'mfa']
const AGREED = { scopes: ['openid', 'email'], claims: [], resources: { 'https://api.example': ['read'] } }

describe.each(['embedded', 'postgres'] as const)('approvals on %s', (kind) => {
  let database: Database
  let now: Date
  let facts: Fact[]
  let answers: Answer[]
  let told: string[]
  let locks: Set<string>
  let isPinged: boolean
  let isClosed: boolean
  let isAllowed: boolean
  let fails: boolean
  const accounts = new Map<string, AccountView>()
  let ids = 0

  beforeAll(async () => {
    database = await freshDatabase(kind)
    for (const id of ['ann', 'ben']) {
      const row = { id, ...accountColumns(id, `${id}@example.com`), state: 'active', created_at: NOW, updated_at: NOW }
      await database.db('accounts').insert(row)
    }
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.db('approvals').delete()
    now = NOW
    ;[facts, answers, told, locks] = [[], [], [], new Set()]
    ;[isPinged, isClosed, isAllowed, fails] = [false, false, true, false]
    for (const id of ['ann', 'ben']) {
      const email = `${id}@example.com`
      accounts.set(id, { accountId: id, email, emailVerified: true, active: true, epoch: 0, factors: [] })
    }
  })

  const build = () => {
    const deps: ApprovalDeps = {
      repository: approvalRepository(database.db, testPersonal),
      transaction: database.transaction,
      outbox: { record: async (recorded) => void facts.push(...recorded), wake: () => {} },
      clock: { now: () => now },
      newId,
      kv: {
        hit: async () => ({ allowed: isAllowed, retryAfter: 1 }) as Awaited<ReturnType<ApprovalDeps['kv']['hit']>>,
        add: async (key) => !locks.has(key) && locks.add(key).has(key),
        delete: async (key) => void locks.delete(key),
      },
      warn: (_error, message) => void told.push(message),
      ...{ issuer: 'https://id.example', locale: 'en' },
      limits: { openPerAccount: 3, requestsPerClient: 6, windowSeconds: 600 },
      notices: { tell: async (event, { email }) => void told.push(`${event} ${email}`) },
      accounts: { view: async (id) => accounts.get(id) },
      isClosed: async () => isClosed,
      atLeast: (acr, least) => LEVELS.indexOf(acr ?? '') >= LEVELS.indexOf(least),
      client: async (clientId) => (clientId === 'gone' ? undefined : ({ clientId, name: 'Till' } as ClientView)),
      permissionsOf: ({ scopes }) => scopes.map((name) => ({ name, isNew: false, resource: '' })),
      linkClient: async () => true,
      answer: async (answer) => {
        if (fails) throw new Error('the store is away')
        answers.push(answer)
        return isPinged
      },
    }
    return createApprovalService(deps)
  }

  const asked = (more: Partial<Asked> = {}): Asked => ({
    ...{ accountId: 'ann', clientId: 'till', clientName: 'Till', authReqId: `request-${++ids}`, agreed: AGREED },
    ...{ bindingMessage: 'W4SCT', acr: 'basic', secondFactor: false, expiresAt: new Date(NOW.getTime() + 300_000) },
    ...more,
  })
  const by = (accountId = 'ann', acr = 'basic'): By => ({
    ...{ accountId, proof: { sessionUid: 's1', acr, amr: ['pwd'], authTime: 1 } },
  })
  const types = () => facts.map(({ type }) => type)
  /** Asks, and gives the id of the row. */
  async function ask(service: ReturnType<typeof build>, more: Partial<Asked> = {}): Promise<string> {
    await service.ask(asked(more))
    return String(facts.findLast(({ type }) => type === 'approval.requested')?.data?.approval)
  }

  it('keep what was asked, sealed, and write to the person', async () => {
    const service = build()
    const id = await ask(service, { authReqId: 'the-bearer-value' })
    const [row] = await database.db('approvals').where({ id })
    expect(row.request_hash).toBe(sha256('the-bearer-value'))
    expect(JSON.stringify(row)).not.toContain('the-bearer-value')
    expect(JSON.stringify(row)).not.toContain('W4SCT')
    expect(await service.find('ann', id)).toMatchObject({
      ...{ authReqId: 'the-bearer-value', bindingMessage: 'W4SCT', agreed: AGREED, askedAt: NOW },
      permissions: [{ name: 'openid' }, { name: 'email' }],
    })
    expect(await service.find('ben', id)).toBeUndefined()
    expect(facts[1]).toMatchObject({
      type: 'mail.requested',
      sealed: { to: 'ann@example.com', values: { url: `https://id.example/account/approvals/${id}` } },
    })
  })

  it.each([
    ['nobody', () => void accounts.delete('ann')],
    ['a disabled account', () => void accounts.set('ann', { ...(accounts.get('ann') as AccountView), active: false })],
    [
      'an unproven address',
      () => void accounts.set('ann', { ...(accounts.get('ann') as AccountView), emailVerified: false }),
    ],
    [
      'an account that its organisation signs in',
      () => {
        isClosed = true
      },
    ],
    [
      'a client that asks too often',
      () => {
        isAllowed = false
      },
    ],
  ])('about %s are as many rows and facts, and a mail to nobody', async (_name, arrange) => {
    const service = build()
    await ask(service)
    const usual = types()
    facts = []
    arrange()
    const id = await ask(service)
    expect(types()).toEqual(usual)
    expect(facts.map(({ accountId }) => accountId)).toEqual([undefined, undefined])
    expect(facts[1]?.sealed).toMatchObject({ to: null })
    expect(await service.list('ann')).toHaveLength(1)
    expect(await service.decide(id, by(), 'granted')).toBe('gone')
  })

  it('are three of an account at once, also when they come together, and expired ones make room', async () => {
    const service = build()
    await Promise.all(Array.from({ length: 5 }, () => service.ask(asked())))
    expect(await service.countOpen('ann')).toBe(3)
    now = new Date(NOW.getTime() + 300_000)
    expect([await service.countOpen('ann'), await service.list('ann')]).toEqual([0, []])
    await service.ask(asked({ expiresAt: new Date(now.getTime() + 1000) }))
    expect(await service.countOpen('ann')).toBe(1)
    expect(await service.purge(now, 100)).toBe(0)
    expect(await service.purge(new Date(now.getTime() + 1), 100)).toBe(5)
  })

  it('are decided by one of many, at two instances, and the engine is told once', async () => {
    const [one, two] = [build(), build()]
    const id = await ask(one)
    facts = []
    const ends = await Promise.all([one, two, one, two].map((service) => service.decide(id, by(), 'granted')))
    expect(ends.filter((end) => end === 'done')).toHaveLength(1)
    expect(types()).toEqual(['approval.granted'])
    expect(answers).toEqual([
      expect.objectContaining({ granted: true, accountId: 'ann', agreed: AGREED, proof: by().proof }),
    ])
    await one.tell(id)
    expect(answers).toHaveLength(1)
  })

  it('of a client that is pinged are followed by the ping, once', async () => {
    isPinged = true
    const service = build()
    const id = await ask(service, { authReqId: 'the-id' })
    facts = []
    await service.decide(id, by(), 'denied')
    await service.tell(id)
    expect(types()).toEqual(['approval.denied', 'ping.requested'])
    expect(facts[1]?.sealed).toEqual({ authReqId: 'the-id' })
    expect(answers).toEqual([{ granted: false, authReqId: 'the-id' }])
  })

  it('reach the engine later when it could not be told, or the process died', async () => {
    const service = build()
    const id = await ask(service)
    fails = true
    expect(await service.decide(id, by(), 'granted')).toBe('done')
    expect([answers, told]).toEqual([[], ['the answer to a client waits']])
    fails = false
    await build().tell(id)
    expect(answers).toHaveLength(1)
  })

  it('are told by one at a time: another waits for its turn', async () => {
    const service = build()
    const id = await ask(service)
    fails = true
    await service.decide(id, by(), 'granted')
    fails = false
    locks.add(`approval_telling:${id}`)
    await expect(service.tell(id)).rejects.toThrow('being told')
    expect(answers).toEqual([])
  })

  it('are refused of another account, too late, at too low a level, and without a second factor that is demanded', async () => {
    const service = build()
    const id = await ask(service, { acr: 'mfa' })
    expect(await service.decide(id, by('ben', 'mfa'), 'granted')).toBe('gone')
    expect(await service.decide('nothing', by(), 'granted')).toBe('gone')
    expect(await service.decide(id, by('ann', 'basic'), 'granted')).toBe('level')
    expect(await service.decide(id, by('ann', 'mfa'), 'granted')).toBe('done')
    const factor = await ask(service, { secondFactor: true })
    expect(await service.decide(factor, by('ann', 'mfa'), 'granted')).toBe('level')
    expect(await service.decide(factor, by('ann', 'basic'), 'denied')).toBe('done')
    const late = await ask(service)
    now = new Date(NOW.getTime() + 300_000)
    expect(await service.decide(late, by(), 'granted')).toBe('gone')
  })

  it('that nobody expected are denied, stated and told', async () => {
    const service = build()
    const id = await ask(service)
    facts = []
    expect(await service.decide(id, by(), 'denied', true)).toBe('done')
    expect(facts).toEqual([
      expect.objectContaining({ type: 'approval.denied', data: { approval: id, unexpected: true } }),
    ])
    expect(told).toEqual(['approval_unexpected ann@example.com'])
  })

  it('of clients that are gone are not listed', async () => {
    const service = build()
    const id = await ask(service, { clientId: 'gone' })
    expect([await service.list('ann'), await service.find('ann', id)]).toEqual([[], undefined])
  })

  it('end with their account', async () => {
    const row = {
      id: 'cid',
      ...accountColumns('cid', 'c@example.com'),
      state: 'active',
      created_at: NOW,
      updated_at: NOW,
    }
    await database.db('accounts').insert(row)
    accounts.set('cid', { ...(accounts.get('ann') as AccountView), accountId: 'cid' })
    await ask(build(), { accountId: 'cid' })
    expect(await database.db('approvals')).toHaveLength(1)
    await database.db('accounts').where({ id: 'cid' }).delete()
    expect(await database.db('approvals')).toHaveLength(0)
  })
})
