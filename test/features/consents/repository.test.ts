import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { consentRepository } from '../../../src/features/consents/repository.ts'
import type { Agreement } from '../../../src/features/consents/types.ts'
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
const LATER = new Date('2026-11-02T12:00:00.000Z')

describe.each(['embedded', 'postgres'] as const)('consent repository on %s', (kind) => {
  let database: Database
  let consents: ReturnType<typeof consentRepository>
  let ids = 0

  beforeAll(async () => {
    database = await freshDatabase(kind)
    consents = consentRepository(database.db, testPersonal)
    const rows = ['a', 'b', 'c', 'd'].map((id) => ({
      id,
      ...accountColumns(id, `${id}@example.com`),
      state: 'active',
      created_at: NOW,
      updated_at: NOW,
    }))
    await database.db('accounts').insert(rows)
  })
  afterAll(() => database.close())

  const grant = (accountId: string, clientId: string, added: Partial<Agreement>, now = NOW) =>
    consents.grant(
      ...([`id-${ids++}`, accountId, clientId] as const),
      { scopes: [], claims: [], resources: {}, ...added },
      now,
      outbox.insert([{ type: 'consent.granted', accountId, clientId }]),
    )

  it('adds up scopes, claims and resource scopes', async () => {
    await grant('a', 'web', { scopes: ['openid', 'email'], claims: ['nickname'], resources: { api: ['read'] } })
    const both = await grant(
      'a',
      'web',
      { scopes: ['email', 'profile'], claims: ['birthdate'], resources: { api: ['write', 'read'], other: ['x'] } },
      LATER,
    )
    expect(both).toEqual({
      accountId: 'a',
      clientId: 'web',
      scopes: ['email', 'openid', 'profile'],
      claims: ['birthdate', 'nickname'],
      resources: { api: ['read', 'write'], other: ['x'] },
      grantedAt: NOW,
      updatedAt: LATER,
    })
    expect(await consents.find('a', 'web')).toEqual(both)
  })

  it('states its fact in the same statement, and is not stored without it', async () => {
    const statements: string[] = []
    const listen = (query: { sql: string }) => statements.push(query.sql)
    database.db.on('query', listen)
    await grant('a', 'stated', { scopes: ['openid'] })
    database.db.removeListener('query', listen)
    expect(statements).toHaveLength(1)
    const stated = database.db('outbox').where({ type: 'consent.granted', client_id: 'stated' })
    expect(await stated.clone()).toHaveLength(1)
    const { id } = await stated.clone().first()
    const again = outbox.insert([{ type: 'consent.granted', accountId: 'a', clientId: 'refused' }])
    const taken = { ...again, bindings: again.bindings.with(0, id) }
    const empty = { scopes: [], claims: [], resources: {} }
    await expect(consents.grant('id-refused', 'a', 'refused', empty, NOW, taken)).rejects.toThrow()
    expect(await consents.find('a', 'refused')).toBeUndefined()
  })

  it('an empty consent stays empty', async () => {
    await grant('a', 'empty', {})
    expect(await grant('a', 'empty', {})).toMatchObject({ scopes: [], claims: [], resources: {} })
  })

  it('parallel answers from two tabs are both kept', async () => {
    await Promise.all(['one', 'two', 'three', 'four'].map((scope) => grant('b', 'web', { scopes: [scope] })))
    expect((await consents.find('b', 'web'))?.scopes).toEqual(['four', 'one', 'three', 'two'])
  })

  it('a revoked consent is gone and a new one starts from nothing', async () => {
    await grant('c', 'web', { scopes: ['openid', 'email'] })
    const revoke = () => database.transaction((tx) => consents.revoke('c', 'web', LATER, tx))
    expect(await revoke()).toBe(true)
    expect(await revoke()).toBe(false)
    expect(await consents.find('c', 'web')).toBeUndefined()
    expect((await grant('c', 'web', { scopes: ['openid'] }, LATER)).scopes).toEqual(['openid'])
    expect(await consents.find('d', 'web')).toBeUndefined()
  })

  it('keeps details sealed, with their fact, until they are over or taken back', async () => {
    const FAR = new Date('2026-12-01T12:00:00.000Z')
    const detail = (id: string, expiresAt?: Date) => ({
      ...{ id, type: 'pay', digest: `digest-${id}`, detail: { type: 'pay', amount: '1' }, text: 'Pay 1 to Ann' },
      ...{ locale: 'en', expiresAt },
    })
    const live = (accountId: string, now: Date, digests = ['digest-x', 'digest-y']) =>
      consents.liveDetails({ accountId, clientId: 'pay', digests }, now)
    const statements: string[] = []
    const listen = (query: { sql: string }) => statements.push(query.sql)
    const added = { scopes: ['openid'], claims: [], resources: {}, details: [detail('x'), detail('y', LATER)] }
    database.db.on('query', listen)
    const facts = outbox.insert([{ type: 'consent.granted', accountId: 'a', clientId: 'pay' }])
    await consents.grant('id-pay', 'a', 'pay', added, NOW, facts)
    database.db.removeListener('query', listen)
    expect(statements).toHaveLength(1)
    await consents.bindDetails(['x', 'y'], 'grant-1')
    const rows = await database.db('consent_details').where({ client_id: 'pay' })
    expect(JSON.stringify(rows)).not.toContain('Ann')
    const both = [
      { digest: 'digest-x', expiresAt: undefined },
      { digest: 'digest-y', expiresAt: LATER },
    ]
    expect(await live('a', NOW)).toEqual(expect.arrayContaining(both))
    expect(await live('a', LATER)).toEqual([both[0]])
    expect(await live('b', NOW)).toEqual([])
    expect(await live('a', NOW, ['digest-z'])).toEqual([])
    expect(await consents.listDetails('a', NOW)).toEqual([
      { ...detail('x'), clientId: 'pay', grantId: 'grant-1', grantedAt: NOW, revokedAt: undefined },
      { ...detail('y', LATER), clientId: 'pay', grantId: 'grant-1', grantedAt: NOW, revokedAt: undefined },
    ])
    await database.transaction((tx) => consents.revoke('a', 'pay', FAR, tx))
    expect(await live('a', NOW)).toEqual([])
    expect(await database.db('consent_details').where({ client_id: 'pay', revoked_at: FAR })).toHaveLength(2)
    const again = outbox.insert([{ type: 'consent.granted', accountId: 'a', clientId: 'pay' }])
    await consents.grant('id-pay-2', 'a', 'pay', { ...added, details: [detail('z')] }, NOW, again)
    await database.transaction((tx) => consents.revokeAll('pay', FAR, tx))
    expect(await consents.listDetails('a', NOW)).toEqual([])
  })

  it('lists the live consents of one account', async () => {
    await grant('d', 'web', { scopes: ['openid'] })
    await grant('d', 'spa', { scopes: ['openid'] })
    await database.transaction((tx) => consents.revoke('d', 'web', LATER, tx))
    expect((await consents.listByAccount('d')).map(({ clientId }) => clientId)).toEqual(['spa'])
  })
})
