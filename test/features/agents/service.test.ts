import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { agentRepository } from '../../../src/features/agents/repository.ts'
import { createAgentService } from '../../../src/features/agents/service.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { accountColumns } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const DAY = 86_400_000
const ago = (days: number) => new Date(NOW.getTime() - days * DAY)

describe.each(['embedded', 'postgres'] as const)('agents on %s', (kind) => {
  let database: Database
  let facts: Fact[]
  let revoked: [string, string, string][]
  let holds: boolean

  beforeAll(async () => {
    database = await freshDatabase(kind)
    for (const id of ['ann', 'ben']) {
      const row = { id, ...accountColumns(id, `${id}@example.com`), state: 'active', created_at: NOW, updated_at: NOW }
      await database.db('accounts').insert(row)
    }
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.db('agent_uses').delete()
    await database.db('agent_delegations').delete()
    facts = []
    revoked = []
    holds = true
  })

  const build = () =>
    createAgentService({
      repository: agentRepository(database.db),
      transaction: database.transaction,
      outbox: { record: async (recorded) => void facts.push(...recorded) },
      revokeClient: async (accountId, clientId, reason) => {
        revoked.push([accountId, clientId, reason])
        return holds
      },
      idleDays: 30,
      clock: { now: () => NOW },
    })

  it('remember the last use, whichever instance writes it last, and of nobody who is gone', async () => {
    const [one, two] = [build(), build()]
    one.used('ann', 'helper', ago(2))
    one.used('ann', 'helper', ago(3))
    one.used('nobody', 'helper', NOW)
    two.used('ann', 'helper', ago(9))
    two.used('ann', 'writer', ago(1))
    await one.flush()
    await two.flush()
    expect([...(await one.lastUses('ann'))].sort()).toEqual([
      ['helper', ago(2)],
      ['writer', ago(1)],
    ])
    expect(await one.lastUses('nobody')).toEqual(new Map())
  })

  it('lose what they did not use for so long, once, with a fact', async () => {
    const [one, two] = [build(), build()]
    one.used('ann', 'helper', ago(31))
    one.used('ann', 'writer', ago(29))
    one.used('ben', 'helper', ago(40))
    await one.flush()
    const counts = await Promise.all([one.lapse(NOW), two.lapse(NOW)])
    expect(counts.reduce((sum, count) => sum + count)).toBe(2)
    expect(revoked.sort()).toEqual([
      ['ann', 'helper', 'unused'],
      ['ben', 'helper', 'unused'],
    ])
    expect(facts.map(({ type, accountId, clientId, data }) => [type, accountId, clientId, data]).sort()).toEqual([
      ['agent.lapsed', 'ann', 'helper', { lastUsedAt: ago(31).toISOString() }],
      ['agent.lapsed', 'ben', 'helper', { lastUsedAt: ago(40).toISOString() }],
    ])
    expect(await one.lapse(NOW)).toBe(0)
    expect(await one.lastUses('ann')).toEqual(new Map([['writer', ago(29)]]))
  })

  it('state nothing about a right that was taken back before', async () => {
    const service = build()
    service.used('ann', 'helper', ago(31))
    await service.flush()
    holds = false
    await service.lapse(NOW)
    expect(facts).toEqual([])
  })

  it('keep a right whose revocation fails, for the next time', async () => {
    const service = createAgentService({
      repository: agentRepository(database.db),
      transaction: database.transaction,
      outbox: { record: async () => {} },
      revokeClient: () => Promise.reject(new Error('away')),
      idleDays: 30,
      clock: { now: () => NOW },
    })
    service.used('ann', 'helper', ago(31))
    await service.flush()
    await expect(service.lapse(NOW)).rejects.toThrow('away')
    expect(await service.lastUses('ann')).toEqual(new Map([['helper', ago(31)]]))
  })

  const fact = { type: 'token.exchanged', accountId: 'ann' } as const
  const through = (agents: readonly string[], more: object = {}) => ({
    ...{ accountId: 'ann', subjectClientId: 'shop', agents, acting: agents, resource: 'api', scopes: ['read'] },
    ...more,
  })
  const helper = { accountId: 'ann', actorClientId: 'helper', subjectClientId: 'shop' }

  it('that act through a service have one row for each resource, whose scopes add up', async () => {
    const service = build()
    const grants = [['write', 'read'], ['read'], ['pay']]
    const all = await Promise.all(grants.map((scopes) => service.delegate(through(['helper'], { scopes }), fact)))
    expect(all).toEqual([true, true, true])
    await service.delegate(through(['helper'], { resource: 'ledger' }), fact)
    const row = { actorClientId: 'helper', subjectClientId: 'shop', firstUsedAt: NOW, lastUsedAt: NOW }
    expect(await service.delegations('ann')).toEqual([
      { ...row, resource: 'api', scopes: ['pay', 'read', 'write'], revokedAt: undefined },
      { ...row, resource: 'ledger', scopes: ['read'], revokedAt: undefined },
    ])
    expect(facts).toHaveLength(4)
    expect(await service.delegations('ben')).toEqual([])
  })

  it('are refused with everybody in their chain, without a fact, once taken back, and only there', async () => {
    const service = build()
    await service.delegate(through(['helper', 'writer']), fact)
    expect(await Promise.all([service.takeBack(helper), service.takeBack(helper)])).toContain(false)
    expect(facts.map(({ type, clientId, data }) => [type, clientId, data])).toEqual([
      ['token.exchanged', undefined, undefined],
      ['delegation.revoked', 'helper', { through: 'shop', resources: ['api'] }],
    ])
    facts = []
    expect(await service.delegate(through(['helper', 'writer'], { resource: 'ledger' }), fact)).toBe(false)
    expect(await service.delegate(through([], { acting: ['orders', 'helper'] }), fact)).toBe(false)
    expect(facts).toEqual([])
    expect(await service.isTakenBack('ann', 'shop', ['writer', 'helper'])).toBe(true)
    expect((await service.delegations('ann')).map(({ resource }) => resource)).toEqual(['api', 'api'])
    for (const [accountId, subjectClientId, actor] of [
      ['ann', 'shop', 'writer'],
      ['ann', 'bank', 'helper'],
      ['ben', 'shop', 'helper'],
    ] as const) {
      expect(await service.isTakenBack(accountId, subjectClientId, [actor])).toBe(false)
      expect(await service.delegate(through([actor], { accountId, subjectClientId }), fact)).toBe(true)
    }
    expect(await service.allowAgain(helper)).toBe(true)
    expect(await service.allowAgain(helper)).toBe(false)
    expect(facts.at(-1)).toMatchObject({ type: 'delegation.allowed', clientId: 'helper', accountId: 'ann' })
    expect(await service.delegate(through(['helper', 'writer'], { resource: 'ledger' }), fact)).toBe(true)
  })

  it('act for nobody who is gone', async () => {
    expect(await build().delegate(through(['helper'], { accountId: 'nobody' }), fact)).toBe(false)
    expect(facts).toEqual([])
  })
})
