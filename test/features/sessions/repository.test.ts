import { AsyncLocalStorage } from 'node:async_hooks'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { sessionRepository } from '../../../src/features/sessions/repository.ts'
import type { OpenSession } from '../../../src/features/sessions/types.ts'
import { createOutbox } from '../../../src/platform/outbox.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { accountColumns, testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const outbox = createOutbox({
  personal: testPersonal,
  secretBox: createSecretBox([Buffer.alloc(32, 1)]),
  clock: { now: () => NOW },
})
const HOUR = 3_600_000
const at = (hours: number) => new Date(NOW.getTime() + hours * HOUR)
/** Runs something as if it came from a request of its own. */
const outside = AsyncLocalStorage.snapshot()
/** Over are sessions made, or last seen, before these instants. */
const overBefore = (made: Date, seen: Date, now = NOW) => ({
  ...{ now, absoluteSeconds: (now.getTime() - made.getTime()) / 1000 },
  ...{ idleSeconds: (now.getTime() - seen.getTime()) / 1000, slackSeconds: 0 },
})
const NEVER = overBefore(new Date(0), new Date(0))

describe.each(['embedded', 'postgres'] as const)('session repository on %s', (kind) => {
  let database: Database
  let sessions: ReturnType<typeof sessionRepository>

  beforeAll(async () => {
    database = await freshDatabase(kind)
    sessions = sessionRepository(database.db, testPersonal)
  })
  afterAll(() => database.close())

  async function account(id: string): Promise<string> {
    const row = { id, ...accountColumns(id, `${id}@example.com`), state: 'active', created_at: NOW, updated_at: NOW }
    await database.db('accounts').insert(row)
    return id
  }

  const opening = (accountId: string, more: Partial<OpenSession> = {}): OpenSession => ({
    accountId,
    proofs: [{ method: 'pwd', accountId, at: NOW.getTime(), epoch: 0 }],
    amr: ['pwd'],
    transient: false,
    ip: '192.0.2.1',
    userAgent: 'Test/1',
    now: NOW,
    ...more,
  })

  const open = (session: OpenSession, freshUid: string, over = NEVER) =>
    database.transaction((tx) => sessions.open(session, freshUid, over, tx))

  const link = (sessionUid: string, accountId: string, clientId: string, grantId: string, offline = false) =>
    sessions.link({ sessionUid, accountId, clientId, grantId, sid: `sid-${grantId}`, offline, scope: 'openid' }, NOW)

  describe('begin', () => {
    const facts = (accountId: string) => outbox.insert([{ type: 'session.started', accountId }])

    it('inserts session and facts in one statement', async () => {
      await account('begin-a')
      const statements: string[] = []
      const listen = (query: { sql: string }) => statements.push(query.sql)
      database.db.on('query', listen)
      await sessions.begin(opening('begin-a', { userAgent: 'x'.repeat(5000) }), 'b1', facts('begin-a'))
      database.db.removeListener('query', listen)
      expect(statements).toHaveLength(1)
      const begun = { accountId: 'begin-a', amr: ['pwd'], transient: false, ip: '192.0.2.1' }
      expect(await sessions.find('b1')).toMatchObject({ ...begun, createdAt: NOW, authenticatedAt: NOW, seenAt: NOW })
      expect((await sessions.find('b1'))?.userAgent).toHaveLength(512)
      expect(await database.db('outbox').where({ account_id: 'begin-a' })).toHaveLength(1)
    })

    it('begins nothing without its facts, and states none without the session', async () => {
      await account('begin-b')
      const first = facts('begin-b')
      await sessions.begin(opening('begin-b'), 'b2', first)
      await expect(sessions.begin(opening('begin-b'), 'b3', first)).rejects.toThrow()
      expect(await sessions.find('b3')).toBeUndefined()
      await expect(sessions.begin(opening('begin-b'), 'b2', facts('begin-b'))).rejects.toThrow()
      expect(await database.db('outbox').where({ account_id: 'begin-b' })).toHaveLength(1)
    })
  })

  describe('open', () => {
    it('inserts a row and renews it for the same account', async () => {
      await account('open-a')
      expect(await open(opening('open-a'), 'o1')).toEqual({ uid: 'o1', renewed: false })
      const again = opening('open-a', { uid: 'o1', amr: ['pwd', 'otp'], now: at(1), ip: undefined })
      expect(await open(again, 'o2')).toEqual({ uid: 'o1', renewed: true })
      const session = await sessions.find('o1')
      expect(session).toMatchObject({ amr: ['pwd', 'otp'], createdAt: NOW, authenticatedAt: at(1), seenAt: at(1) })
      expect(session?.ip).toBeUndefined()
      expect(await sessions.find('o2')).toBeUndefined()
    })

    it('never renews the row of another account', async () => {
      await account('open-b')
      await account('open-c')
      await open(opening('open-b'), 'o3')
      expect(await open(opening('open-c', { uid: 'o3' }), 'o4')).toEqual({ uid: 'o4', renewed: false })
      expect((await sessions.find('o3'))?.accountId).toBe('open-b')
    })

    it('never revives a row that has ended or is beyond the absolute limit', async () => {
      await account('open-d')
      await open(opening('open-d'), 'o5')
      await database.transaction((tx) => sessions.end('o5', 'logout', NOW, tx))
      expect((await open(opening('open-d', { uid: 'o5' }), 'o6')).uid).toBe('o6')
      const over = overBefore(at(1), new Date(0))
      expect((await open(opening('open-d', { uid: 'o6', now: at(2) }), 'o7', over)).uid).toBe('o7')
    })

    it('cuts an overlong user agent', async () => {
      await account('open-e')
      await open(opening('open-e', { userAgent: 'x'.repeat(5000) }), 'o8')
      expect((await sessions.find('o8'))?.userAgent).toHaveLength(512)
    })
  })

  describe('link', () => {
    it('is idempotent, and grows to offline but not back', async () => {
      await account('link-a')
      await open(opening('link-a'), 'l1')
      expect(await link('l1', 'link-a', 'web', 'g1')).toBe(true)
      expect(await link('l1', 'link-a', 'web', 'g1', true)).toBe(true)
      expect(await link('l1', 'link-a', 'web', 'g1')).toBe(true)
      expect(await sessions.listConnected('link-a')).toEqual([
        { clientId: 'web', offline: true, since: NOW, scopes: ['openid'] },
      ])
    })

    it('is refused for an ended session, a foreign account and an unknown session', async () => {
      await account('link-b')
      await open(opening('link-b'), 'l2')
      expect(await link('l2', 'link-a', 'web', 'g2')).toBe(false)
      expect(await link('nobody', 'link-b', 'web', 'g2')).toBe(false)
      await database.transaction((tx) => sessions.end('l2', 'logout', NOW, tx))
      expect(await link('l2', 'link-b', 'web', 'g2')).toBe(false)
      expect(await sessions.listConnected('link-b')).toEqual([])
    })

    it('does not revive a revoked grant', async () => {
      await account('link-c')
      await open(opening('link-c'), 'l3')
      await link('l3', 'link-c', 'web', 'g3')
      await database.transaction((tx) => sessions.cutLinks({ grantId: 'g3' }, false, NOW, tx))
      await link('l3', 'link-c', 'web', 'g3', true)
      expect(await sessions.listConnected('link-c')).toEqual([])
    })
  })

  it('touch writes only when the last note is old enough', async () => {
    await account('touch-a')
    await open(opening('touch-a'), 't1')
    await sessions.touch('t1', at(1), NOW)
    expect((await sessions.find('t1'))?.seenAt).toEqual(NOW)
    await sessions.touch('t1', at(1), at(0.5))
    expect((await sessions.find('t1'))?.seenAt).toEqual(at(1))
  })

  it('lists live sessions only, the latest seen first', async () => {
    await account('list-a')
    await open(opening('list-a'), 's1')
    await open(opening('list-a', { now: at(2) }), 's2')
    await open(opening('list-a', { now: at(-9) }), 's3')
    await open(opening('list-a'), 's4')
    await database.transaction((tx) => sessions.end('s4', 'logout', NOW, tx))
    const over = overBefore(new Date(0), at(-8))
    await link('s1', 'list-a', 'web', 'g-list')
    await link('s1', 'list-a', 'shop', 'g-list-2')
    const listed = await sessions.listLive('list-a', over)
    expect(listed.map(({ uid }) => uid)).toEqual(['s2', 's1'])
    expect(listed.map(({ methods }) => methods)).toEqual([['pwd'], ['pwd']])
    expect(listed.map(({ clientIds }) => [...clientIds].sort())).toEqual([[], ['shop', 'web']])
  })

  describe('ending', () => {
    it('ends once', async () => {
      await account('end-a')
      await open(opening('end-a'), 'e1')
      const end = () => database.transaction((tx) => sessions.end('e1', 'logout', NOW, tx))
      expect(await end()).toEqual({ uid: 'e1', accountId: 'end-a' })
      expect(await end()).toBeUndefined()
    })

    it('ends all but one, and only of this account', async () => {
      await account('end-b')
      await account('end-c')
      for (const uid of ['e2', 'e3', 'e4']) await open(opening('end-b'), uid)
      await open(opening('end-c'), 'e5')
      const ended = await database.transaction((tx) => sessions.endAll('end-b', 'e3', 'ended_by_account', NOW, tx))
      expect(ended.map(({ uid }) => uid).sort()).toEqual(['e2', 'e4'])
      expect((await sessions.find('e3'))?.endedAt).toBeUndefined()
      expect((await sessions.find('e5'))?.endedAt).toBeUndefined()
    })

    it('a plain logout spares offline grants, everything else takes them too', async () => {
      await account('end-d')
      await open(opening('end-d'), 'e6')
      await link('e6', 'end-d', 'web', 'online')
      await link('e6', 'end-d', 'spa', 'offline', true)
      const cut = (keep: boolean) =>
        database.transaction((tx) => sessions.cutLinks({ sessionUids: ['e6'] }, keep, NOW, tx))
      const first = await cut(true)
      expect(Object.fromEntries(first.map(({ grantId, revoked }) => [grantId, revoked]))).toEqual({
        online: true,
        offline: false,
      })
      expect((await cut(false)).map(({ grantId }) => grantId)).toEqual(['offline'])
      expect(await cut(false)).toEqual([])
    })

    it('cuts by account with an exception, and by client', async () => {
      await account('end-e')
      await open(opening('end-e'), 'e7')
      await open(opening('end-e'), 'e8')
      await link('e7', 'end-e', 'web', 'g7')
      await link('e8', 'end-e', 'web', 'g8')
      await link('e8', 'end-e', 'spa', 'g9')
      const cut = (selector: Parameters<typeof sessions.cutLinks>[0]) =>
        database.transaction((tx) => sessions.cutLinks(selector, false, NOW, tx))
      expect((await cut({ accountId: 'end-e', clientId: 'spa' })).map(({ grantId }) => grantId)).toEqual(['g9'])
      expect((await cut({ accountId: 'end-e', exceptUid: 'e7' })).map(({ grantId }) => grantId)).toEqual(['g8'])
      expect((await sessions.listConnected('end-e')).map(({ clientId }) => clientId)).toEqual(['web'])
    })
  })

  describe('the purge', () => {
    it('ends what is over by age or silence, at the most so many', async () => {
      await account('purge-a')
      await open(opening('purge-a', { now: at(-800) }), 'p1')
      await sessions.touch('p1', NOW, at(1))
      await open(opening('purge-a', { now: at(-10) }), 'p2')
      await open(opening('purge-a'), 'p3')
      const over = overBefore(at(-720), at(-9))
      const run = (atMost: number) => database.transaction((tx) => sessions.endOver(over, atMost, NOW, tx))
      expect(await run(1)).toHaveLength(1)
      await run(100)
      const ended = await Promise.all(['p1', 'p2', 'p3'].map(async (uid) => (await sessions.find(uid))?.endedAt))
      expect(ended).toEqual([NOW, NOW, undefined])
    })

    it('ends earlier what began under a brand with limits of its own, and lists it no more', async () => {
      await account('purge-own')
      const began = (more: object) => opening('purge-own', { now: at(-3), limits: more })
      await open(began({ idleSeconds: 7200 }), 'own-idle')
      await open(began({ absoluteSeconds: 7200 }), 'own-absolute')
      await open(began({ idleSeconds: 14_400, absoluteSeconds: 14_400 }), 'own-longer')
      await sessions.begin(began({ idleSeconds: 60 }), 'own-begun', { sql: 'select 1', bindings: [] })
      const over = overBefore(at(-720), at(-9))
      expect((await sessions.listLive('purge-own', over)).map(({ uid }) => uid)).toEqual(['own-longer'])
      const ended = await database.transaction((tx) => sessions.endOver(over, 100, NOW, tx))
      expect(ended.map(({ uid }) => uid).sort()).toEqual(['own-absolute', 'own-begun', 'own-idle'])
      expect((await sessions.find('own-longer'))?.limits).toEqual({ idleSeconds: 14_400, absoluteSeconds: 14_400 })
    })

    it('a session that is over by the limits of its brand is not revived', async () => {
      await account('own-open')
      await open(opening('own-open', { limits: { absoluteSeconds: 60 } }), 'own1')
      const again = opening('own-open', { uid: 'own1', now: at(1) })
      expect((await open(again, 'own2', overBefore(at(-720), at(-9), at(1)))).uid).toBe('own2')
    })

    it('deletes old ended rows but keeps those that carry a living offline grant', async () => {
      await account('purge-b')
      for (const uid of ['d1', 'd2', 'd3']) await open(opening('purge-b'), uid)
      await link('d2', 'purge-b', 'spa', 'kept', true)
      for (const uid of ['d1', 'd2']) {
        await database.transaction((tx) => sessions.end(uid, 'logout', at(-800), tx))
      }
      await sessions.deleteEnded(at(-720), at(-24), 100)
      expect(await sessions.find('d1')).toBeUndefined()
      expect(await sessions.find('d2')).toBeDefined()
      expect(await sessions.find('d3')).toBeDefined()
      await sessions.deleteEnded(at(-720), at(1), 100)
      expect(await sessions.find('d2')).toBeUndefined()
    })

    it('forgets old addresses', async () => {
      await account('purge-c')
      await open(opening('purge-c'), 'f1')
      await open(opening('purge-c', { now: at(5) }), 'f2')
      await sessions.forgetAddresses(at(1), 100)
      expect((await sessions.find('f1'))?.ip).toBeUndefined()
      expect((await sessions.find('f2'))?.ip).toBe('192.0.2.1')
    })
  })
})

describe('a grant that is linked while "end everything" runs', () => {
  let database: Database
  let sessions: ReturnType<typeof sessionRepository>
  beforeAll(async () => {
    database = await freshDatabase('postgres')
    sessions = sessionRepository(database.db, testPersonal)
    const sealed = accountColumns('race', 'race@example.com')
    const row = { id: 'race', ...sealed, state: 'active', created_at: NOW, updated_at: NOW }
    await database.db('accounts').insert(row)
  })
  afterAll(() => database.close())

  const linkOf = (uid: string) => ({
    ...{ sessionUid: uid, accountId: 'race', clientId: 'web', grantId: uid, sid: uid, offline: true, scope: '' },
  })
  const open = (uid: string) => {
    const session = { accountId: 'race', proofs: [], amr: ['pwd'], transient: false, now: NOW }
    return database.transaction((tx) => sessions.open(session, uid, NEVER, tx))
  }
  const pause = () => new Promise((resolve) => setTimeout(resolve, 100))
  const endEverything = (between = async () => {}) =>
    database.transaction(async (tx) => {
      await sessions.endAll('race', undefined, 'password_recovered', NOW, tx)
      const cut = await sessions.cutLinks({ accountId: 'race' }, false, NOW, tx)
      await between()
      return cut
    })

  it('is refused when the end is first', async () => {
    await open('r1')
    let linking: Promise<boolean> | undefined
    await endEverything(async () => {
      // From outside the transaction's async scope, as another request would.
      linking = outside(() => sessions.link(linkOf('r1'), NOW))
      await pause()
    })
    expect(await linking).toBe(false)
    expect(await sessions.listConnected('race')).toEqual([])
  })

  it('is cut when it is first', async () => {
    await open('r2')
    let ending: ReturnType<typeof endEverything> | undefined
    const linked = await database.transaction(async (tx) => {
      const result = await sessions.link(linkOf('r2'), NOW, tx)
      ending = outside(() => endEverything())
      await pause()
      return result
    })
    expect(linked).toBe(true)
    expect(await ending).toHaveLength(1)
    expect(await sessions.listConnected('race')).toEqual([])
  })
})
