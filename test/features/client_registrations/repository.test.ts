import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { registrationRepository } from '../../../src/features/client_registrations/repository.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { freshDatabase } from '../../support/services.ts'

const at = (hours: number) => new Date(Date.UTC(2026, 10, 1, hours))
const NOW = at(12)

describe.each(['embedded', 'postgres'] as const)('registration repository on %s', (kind) => {
  let database: Database
  let repository: ReturnType<typeof registrationRepository>

  beforeAll(async () => {
    database = await freshDatabase(kind)
    repository = registrationRepository(database.db)
  })
  afterAll(() => database.close())

  const token = (id: string, usesLeft: number, expiresAt = at(24)) =>
    database.transaction((tx) =>
      repository.insertToken({ id, policy: 'web', usesLeft, createdAt: at(1), expiresAt }, `hash-${id}`, tx),
    )
  const spend = (id: string, now = NOW) => database.transaction((tx) => repository.spend(id, now, tx))
  const client = async (clientId: string, tokenId: string, expiresAt?: Date) => {
    const row = { id: clientId, metadata: '{}', managed: 'registered', created_at: NOW, updated_at: NOW }
    await database.db('clients').insert(row)
    const registration = { ...{ clientId, tokenId, policy: 'web', registeredAt: NOW, expiresAt } }
    await database.transaction((tx) =>
      repository.insert({ ...registration, accessTokenHash: `access-${clientId}` }, tx),
    )
    return registration
  }

  it('spends a token as often as it is good for, also at once', async () => {
    await token('three', 3)
    const spent = await Promise.all(Array.from({ length: 12 }, () => spend('three')))
    expect(spent.filter((found) => found !== undefined)).toHaveLength(3)
    expect(await repository.findLive('hash-three', NOW)).toBeUndefined()
  })

  it('spends none that has ended, was revoked or is not there, and gives back what a rollback undoes', async () => {
    await token('ended', 5, NOW)
    await token('revoked', 5)
    await token('kept', 1)
    const revoke = (id: string) => database.transaction((tx) => repository.revokeToken(id, NOW, tx))
    expect([await revoke('revoked'), await revoke('revoked'), await revoke('nobody')]).toEqual([true, false, undefined])
    for (const id of ['ended', 'revoked', 'nobody']) {
      expect([await spend(id), await repository.findLive(`hash-${id}`, NOW)]).toEqual([undefined, undefined])
    }
    const undone = database.transaction(async (tx) => {
      expect(await repository.spend('kept', NOW, tx)).toMatchObject({ usesLeft: 0 })
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await repository.findLive('hash-kept', NOW)).toMatchObject({ id: 'kept', usesLeft: 1, clients: 0 })
  })

  it('counts the clients of a token that are there and whose time is not over', async () => {
    await token('counted', 9)
    await client('stays', 'counted')
    await client('lapsed', 'counted', at(11))
    await client('gone', 'counted')
    await database.db('clients').where({ id: 'gone' }).delete()
    const listed = await repository.listTokens(NOW)
    expect(listed.find(({ id }) => id === 'counted')).toMatchObject({ clients: 1, usesLeft: 9 })
  })

  it('finds, changes and ends a registration, and those that are due', async () => {
    await token('due', 9)
    const due = await client('due', 'due', at(11))
    await client('disabled', 'due', at(10))
    await client('later', 'due', at(13))
    await database.db('clients').where({ id: 'disabled' }).update({ disabled_at: NOW })
    expect(await repository.listDue(NOW, 10)).toContain('due')
    expect(await repository.listDue(NOW, 10)).not.toContain('disabled')
    expect(await repository.listDue(NOW, 10)).not.toContain('later')
    expect(await repository.find('due')).toEqual({
      ...due,
      accessTokenHash: 'access-due',
      softwareStatement: undefined,
    })
    await database.transaction((tx) => repository.update('due', 'next', 'a.b.c', tx))
    expect(await repository.find('due')).toMatchObject({ accessTokenHash: 'next', softwareStatement: 'a.b.c' })
    const end = (hash: string) => database.transaction((tx) => repository.endAccessToken(hash, tx))
    expect([await end('access-due'), await end('next'), await end('next')]).toEqual([undefined, 'due', undefined])
    expect((await repository.find('due'))?.accessTokenHash).toBeUndefined()
  })
})
