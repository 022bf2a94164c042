import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createReadAhead } from '../../../src/oidc/adapter/read_ahead.ts'
import { createSqlOidcStore } from '../../../src/oidc/adapter/sql_store.ts'
import type { OidcStore } from '../../../src/oidc/adapter/store.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { runInRequest } from '../../../src/platform/request_scope.ts'
import { freshDatabase } from '../../support/services.ts'

const TOKEN = { kind: 'AccessToken', accountId: 'a1', grantId: 'g1', sessionUid: 'u1', expiresWithSession: true }

let database: Database
let store: OidcStore
let asked: string[]
let reading: OidcStore

beforeAll(async () => {
  database = await freshDatabase('embedded')
})
afterAll(() => database.close())

beforeEach(async () => {
  store = createSqlOidcStore(database, () => new Date())
  await store.save('AccessToken', 't1', TOKEN, 60)
  await store.save('Grant', 'g1', { kind: 'Grant', accountId: 'a1' }, 60)
  await store.save('Session', 's1', { kind: 'Session', uid: 'u1', accountId: 'a1' }, 60)
  asked = []
  const watched: OidcStore = {
    ...store,
    find: (model, id) => {
      asked.push(`${model} ${id}`)
      return store.find(model, id)
    },
    findByUid: (uid) => {
      asked.push(`uid ${uid}`)
      return store.findByUid(uid)
    },
  }
  reading = createReadAhead(watched, async (accountId) => asked.push(`state ${accountId}`))
})

const inRequest = <T>(work: () => Promise<T>) => runInRequest({ requestId: 'r1' }, work)

describe('what a token names', () => {
  it('is asked for as soon as the token is there, and each answer is handed out once', () =>
    inRequest(async () => {
      await reading.find('AccessToken', 't1')
      expect(asked).toEqual(['AccessToken t1', 'Grant g1', 'uid u1', 'state a1'])
      expect(await reading.find('Grant', 'g1')).toMatchObject({ accountId: 'a1' })
      expect(await reading.findByUid('u1')).toMatchObject({ uid: 'u1' })
      expect(asked).toHaveLength(4)
      await reading.find('Grant', 'g1')
      expect(asked.slice(4)).toEqual(['Grant g1'])
    }))

  it.each([
    ['a grant that was destroyed', () => reading.destroy('Grant', 'g1'), undefined],
    ['a grant that was written', () => reading.save('Grant', 'g1', { accountId: 'a2' }, 60), { accountId: 'a2' }],
  ])('%s is read anew', (_what, write, expected) =>
    inRequest(async () => {
      await reading.find('AccessToken', 't1')
      await write()
      const found = await reading.find('Grant', 'g1')
      expect(found === undefined ? undefined : { accountId: found.accountId }).toEqual(expected)
    }),
  )

  it('an answer is for its own request, and outside of one nothing is asked for ahead', async () => {
    await inRequest(() => reading.find('AccessToken', 't1'))
    await store.destroy('Grant', 'g1')
    expect(await inRequest(() => reading.find('Grant', 'g1'))).toBeUndefined()
    asked.length = 0
    await reading.find('AccessToken', 't1')
    expect(asked).toEqual(['AccessToken t1'])
  })

  it('of a token that lives without its session, or was used already, no more is asked than is needed', () =>
    inRequest(async () => {
      await store.save('AccessToken', 't2', { ...TOKEN, expiresWithSession: undefined }, 60)
      await store.save('AuthorizationCode', 'c1', TOKEN, 60)
      await store.consume('AuthorizationCode', 'c1', 1)
      await reading.find('AccessToken', 't2')
      await reading.find('AuthorizationCode', 'c1')
      expect(asked).toEqual(['AccessToken t2', 'Grant g1', 'state a1', 'AuthorizationCode c1'])
    }))
})
