import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { sessionRepository } from '../../../src/features/sessions/repository.ts'
import { upstreamLogoutRepository } from '../../../src/features/upstream_logout/repository.ts'
import type { Proof } from '../../../src/interaction/step.ts'
import type { Database, Tx } from '../../../src/platform/postgres.ts'
import { accountColumns, testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)

describe.each(['embedded', 'postgres'] as const)('upstream logouts on %s', (kind) => {
  let database: Database
  let logouts: ReturnType<typeof upstreamLogoutRepository>
  let sessions: ReturnType<typeof sessionRepository>

  beforeAll(async () => {
    database = await freshDatabase(kind)
    logouts = upstreamLogoutRepository(database.db)
    sessions = sessionRepository(database.db, testPersonal)
    for (const id of ['ann', 'ben']) {
      const row = { id, ...accountColumns(id, `${id}@example.com`), state: 'active', created_at: NOW, updated_at: NOW }
      await database.db('accounts').insert(row)
    }
  })
  afterAll(() => database.close())

  const inTransaction = <T>(work: (tx: Tx) => Promise<T>) => database.transaction(work)
  const take = (id: string, expiresAt = later(60)) => inTransaction((tx) => logouts.take(id, expiresAt, tx))

  it('a token is taken once, of many at once by one', async () => {
    const taken = await Promise.all(Array.from({ length: 10 }, () => take('one')))
    expect(taken.filter(Boolean)).toHaveLength(1)
    expect(await take('one')).toBe(false)
    expect(await take('two')).toBe(true)
  })

  it('what failed has taken nothing', async () => {
    const failing = inTransaction(async (tx) => {
      expect(await logouts.take('failed', later(60), tx)).toBe(true)
      throw new Error('the store went away')
    })
    await expect(failing).rejects.toThrow('the store went away')
    expect(await take('failed')).toBe(true)
  })

  it('what is over is forgotten, some in one go', async () => {
    for (const id of ['old-1', 'old-2', 'old-3']) await take(id, later(-1))
    await take('young', later(1))
    expect(await logouts.deleteExpired(NOW, 2)).toBe(2)
    expect(await logouts.deleteExpired(NOW, 2)).toBe(1)
    expect(await logouts.deleteExpired(NOW, 2)).toBe(0)
    expect(await take('young')).toBe(false)
  })

  describe('sessions by a provider', () => {
    const password = (accountId: string): Proof => ({ method: 'pwd', accountId, at: NOW.getTime(), epoch: 0 })
    const by = (accountId: string, upstream: string, session?: string): Proof => ({
      ...{ method: 'upstream', accountId, at: NOW.getTime(), epoch: 0 },
      by: { upstream, session },
    })
    const open = (uid: string, proofs: readonly Proof[]) =>
      inTransaction((tx) =>
        sessions.open(
          { accountId: proofs[0]?.accountId ?? '', proofs, amr: [], transient: false, now: NOW },
          uid,
          { now: NOW, absoluteSeconds: 3600, idleSeconds: 3600, slackSeconds: 0 },
          tx,
        ),
      )
    const listed = async (upstream: string, of: Parameters<typeof sessions.listUpstream>[1]) =>
      (await inTransaction((tx) => sessions.listUpstream(upstream, of, tx))).map(({ uid }) => uid)

    beforeAll(async () => {
      await open('a1', [by('ann', 'acme', 'hash-1')])
      await open('a2', [password('ann'), by('ann', 'acme', 'hash-2')])
      await open('a3', [by('ann', 'acme')])
      await open('a4', [password('ann')])
      await open('a5', [by('ann', 'other', 'hash-1')])
      await open('a6', [by('ann', 'acme', 'hash-1')])
      await open('b1', [by('ben', 'acme', 'hash-3')])
      await inTransaction((tx) => sessions.end('a6', 'logout', NOW, tx))
    })

    it('are found by the session there, and by the account, while they live', async () => {
      expect(await listed('acme', { session: 'hash-1' })).toEqual(['a1'])
      expect(await listed('acme', { session: 'hash-2' })).toEqual(['a2'])
      expect(await listed('other', { session: 'hash-1' })).toEqual(['a5'])
      expect(await listed('acme', { session: 'hash' })).toEqual([])
      expect(await listed('acme', { accountId: 'ann' })).toEqual(['a1', 'a2', 'a3'])
      expect(await listed('acme', { accountId: 'ben' })).toEqual(['b1'])
      expect(await listed('ACME', { accountId: 'ben' })).toEqual([])
    })

    it('by an index, in which no other session has an entry', async () => {
      const statements: { sql: string; bindings: readonly unknown[] }[] = []
      const listen = (query: { sql: string; bindings: readonly unknown[] }) => statements.push(query)
      database.db.on('query', listen)
      await listed('acme', { session: 'hash-1' })
      database.db.removeListener('query', listen)
      const { sql = '', bindings = [] } = statements.find(({ sql }) => sql.includes('from sessions')) ?? {}
      const plan = await inTransaction(async (tx) => {
        await tx.raw('set local enable_seqscan = off')
        return tx.raw(`explain ${sql.replace(/\$\d/g, '?')}`, [...bindings] as string[])
      })
      expect(JSON.stringify(plan.rows)).toContain('sessions_upstream')
      const { rows } = await database.db.raw(`select indexdef from pg_indexes where indexname = 'sessions_upstream'`)
      expect(rows[0].indexdef).toContain('ended_at IS NULL')
    })
  })
})
