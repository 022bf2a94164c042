import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Json } from '../../../src/events.ts'
import { passwordRepository } from '../../../src/features/passwords/repository.ts'
import { createPasswordService } from '../../../src/features/passwords/service.ts'
import { newId } from '../../../src/platform/ids.ts'
import { createOutbox } from '../../../src/platform/outbox.ts'
import type { Database } from '../../../src/platform/postgres.ts'
import { createSecretBox } from '../../../src/platform/secret_box.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'
import { createTestAbuse } from '../../support/abuse.ts'
import { accountColumns, testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const LATER = new Date('2026-11-01T13:00:00.000Z')
const outbox = createOutbox({
  personal: testPersonal,
  secretBox: createSecretBox([Buffer.alloc(32, 1)]),
  clock: { now: () => NOW },
})
const rejected = () => outbox.insert([{ type: 'password.rejected' }])

describe.each(['embedded', 'postgres'] as const)('password repository on %s', (kind) => {
  let database: Database
  let passwords: ReturnType<typeof passwordRepository>
  let email: string

  beforeAll(async () => {
    database = await freshDatabase(kind)
    passwords = passwordRepository(database.db, testPersonal)
  })
  afterAll(() => database.close())
  beforeEach(() => {
    email = `${newId().toLowerCase()}@example.com`
  })

  async function account({ profile, ...changes }: { profile?: Json; [column: string]: unknown } = {}): Promise<string> {
    const id = newId()
    const row = {
      id,
      ...accountColumns(id, email, profile),
      state: 'active',
      email_verified_at: NOW,
      created_at: NOW,
      updated_at: NOW,
      ...changes,
    }
    await database.db('accounts').insert(row)
    return row.id
  }
  const store = (id: string, hash: string, now = NOW) =>
    database.transaction((tx) => passwords.store(id, hash, now, tx))

  it('finds the account of a proven address with its hash in one row', async () => {
    const id = await account({ locale: 'fi', epoch: 2, profile: { name: 'Anna' } })
    await store(id, 'hash')
    expect(await passwords.findProven(email)).toEqual({
      account: {
        ...{
          accountId: id,
          email,
          emailVerified: true,
          active: true,
          epoch: 2,
          factors: [],
          name: 'Anna',
          locale: 'fi',
        },
        ...{ enrolmentSkips: 0, nudgeAfter: undefined, secondFactorRequired: false },
        passwordAt: NOW.getTime(),
      },
      hash: 'hash',
      changedAt: NOW,
      breachCheckedAt: NOW,
    })
  })

  it('finds an account without a password, and says that a disabled one is not active', async () => {
    await account({ state: 'disabled' })
    expect(await passwords.findProven(email)).toMatchObject({ account: { active: false }, hash: undefined })
  })

  it('does not find who only claims the address', async () => {
    const id = await account({ state: 'pending', email_verified_at: null })
    await store(id, 'hash')
    expect(await passwords.findProven(email)).toBeUndefined()
    expect(await passwords.findByEmail(email)).toMatchObject({ account: { accountId: id, emailVerified: false } })
  })

  it('prefers the proven account, then the newest claim', async () => {
    await account({ state: 'pending', email_verified_at: null })
    const newest = await account({ state: 'pending', email_verified_at: null, created_at: LATER })
    expect((await passwords.findByEmail(email))?.account.accountId).toBe(newest)
    const proven = await account()
    expect((await passwords.findByEmail(email))?.account.accountId).toBe(proven)
  })

  it('replaces a password', async () => {
    const id = await account()
    await store(id, 'one')
    await store(id, 'two', LATER)
    expect(await passwords.findByAccount(id)).toMatchObject({ hash: 'two', changedAt: LATER })
  })

  it('rehashes the password that was verified, and none that was changed meanwhile', async () => {
    const id = await account()
    await store(id, 'old')
    await database.transaction((tx) => passwords.rehash(id, 'old', 'stronger', tx))
    expect(await passwords.findByAccount(id)).toMatchObject({ hash: 'stronger', changedAt: NOW })
    await database.transaction((tx) => passwords.rehash(id, 'old', 'late', tx))
    expect(await passwords.findByAccount(id)).toMatchObject({ hash: 'stronger' })
  })

  it('notes once a month that a password was compared, of many sign-ins at once one, and none of a password of before', async () => {
    const id = await account()
    await database.transaction((tx) => passwords.store(id, 'hash', NOW, tx))
    const month = new Date(NOW.getTime() + 31 * 86_400_000)
    const note = (hash: string, now: Date) =>
      database.transaction((tx) =>
        passwords.noteBreachCheck(id, hash, now, new Date(now.getTime() - 30 * 86_400_000), tx),
      )
    expect(await note('hash', NOW)).toBe(false)
    expect(await note('older hash', month)).toBe(false)
    const noted = await Promise.all(Array.from({ length: 8 }, () => note('hash', month)))
    expect(noted.filter(Boolean)).toHaveLength(1)
    expect((await passwords.findByAccount(id))?.breachCheckedAt).toEqual(month)
    await database.transaction((tx) => passwords.store(id, 'new hash', NOW, tx))
    expect((await passwords.findByAccount(id))?.breachCheckedAt).toEqual(NOW)
  })

  it('forgets the password with the account', async () => {
    const id = await account()
    await store(id, 'hash')
    await database.db('accounts').where({ id }).delete()
    expect(await database.db('passwords').where({ account_id: id })).toEqual([])
  })

  it('states a failure in the same statement, and does not count it without', async () => {
    const facts = rejected()
    const statements: string[] = []
    const note = ({ sql }: { sql: string }) => statements.push(sql)
    database.db.on('query', note)
    await passwords.countFailure('stated', NOW, facts)
    database.db.removeListener('query', note)
    expect(statements).toHaveLength(1)
    const [id] = facts.bindings
    expect(await database.db('outbox').where({ id, type: 'password.rejected' })).toHaveLength(1)
    const taken = rejected()
    const twice = { ...taken, bindings: taken.bindings.with(0, id ?? null) }
    await expect(passwords.countFailure('stated', NOW, twice)).rejects.toThrow()
    expect(await passwords.failuresAt('stated')).toBe(1)
    await passwords.forgetFailures('stated')
  })

  it('counts failures in a row by identifier, also of nobody, and reads them with the account in one statement', async () => {
    const id = await account()
    await store(id, 'hash')
    const statements: string[] = []
    const note = ({ sql }: { sql: string }) => statements.push(sql)
    await Promise.all(Array.from({ length: 20 }, () => passwords.countFailure('mac', NOW, rejected())))
    await passwords.countFailure('of nobody', LATER, rejected())
    database.db.on('query', note)
    expect(await passwords.findTried(email, 'mac')).toMatchObject({ credential: { hash: 'hash' }, failures: 20 })
    expect(await passwords.findTried('nobody@example.com', 'of nobody')).toEqual({ credential: undefined, failures: 1 })
    expect(await passwords.findTried(email, 'new')).toMatchObject({ credential: { hash: 'hash' }, failures: 0 })
    expect(await passwords.findTried('nobody@example.com', 'new')).toEqual({ credential: undefined, failures: 0 })
    expect(statements).toHaveLength(4)
    database.db.removeListener('query', note)
    expect(await passwords.failuresAt('mac')).toBe(20)
    expect(await passwords.purgeFailures(LATER, 10)).toBe(1)
    await passwords.forgetFailures('of nobody')
    expect(await Promise.all(['mac', 'of nobody'].map(passwords.failuresAt))).toEqual([0, 0])
  })

  it('of many first passwords at once one is stored', async () => {
    const id = await account()
    const hash = async (password: string) => `hash of ${password}`
    const service = createPasswordService({
      repository: passwords,
      passwordHash: { hash, verify: async () => false, verifyDummy: async () => false, needsRehash: () => false },
      guard: createTestAbuse(createModelKeyValue({ now: () => NOW }), { now: () => NOW }).service.signIn,
      weaknessOf: async () => undefined,
      transaction: database.transaction,
      outbox,
      clock: { now: () => NOW },
      mac: (value) => value,
      settings: { minLength: 8, brandWords: async () => [], perIdentifier: 9 },
    })
    const me = { accountId: id, email, emailVerified: true, active: true, epoch: 0, factors: [] }
    const words = ['violet tangent 8', 'orange meridian 9', 'crimson parabola 3', 'silver ellipse 5']
    const ends = await Promise.all(words.map((word) => service.setFirst(me, word, async () => {})))
    const winner = words[ends.findIndex(({ ok }) => ok)]
    expect(ends.filter(({ ok }) => ok)).toHaveLength(1)
    expect((await passwords.findByAccount(id))?.hash).toBe(`hash of ${winner}`)
  })
})
