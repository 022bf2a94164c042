import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import type { SessionRepository } from '../../../src/features/sessions/repository.ts'
import { createSessionService, type SessionDeps } from '../../../src/features/sessions/service.ts'
import {
  type CutLink,
  deviceOf,
  END_REASONS,
  type EndReason,
  type LinkSelector,
  type Session,
} from '../../../src/features/sessions/types.ts'
import type { Tx } from '../../../src/platform/postgres.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const TX = {} as Tx
const LIMITS = { idleSeconds: 28_800, absoluteSeconds: 2_592_000 }

const linkOf = (grantId: string, more: Partial<CutLink> = {}): CutLink => ({
  ...{ accountId: 'ann', clientId: 'web', sid: `sid-${grantId}`, grantId, sessionUid: 's1', revoked: true },
  ...more,
})

const sessionOf = (more: Partial<Session> = {}): Session => ({
  ...{ uid: 's1', accountId: 'ann', amr: ['pwd'], transient: false },
  ...{ createdAt: NOW, authenticatedAt: NOW, seenAt: NOW },
  ...more,
})

describe('sessions', () => {
  let log: string[]
  let facts: Fact[]
  let links: CutLink[]
  let live: Session | undefined
  let calls: { selector: LinkSelector; keepsOffline: boolean }[]
  let failing: boolean

  beforeEach(() => {
    log = []
    facts = []
    links = []
    live = sessionOf()
    calls = []
    failing = false
  })

  function service() {
    const repository: Partial<SessionRepository> = {
      begin: async () => {},
      open: async (session, freshUid) => ({ uid: session.uid ?? freshUid, renewed: session.uid !== undefined }),
      find: async () => live,
      end: async (uid) => (live === undefined ? undefined : { uid, accountId: live.accountId }),
      endAll: async () => [{ uid: 's1', accountId: 'ann' }],
      endOver: async () => [
        { uid: 's1', accountId: 'ann' },
        { uid: 's2', accountId: 'bob' },
      ],
      cutLinks: async (selector, keepsOffline) => {
        calls.push({ selector, keepsOffline })
        return links
      },
    }
    const deps: SessionDeps = {
      repository: repository as SessionRepository,
      transaction: async (work) => {
        log.push('begin')
        const result = await work(TX)
        log.push('commit')
        return result
      },
      outbox: {
        record: async (recorded, tx) => {
          expect(tx).toBe(TX)
          facts.push(...recorded)
        },
        insert: (stated) => {
          facts.push(...stated)
          return { sql: '', bindings: [] }
        },
        wake: () => log.push('wake'),
      },
      accounts: {
        advanceEpoch: async (accountId, reason) => log.push(`epoch ${accountId} ${reason}`),
        publish: async (accountId) => void log.push(`publish ${accountId}`),
      },
      clients: { backchannelUri: async (clientId) => (clientId === 'web' ? 'https://web.example/logout' : undefined) },
      consents: { revoke: async (_, clientId) => clientId === 'web' },
      engine: {
        destroySession: async (uid) => {
          if (failing) throw new Error('store away')
          log.push(`session ${uid}`)
        },
        destroyGrant: async (grantId) => {
          log.push(`grant ${grantId}`)
        },
      },
      clock: { now: () => NOW },
      newId: () => 'fresh',
      limits: LIMITS,
      warn: (error, message) => log.push(`warn ${(error as Error).message}: ${message}`),
    }
    return createSessionService(deps)
  }

  const types = () => facts.map(({ type }) => type)

  it('opening states that a session started, or was renewed', async () => {
    const opening = { accountId: 'ann', proofs: [], amr: ['pwd'], transient: true, now: NOW }
    expect(await service().open(opening)).toBe('fresh')
    expect(await service().open({ ...opening, uid: 's1' })).toBe('s1')
    expect(facts).toEqual([
      { type: 'session.started', accountId: 'ann', data: { uid: 'fresh', amr: ['pwd'], transient: true } },
      { type: 'session.reauthenticated', accountId: 'ann', data: { uid: 's1', amr: ['pwd'], transient: true } },
    ])
  })

  describe('alive', () => {
    const silent = new Date(NOW.getTime() - (LIMITS.idleSeconds + 301) * 1000)
    const old = new Date(NOW.getTime() - (LIMITS.absoluteSeconds + 1) * 1000)
    it.each([
      ['a fresh session', {}, true],
      ['an ended one', { endedAt: NOW }, false],
      ['one silent beyond the idle limit', { seenAt: silent }, false],
      ['one older than the absolute limit, though in use', { createdAt: old }, false],
    ])('%s', async (_, more, alive) => {
      live = sessionOf(more)
      expect((await service().findLive('s1')) !== undefined).toBe(alive)
    })
  })

  describe('end', () => {
    it('states first, then changes the OIDC state', async () => {
      links = [linkOf('g1')]
      await service().end('s1', 'ended_by_account')
      expect(log).toEqual(['begin', 'commit', 'wake', 'session s1', 'grant g1'])
      expect(facts).toEqual([
        {
          type: 'session.ended',
          accountId: 'ann',
          data: { uid: 's1', reason: 'ended_by_account' },
          sealed: { sessions: ['s1'], grants: ['g1'] },
        },
        { type: 'logout.requested', accountId: 'ann', clientId: 'web', data: { sid: 'sid-g1', sub: 'ann' } },
      ])
    })

    it('a surviving offline grant is told of the logout but not destroyed', async () => {
      links = [linkOf('g1', { revoked: false })]
      await service().end('s1', 'logout')
      expect(log).not.toContain('grant g1')
      expect(types()).toEqual(['session.ended', 'logout.requested'])
      expect(calls).toEqual([{ selector: { sessionUids: ['s1'] }, keepsOffline: true }])
    })

    it('tells only clients that can be told, each sid once', async () => {
      links = [linkOf('g1'), linkOf('g2', { sid: 'sid-g1' }), linkOf('g3', { clientId: 'spa' })]
      await service().end('s1', 'logout')
      expect(types()).toEqual(['session.ended', 'logout.requested'])
    })

    it('changes nothing when the session is not live', async () => {
      live = undefined
      await service().end('s1', 'logout')
      expect(facts).toEqual([])
      expect(calls).toEqual([])
    })

    it('inside a transaction of the caller nothing but SQL changes until the caller says that it is committed', async () => {
      links = [linkOf('g1')]
      const after = await service().end('s1', 'account_switched', TX)
      expect(log).toEqual([])
      await after()
      expect(log).toEqual(['wake', 'session s1', 'grant g1'])
    })

    it('a store that is away after the commit fails nothing: the fact repeats it', async () => {
      failing = true
      links = [linkOf('g1')]
      await service().end('s1', 'ended_by_account')
      expect(log).toContain('grant g1')
      expect(log.some((line) => line.startsWith('warn store away'))).toBe(true)
      expect(facts[0]?.sealed).toEqual({ sessions: ['s1'], grants: ['g1'] })
    })
  })

  describe('A54: securing an account leaves nothing of the others', () => {
    it('everything: the epoch advances in the same transaction', async () => {
      links = [linkOf('g1'), linkOf('g2', { sessionUid: 'long-ended' })]
      await service().endAll('ann', 'password_recovered')
      expect(log).toEqual([
        'begin',
        'epoch ann password_recovered',
        'commit',
        'wake',
        'publish ann',
        'session s1',
        'grant g1',
        'grant g2',
      ])
      expect(calls).toEqual([{ selector: { accountId: 'ann', exceptUid: undefined }, keepsOffline: false }])
      expect(facts[0]).toMatchObject({ type: 'sessions.ended', data: { reason: 'password_recovered', count: 1 } })
    })

    it('all others: this session and its grants live on, so the epoch stands', async () => {
      await service().endAll('ann', 'password_changed', { exceptUid: 'here' })
      expect(calls[0]?.selector).toEqual({ accountId: 'ann', exceptUid: 'here' })
      expect(log.some((line) => line.startsWith('epoch'))).toBe(false)
      expect(facts[0]?.data).toEqual({ reason: 'password_changed', count: 1, exceptUid: 'here' })
    })

    const plain = ['logout', 'account_switched', 'upstream_logout', 'expired']
    const securing = Object.keys(END_REASONS).filter((reason) => !plain.includes(reason))
    it.each(securing)('%s takes offline grants too and tells the clients', (reason) => {
      expect(END_REASONS[reason as EndReason]).toEqual({ keepsOffline: false, notifies: true })
    })
  })

  describe('A73: revoking a client kills its tokens at once', () => {
    it('takes the consent and every grant, and tells the client', async () => {
      links = [linkOf('g1'), linkOf('g2', { sid: 'other' })]
      expect(await service().revokeClient('ann', 'web')).toBe(true)
      expect(types()).toEqual([
        'consent.revoked',
        'grant.revoked',
        'grant.revoked',
        'logout.requested',
        'logout.requested',
      ])
      expect(log).toEqual(['begin', 'commit', 'wake', 'grant g1', 'grant g2'])
    })

    it('tells when there was nothing to revoke', async () => {
      expect(await service().revokeClient('ann', 'unknown')).toBe(false)
      expect(facts).toEqual([])
    })
  })

  it('revokes one grant with its reason', async () => {
    links = [linkOf('g1')]
    await service().revokeGrant('g1', 'refresh_token_reused')
    expect(facts).toEqual([
      {
        type: 'grant.revoked',
        accountId: 'ann',
        clientId: 'web',
        data: { grantId: 'g1', reason: 'refresh_token_reused' },
      },
    ])
    expect(log).toContain('grant g1')
  })

  it('sessions that grew old end quietly: a fact each, no logout at the clients', async () => {
    links = [linkOf('g1'), linkOf('g2', { sessionUid: 's2', accountId: 'bob' })]
    expect(await service().endOver(NOW, 10)).toBe(2)
    expect(facts.map(({ type, sealed }) => ({ type, sealed }))).toEqual([
      { type: 'session.ended', sealed: { sessions: ['s1'], grants: ['g1'] } },
      { type: 'session.ended', sealed: { sessions: ['s2'], grants: ['g2'] } },
    ])
  })
})

describe('the device in words', () => {
  const windows =
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36'
  const phone =
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1'
  it.each([
    [windows, { browser: 'Chrome', system: 'Windows', kind: 'desktop' }],
    [phone, { browser: 'Safari', system: 'iOS', kind: 'mobile' }],
    ['curl/8', { browser: '', system: '', kind: 'unknown' }],
    ['', { browser: '', system: '', kind: 'unknown' }],
    [undefined, { browser: '', system: '', kind: 'unknown' }],
  ])('%s', (userAgent, device) => {
    expect(deviceOf(userAgent)).toEqual(device)
  })
})
