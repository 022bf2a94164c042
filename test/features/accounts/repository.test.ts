import { AsyncLocalStorage } from 'node:async_hooks'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { accountRepository } from '../../../src/features/accounts/repository.ts'
import type { Account } from '../../../src/features/accounts/types.ts'
import { newId } from '../../../src/platform/ids.ts'
import { type Database, type Tx, uniqueViolation } from '../../../src/platform/postgres.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const later = (minutes: number) => new Date(NOW.getTime() + minutes * 60_000)
/** Runs something as if it came from a request of its own. */
const outside = AsyncLocalStorage.snapshot()

describe.each(['embedded', 'postgres'] as const)('account repository on %s', (kind) => {
  let database: Database
  let accounts: ReturnType<typeof accountRepository>
  let email: string

  beforeAll(async () => {
    database = await freshDatabase(kind)
    accounts = accountRepository(database.db, testPersonal)
  })
  afterAll(() => database.close())
  beforeEach(() => {
    email = `${newId().toLowerCase()}@example.com`
  })

  async function pending(changes: Partial<Account> = {}): Promise<string> {
    const account: Account = {
      id: newId(),
      email,
      emailVerifiedAt: undefined,
      state: 'pending',
      epoch: 0,
      locale: undefined,
      profile: {},
      createdAt: NOW,
      updatedAt: NOW,
      factors: [],
      secondFactorRequired: false,
      enrolmentSkips: 0,
      nudgeAfter: undefined,
      ...changes,
    }
    await database.transaction((tx) => accounts.insert(account, tx))
    return account.id
  }
  /** As the service does: the row is locked, read, then changed. */
  const change = <T>(id: string, act: (before: Account, tx: Tx) => Promise<T>) =>
    database.transaction(async (tx) => {
      const before = await accounts.findForUpdate(id, tx)
      if (before === undefined) throw new Error('no such account')
      return act(before, tx)
    })
  const proven = (changes: Partial<Account> = {}) => pending({ state: 'active', emailVerifiedAt: NOW, ...changes })

  it('gives back what was inserted', async () => {
    const profile = { name: 'Anna', address: { country: 'FI' } }
    const id = await proven({ locale: 'fi', profile, epoch: 3 })
    expect(await accounts.find(id)).toEqual({
      ...{ id, email, emailVerifiedAt: NOW, state: 'active', epoch: 3 },
      ...{ locale: 'fi', profile, createdAt: NOW, updatedAt: NOW },
      ...{ factors: [], secondFactorRequired: false, enrolmentSkips: 0, nudgeAfter: undefined },
    })
    expect(await accounts.find('nobody')).toBeUndefined()
  })

  it('finds the account that has proven the address before newer ones that claim it', async () => {
    await pending({ createdAt: later(-1) })
    const id = await proven()
    await pending({ createdAt: later(1) })
    expect((await accounts.findByEmail(email))?.id).toBe(id)
  })

  it('finds the newest that claims an address when nobody has proven it', async () => {
    await pending()
    const newest = await pending({ createdAt: later(1) })
    expect((await accounts.findByEmail(email))?.id).toBe(newest)
  })

  it('takes any number of claims and one proof of an address', async () => {
    const [first, second] = [await pending(), await pending()]
    await database.transaction((tx) => accounts.prove(first, email, NOW, tx))
    const again = database.transaction((tx) => accounts.prove(second, email, NOW, tx))
    expect(uniqueViolation(await again.catch((error: unknown) => error))).toBe(true)
    expect(await accounts.emailTaken(email, second)).toBe(true)
    expect(await accounts.emailTaken(email, first)).toBe(false)
  })

  it('proves one of two accounts that prove an address at once', async () => {
    const ids = [await pending(), await pending()]
    const proofs = ids.map((id) => outside(() => database.transaction((tx) => accounts.prove(id, email, NOW, tx))))
    const settled = await Promise.allSettled(proofs)
    expect(settled.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  it('proves only the address that the account still has (A25)', async () => {
    const id = await pending()
    const other = await database.transaction((tx) => accounts.prove(id, 'other@example.com', NOW, tx))
    expect(other).toBeUndefined()
    expect((await accounts.find(id))?.emailVerifiedAt).toBeUndefined()
  })

  it('proves no disabled account', async () => {
    const id = await pending({ state: 'disabled' })
    expect(await database.transaction((tx) => accounts.prove(id, email, NOW, tx))).toBeUndefined()
  })

  it('corrects an address before it is proven and not after', async () => {
    const [claimed, done] = [await pending(), await proven()]
    const correct = (id: string) =>
      change(id, (before, tx) => accounts.correctPending(before, `right-${email}`, later(1), tx))
    expect(await correct(claimed)).toMatchObject({ email: `right-${email}` })
    expect(await correct(done)).toBeUndefined()
  })

  it('deletes the other claims of an address, never its proof', async () => {
    const [kept, gone, done] = [await pending(), await pending(), await proven()]
    await database.transaction((tx) => accounts.deletePendingOf(email, kept, tx))
    expect(await accounts.find(gone)).toBeUndefined()
    expect(await accounts.find(done)).toBeDefined()
    expect(await accounts.find(kept)).toBeDefined()
  })

  it('changes the address of an active account, and nothing else of the person', async () => {
    const id = await proven({ profile: { name: 'Anna' } })
    const changed = await change(id, (before, tx) => accounts.changeEmail(before, `new-${email}`, later(1), tx))
    expect(changed).toMatchObject({ email: `new-${email}`, emailVerifiedAt: later(1), profile: { name: 'Anna' } })
    expect((await accounts.findByEmail(`new-${email}`))?.id).toBe(id)
    expect(await accounts.findByEmail(email)).toBeUndefined()
  })

  it('changes language and profile apart from each other', async () => {
    const id = await proven({ locale: 'en', profile: { name: 'Anna' } })
    await change(id, (before, tx) => accounts.update(before, { locale: 'fi' }, later(1), tx))
    expect(await accounts.find(id)).toMatchObject({ locale: 'fi', profile: { name: 'Anna' }, updatedAt: later(1) })
    await change(id, (before, tx) => accounts.update(before, { profile: { nickname: 'A' } }, later(2), tx))
    expect(await accounts.find(id)).toMatchObject({ locale: 'fi', profile: { nickname: 'A' } })
  })

  it('counts every epoch, however many advance it at once', async () => {
    const id = await proven()
    const advance = () => outside(() => database.transaction((tx) => accounts.advanceEpoch(id, NOW, tx)))
    const seen = await Promise.all(Array.from({ length: 5 }, advance))
    expect(seen.map((account) => account?.epoch).sort()).toEqual([1, 2, 3, 4, 5])
  })

  it('deletes old claims in bounds, and nothing proven', async () => {
    const old = [await pending({ createdAt: new Date(0) }), await pending({ createdAt: new Date(1) })]
    const [fresh, done] = [await pending(), await proven({ createdAt: new Date(0) })]
    const before = new Date(1000)
    const first = await database.transaction((tx) => accounts.deletePendingBefore(before, 1, tx))
    const second = await database.transaction((tx) => accounts.deletePendingBefore(before, 10, tx))
    expect([...first, ...second]).toEqual(old)
    expect(await accounts.find(fresh)).toBeDefined()
    expect(await accounts.find(done)).toBeDefined()
  })
})
