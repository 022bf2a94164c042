import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { consentRepository } from '../../../src/features/consents/repository.ts'
import type { Agreement } from '../../../src/features/consents/types.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const LATER = new Date('2026-11-02T12:00:00.000Z')

describe.each(['embedded', 'postgres'] as const)('consent repository on %s', (kind) => {
  let database: Database
  let consents: ReturnType<typeof consentRepository>
  let ids = 0

  beforeAll(async () => {
    database = await freshDatabase(kind)
    consents = consentRepository(database.db)
    const rows = ['a', 'b', 'c', 'd'].map((id) => ({
      id,
      email: `${id}@example.com`,
      state: 'active',
      created_at: NOW,
      updated_at: NOW,
    }))
    await database.db('accounts').insert(rows)
  })
  afterAll(() => database.close())

  const grant = (accountId: string, clientId: string, added: Partial<Agreement>, now = NOW) =>
    database.transaction((tx) => {
      const whole = { scopes: [], claims: [], resources: {}, ...added }
      return consents.grant(`id-${ids++}`, accountId, clientId, whole, now, tx)
    })

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

  it('lists the live consents of one account', async () => {
    await grant('d', 'web', { scopes: ['openid'] })
    await grant('d', 'spa', { scopes: ['openid'] })
    await database.transaction((tx) => consents.revoke('d', 'web', LATER, tx))
    expect((await consents.listByAccount('d')).map(({ clientId }) => clientId)).toEqual(['spa'])
  })
})
