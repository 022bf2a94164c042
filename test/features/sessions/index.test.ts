import { describe, expect, it } from '@jest/globals'
import type { RecordedFact } from '../../../src/events.ts'
import { createSessions, type SessionFeatureDeps } from '../../../src/features/sessions/index.ts'
import type { SessionRepository } from '../../../src/features/sessions/repository.ts'
import type { Tx } from '../../../src/platform/postgres.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')

function build(repository: Partial<SessionRepository> = {}) {
  const log: string[] = []
  const deps: SessionFeatureDeps = {
    repository: repository as SessionRepository,
    transaction: (work) => work({} as Tx),
    outbox: { record: async () => {}, insert: () => ({ sql: '', bindings: [] }), wake: () => {} },
    accounts: { advanceEpoch: async () => {}, publish: async () => {} },
    clients: { backchannelUri: async () => undefined },
    consents: { revoke: async () => false },
    engine: {
      destroySession: async (uid) => void log.push(`session ${uid}`),
      destroyGrant: async (grantId) => void log.push(`grant ${grantId}`),
    },
    clock: { now: () => NOW },
    newId: () => 'id',
    limits: { idleSeconds: 28_800, absoluteSeconds: 2_592_000 },
    warn: () => {},
    deliverLogout: async (clientId, sub, sid) => void log.push(`logout ${clientId} ${sub} ${sid}`),
    retention: { ipDays: 30, offlineGrantSeconds: 86_400 },
  }
  return { feature: createSessions(deps), log }
}

const fact = (more: Partial<RecordedFact>): RecordedFact => ({
  ...{ id: 'f', occurredAt: NOW, type: 'session.ended', accountId: 'ann' },
  ...more,
})

describe('consumers', () => {
  const handler = (name: string) => {
    const { feature, log } = build()
    const found = feature.subscribe?.find(({ consumer }) => consumer === name)
    if (found === undefined) throw new Error(`no consumer ${name}`)
    return { subscription: found, log }
  }

  it('session_effects repeats what a dead process left undone', async () => {
    const { subscription, log } = handler('session_effects')
    await subscription.handle(fact({ type: 'sessions.ended', sealed: { sessions: ['s1', 's2'], grants: ['g1'] } }))
    expect(log).toEqual(['session s1', 'session s2', 'grant g1'])
  })

  it('session_effects takes the ids of facts without a sealed part from their data', async () => {
    const { subscription, log } = handler('session_effects')
    await subscription.handle(fact({ data: { uid: 's1', reason: 'logout' } }))
    await subscription.handle(fact({ type: 'grant.revoked', data: { grantId: 'g1', reason: 'code_reused' } }))
    expect(log).toEqual(['session s1', 'grant g1'])
  })

  it('backchannel_logout hands client, sub and sid to the sender', async () => {
    const { subscription, log } = handler('backchannel_logout')
    expect(subscription.types).toEqual(['logout.requested'])
    await subscription.handle(fact({ type: 'logout.requested', clientId: 'web', data: { sid: 'x', sub: 'ann' } }))
    expect(log).toEqual(['logout web ann x'])
  })
})

describe('the purge', () => {
  it('works in bounded batches and stops when nothing is left', async () => {
    const left = { over: 1200, ended: 700 }
    const batches: string[] = []
    const take = (name: 'over' | 'ended', atMost: number) => {
      const taken = Math.min(left[name], atMost)
      left[name] -= taken
      batches.push(`${name} ${taken}`)
      return taken
    }
    const { feature } = build({
      endOver: async (_, atMost) =>
        Array.from({ length: take('over', atMost) }, (_item, n) => ({ uid: `s${n}`, accountId: 'ann' })),
      cutLinks: async () => [],
      deleteEnded: async (before, _since, atMost) => {
        expect(before).toEqual(new Date('2026-10-02T12:00:00.000Z'))
        return take('ended', atMost)
      },
      forgetAddresses: async (before) => {
        expect(before).toEqual(new Date('2026-10-02T12:00:00.000Z'))
        batches.push('addresses')
      },
    })
    await feature.jobs?.[0]?.run(NOW)
    expect(batches).toEqual(['over 500', 'over 500', 'over 200', 'ended 500', 'ended 200', 'addresses'])
  })
})
