import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { identityRepository } from '../../../src/features/identities/repository.ts'
import { createIdentityService } from '../../../src/features/identities/service.ts'
import type { Identities, NewIdentity } from '../../../src/features/identities/types.ts'
import type { AccountView } from '../../../src/interaction/step.ts'
import { newId } from '../../../src/platform/ids.ts'
import type { Database, Tx } from '../../../src/platform/postgres.ts'
import { accountColumns, testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const DAY = 86_400_000
const page = { locale: 'en' }

describe.each(['embedded', 'postgres'] as const)('identities on %s', (kind) => {
  let database: Database
  let identities: Identities
  let facts: Fact[]
  let told: string[]
  let ended: unknown[]
  let world: { time: number; ways: readonly string[] }

  beforeAll(async () => {
    database = await freshDatabase(kind)
  })
  afterAll(() => database.close())
  beforeEach(() => {
    ;[facts, told, ended, world] = [[], [], [], { time: START, ways: ['email_code'] }]
    const { db, transaction } = database
    identities = createIdentityService({
      ...{
        transaction,
        newId,
        repository: identityRepository(db, testPersonal),
        clock: { now: () => new Date(world.time) },
      },
      outbox: { record: async (stated) => void facts.push(...stated) },
      accounts: {
        view,
        dropPending: async (id: string, tx: Tx) => void (await tx('accounts').where({ id, state: 'pending' }).delete()),
      },
      passwords: { isSet: async () => false },
      sessions: {
        endAll: async (...args) => {
          ended.push(args.slice(0, 3))
          return async () => {}
        },
      },
      tell: async (event) => void told.push(event),
      title: async (name) => name,
      signsIn: (methods) => world.ways.some((way) => methods.includes(way)),
    })
  })

  async function account(state: 'active' | 'pending' = 'active'): Promise<AccountView> {
    const id = newId()
    const now = new Date(START)
    const times = { email_verified_at: state === 'active' ? now : null, created_at: now, updated_at: now }
    await database
      .db('accounts')
      .insert({ id, ...accountColumns(id, `${id.toLowerCase()}@example.com`), state, ...times })
    return (await view(id)) as AccountView
  }
  async function view(id: string, tx?: Tx): Promise<AccountView | undefined> {
    const row = await (tx ?? database.db)('accounts').where({ id }).first('state')
    if (row === undefined) return undefined
    return { accountId: id, email: '', emailVerified: row.state === 'active', active: true, epoch: 0, factors: [] }
  }
  const somebody = (): NewIdentity => ({
    upstream: 'acme',
    issuer: 'https://acme.example',
    subject: newId(),
    label: 'Ann',
  })

  it('is found by issuer and subject together, and its subject is in no column to be read', async () => {
    const [ann, who] = [await account(), somebody()]
    expect(await identities.link(who, ann, page)).toBe('linked')
    expect(await identities.find(who)).toMatchObject({ ...who, accountId: ann.accountId, usedAt: undefined })
    expect(await identities.find({ ...who, issuer: 'https://evil.example' })).toBeUndefined()
    expect(await identities.find({ ...who, subject: `${who.subject}x` })).toBeUndefined()
    const row = await database.db('identities').where({ account_id: ann.accountId }).first()
    expect(JSON.stringify(row)).not.toContain(who.subject)
    expect([facts.map(({ type }) => type), told]).toEqual([['identity.linked'], ['identity_linked']])
  })

  it('of two accounts that link it at once, one has it', async () => {
    const who = somebody()
    const both = await Promise.all([await account(), await account()].map((one) => identities.link(who, one, page)))
    expect(both.sort()).toEqual(['linked', 'taken'])
  })

  it('is taken over from an account that has never proven its address, which is gone then', async () => {
    const [begun, owner, who] = [await account('pending'), await account(), somebody()]
    await database.transaction((tx) => identities.insert(who, begun.accountId, tx))
    expect(await identities.link(who, owner, page)).toBe('linked')
    expect(await view(begun.accountId)).toBeUndefined()
    expect((await identities.find(who))?.accountId).toBe(owner.accountId)
  })

  it('a row whose hash somebody moved names nobody', async () => {
    const [ann, ben, mine, yours] = [await account(), await account(), somebody(), somebody()]
    await identities.link(mine, ann, page)
    await identities.link(yours, ben, page)
    const { subject_hash: hash } = await database.db('identities').where({ account_id: ann.accountId }).first()
    await database.db('identities').where({ account_id: ann.accountId }).delete()
    await database.db('identities').where({ account_id: ben.accountId }).update({ subject_hash: hash })
    expect(await identities.find(mine)).toBeUndefined()
  })

  it('twenty are enough for one account', async () => {
    const ann = await account()
    for (let i = 0; i < 20; i++) expect(await identities.link(somebody(), ann, page)).toBe('linked')
    expect(await identities.link(somebody(), ann, page)).toBe('too_many')
  })

  it('is taken away by its owner only, and ends the other sessions', async () => {
    const [ann, ben] = [await account(), await account()]
    await identities.link(somebody(), ann, page)
    const [mine] = await identities.list(ann.accountId)
    expect(await identities.unlink(ben, mine?.id ?? '', { page, sessionUid: 's' })).toBe('absent')
    expect(await identities.unlink(ann, mine?.id ?? '', { page, sessionUid: 's' })).toBe('unlinked')
    expect(await identities.list(ann.accountId)).toEqual([])
    expect([told, ended]).toEqual([
      ['identity_linked', 'identity_removed'],
      [[ann.accountId, 'factor_changed', { exceptUid: 's' }]],
    ])
  })

  it('is never the last way in', async () => {
    world.ways = ['upstream', 'pwd']
    const ann = await account()
    for (let i = 0; i < 2; i++) await identities.link(somebody(), ann, page)
    const remove = async () => {
      const [first] = await identities.list(ann.accountId)
      return identities.unlink(ann, first?.id ?? '', { page, sessionUid: 's' })
    }
    expect([await remove(), await remove()]).toEqual(['unlinked', 'identity_last_way_in'])
    expect(await identities.list(ann.accountId)).toHaveLength(1)
  })

  it('what was linked in the days of a thief goes with them, what is older stays', async () => {
    const ann = await account()
    await identities.link(somebody(), ann, page)
    world.time += 8 * DAY
    await identities.link(somebody(), ann, page)
    await database.transaction((tx) => identities.disown(ann.accountId, tx))
    expect((await identities.list(ann.accountId)).map(({ linkedAt }) => linkedAt.getTime())).toEqual([START])
  })
})
