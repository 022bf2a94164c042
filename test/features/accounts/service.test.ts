import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { createAccounts } from '../../../src/features/accounts/index.ts'
import { accountRepository } from '../../../src/features/accounts/repository.ts'
import type { AccountView } from '../../../src/interaction/step.ts'
import { newId } from '../../../src/platform/ids.ts'
import type { KeyValue } from '../../../src/platform/key_value.ts'
import type { Database, Tx } from '../../../src/platform/postgres.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'
import { testPersonal } from '../../support/personal_columns.ts'
import { freshDatabase } from '../../support/services.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')

describe('accounts', () => {
  let database: Database
  let time: number
  let kv: KeyValue
  let facts: Fact[]
  let warnings: unknown[]
  let ended: string[]
  let feature: ReturnType<typeof createAccounts>
  let email: string
  const clock = { now: () => new Date(time) }

  beforeAll(async () => {
    database = await freshDatabase('embedded')
  })
  afterAll(() => database.close())
  beforeEach(() => {
    time = START
    kv = createModelKeyValue(clock)
    facts = []
    warnings = []
    ended = []
    email = `${newId().toLowerCase()}@example.com`
    feature = createAccounts({
      readEmail: async () => undefined,
      leadAway: async () => undefined,
      repository: accountRepository(database.db, testPersonal),
      kv,
      transaction: database.transaction,
      outbox: {
        record: async (stated) => {
          facts.push(...stated)
        },
        wake: () => {},
      },
      clock,
      newId,
      mac: (value) => `mac of ${value}`,
      endSessions: async (id, reason, _options, tx) => {
        await feature.service.advanceEpoch(id, reason, tx)
        return async () => {
          ended.push(`${id} ${reason}`)
        }
      },
      warn: (error) => warnings.push(error),
      retention: { pendingAccountDays: 7 },
    })
  })

  const tx = <T>(work: (tx: Tx) => Promise<T>) => database.transaction(work)
  const register = async (address = email) =>
    (await tx((t) => feature.service.createPending({ email: address, locale: 'fi' }, t))).accountId
  const active = async () => {
    const id = await register()
    await tx((t) => feature.service.proveEmail(id, email, t))
    return id
  }
  const types = () => facts.map(({ type }) => type)

  describe('a state that was just read', () => {
    const view = async (id: string) => ({ ...(await feature.service.view(id)), passwordAt: START }) as AccountView

    it('is kept while there is none, and gives way to the one that is there', async () => {
      const id = await active()
      const before = await view(id)
      expect(await feature.service.note(before)).toEqual({ active: true, enrolled: false, epoch: 0, passwordAt: START })
      expect(await feature.service.state(id)).toEqual({ active: true, enrolled: false, epoch: 0, passwordAt: START })
      await feature.service.disable(id)
      expect(await feature.service.note(before)).toMatchObject({ active: false, epoch: 1 })
      expect(await feature.service.state(id)).toMatchObject({ active: false, epoch: 1 })
    })

    it('takes the place of an earlier one, when a process died before it told of a change', async () => {
      const id = await active()
      await feature.service.state(id)
      await database.db('accounts').where({ id }).update({ epoch: 1 })
      const read = { ...(await view(id)), passwordAt: START + 1000 }
      const later = { active: true, enrolled: false, epoch: 1, passwordAt: START + 1000 }
      expect(await feature.service.note(read)).toEqual(later)
      expect(await feature.service.state(id)).toEqual(later)
    })

    it('says nothing of an account that has proven no address, is switched off, or was read without its password', async () => {
      const pending = await view(await register())
      const known = await view(await active())
      for (const told of [pending, { ...known, active: false }, { ...known, passwordAt: undefined }]) {
        expect(await feature.service.note(told)).toBeUndefined()
        expect(await kv.get(`account:${told.accountId}`)).toBeUndefined()
      }
    })
  })

  describe('a new account', () => {
    it('has proven nothing and is not active for the engine', async () => {
      const id = await register()
      expect(await feature.service.view(id)).toMatchObject({ email, emailVerified: false, active: true, epoch: 0 })
      expect(await feature.service.state(id)).toEqual({ active: false, enrolled: false, epoch: 0 })
      expect(await feature.service.claims(id)).toBeUndefined()
      expect(types()).toEqual(['account.registered'])
    })

    it('becomes active at once when its mailbox is proven, and other claims of it go', async () => {
      const [other, id] = [await register(), await register()]
      expect(await feature.service.state(id)).toEqual({ active: false, enrolled: false, epoch: 0 })
      await tx((t) => feature.service.proveEmail(id, email, t))
      expect(await feature.service.state(id)).toMatchObject({ active: true, epoch: 0 })
      expect(await feature.service.view(other)).toBeUndefined()
      expect(types()).toContain('account.email_verified')
    })

    it('cannot prove an address that another account has proven', async () => {
      const second = await register()
      await active()
      const late = await register()
      expect(await feature.service.view(second)).toBeUndefined()
      await expect(tx((t) => feature.service.proveEmail(late, email, t))).rejects.toMatchObject({
        code: 'already_exists',
      })
    })

    it('proves only the address that the code was sent to (A25)', async () => {
      const id = await register()
      await tx((t) => feature.service.correctPending(id, `v-${email}`, t))
      expect(await tx((t) => feature.service.proveEmail(id, email, t))).toBeUndefined()
      expect(await feature.service.view(id)).toMatchObject({ email: `v-${email}`, emailVerified: false })
    })

    it('is removed after seven days if it is still unproven', async () => {
      const [id, done] = [await register(), await (async () => active())()]
      const again = await register(`x-${email}`)
      await feature.jobs?.[0]?.run(new Date(START + 6.9 * 86_400_000))
      expect(await feature.service.view(again)).toBeDefined()
      await feature.jobs?.[0]?.run(new Date(START + 7.1 * 86_400_000))
      expect(await feature.service.view(again)).toBeUndefined()
      expect(await feature.service.view(done)).toBeDefined()
      expect(facts).toContainEqual({
        type: 'account.deleted',
        accountId: again,
        actor: 'system',
        data: { changes: { state: { old: 'pending', new: 'deleted' } }, reason: 'unproven' },
      })
      expect(id).not.toBe(done)
    })
  })

  describe('claims', () => {
    it('are the standard ones, and an account cannot give itself others', async () => {
      const id = await active()
      const profile = { name: 'Anna', phone_number: '+358', sub: 'other', email_verified: false, role: 'admin' }
      await tx((t) => feature.service.update(id, { locale: 'sv', profile }, t))
      expect(await feature.service.claims(id)).toEqual({
        ...{ sub: id, name: 'Anna', email, email_verified: true, locale: 'sv' },
        ...{ phone_number: '+358', phone_number_verified: false },
        updated_at: START / 1000,
      })
    })
  })

  describe('the state that everything alive is compared with', () => {
    it('is one read once it is known', async () => {
      const id = await active()
      await feature.service.state(id)
      const { get } = kv
      let reads = 0
      kv.get = (key) => {
        reads++
        return get(key)
      }
      await database.db('accounts').where({ id }).update({ state: 'disabled' })
      expect(await feature.service.state(id)).toMatchObject({ active: true, epoch: 0 })
      expect(reads).toBe(1)
      await feature.service.publish(id)
      expect(await feature.service.state(id)).toEqual({ active: false, enrolled: false, epoch: 0 })
    })

    it('is undefined for an account that is not there, and nothing is kept for its id', async () => {
      expect(await feature.service.state('nobody')).toBeUndefined()
      expect(await kv.get('account:nobody')).toBeUndefined()
    })

    it('follows a new epoch by itself after the commit', async () => {
      const id = await active()
      await feature.service.state(id)
      await tx((t) => feature.service.advanceEpoch(id, 'ended_by_account', t))
      await settled()
      expect(await feature.service.state(id)).toMatchObject({ active: true, epoch: 1 })
      expect(warnings).toEqual([])
    })

    it('does not follow an epoch that was rolled back', async () => {
      const id = await active()
      const work = tx(async (t) => {
        await feature.service.advanceEpoch(id, 'ended_by_account', t)
        throw new Error('no')
      })
      await expect(work).rejects.toThrow('no')
      await settled()
      expect(await feature.service.state(id)).toMatchObject({ active: true, epoch: 0 })
    })

    it('never goes back to an earlier epoch, in whatever order changes arrive', async () => {
      const id = await active()
      await tx((t) => feature.service.advanceEpoch(id, 'one', t))
      await feature.service.publish(id)
      await kv.set(`account:${id}`, JSON.stringify({ active: false, epoch: 5 }), 900)
      await feature.service.publish(id)
      expect(await feature.service.state(id)).toEqual({ active: false, epoch: 5 })
    })

    it('is not filled from an old read when a change was written meanwhile', async () => {
      const id = await active()
      const { get } = kv
      kv.get = async (key) => {
        const before = await get(key)
        if (before === undefined) await kv.set(key, JSON.stringify({ active: false, epoch: 1 }), 900)
        return before
      }
      await feature.service.state(id)
      kv.get = get
      expect(await feature.service.state(id)).toEqual({ active: false, epoch: 1 })
    })

    it('is repeated by the consumer of facts when the process died after the commit', async () => {
      const id = await active()
      await feature.service.state(id)
      await database.db('accounts').where({ id }).update({ state: 'disabled', epoch: 1 })
      const consumer = feature.subscribe?.[0]
      expect(consumer?.types).toContain('account.disabled')
      const fact = { id: 'f', type: 'account.disabled', accountId: id, occurredAt: clock.now() } as const
      await consumer?.handle(fact)
      await consumer?.handle(fact)
      expect(await feature.service.state(id)).toEqual({ active: false, enrolled: false, epoch: 1 })
    })

    it('is believed for a quarter of an hour, in case the store fell back to an older copy', async () => {
      const id = await active()
      await feature.service.state(id)
      await database.db('accounts').where({ id }).update({ epoch: 9 })
      time += 901_000
      expect(await feature.service.state(id)).toMatchObject({ active: true, epoch: 9 })
    })
  })

  describe('switching off', () => {
    it('disables at once, ends everything, and says so once', async () => {
      const id = await active()
      await feature.service.state(id)
      expect(await feature.service.disable(id)).toBe(true)
      expect(await feature.service.state(id)).toEqual({ active: false, enrolled: false, epoch: 1 })
      expect(ended).toEqual([`${id} account_disabled`])
      expect(await feature.service.disable(id)).toBe(false)
      expect(types().filter((type) => type === 'account.disabled')).toHaveLength(1)
      expect(await feature.service.view(id)).toMatchObject({ active: false })
      expect(await feature.service.claims(id)).toBeUndefined()
    })

    it('enables again without reviving what was ended', async () => {
      const id = await active()
      await feature.service.disable(id)
      expect(await feature.service.enable(id)).toBe(true)
      expect(await feature.service.state(id)).toMatchObject({ active: true, epoch: 2 })
      expect(await feature.service.enable(id)).toBe(false)
    })

    it('does not make an unproven account active by disabling and enabling it', async () => {
      const id = await register()
      await feature.service.disable(id)
      await feature.service.enable(id)
      expect((await feature.service.find(id))?.state).toBe('pending')
    })

    it('deletes the account with its row, and its state is dead at once', async () => {
      const id = await active()
      await feature.service.state(id)
      let also = false
      const work = async () => {
        also = true
      }
      expect(await feature.service.remove(id, work)).toBe(true)
      expect(also).toBe(true)
      expect(await feature.service.find(id)).toBeUndefined()
      expect((await feature.service.state(id))?.active).toBe(false)
      expect(ended).toEqual([`${id} account_deleted`])
      expect(await feature.service.remove(id)).toBe(false)
    })

    it('deletes nothing when what belongs to it fails', async () => {
      const id = await active()
      const work = async () => {
        throw new Error('no mail')
      }
      await expect(feature.service.remove(id, work)).rejects.toThrow('no mail')
      expect(await feature.service.find(id)).toBeDefined()
      expect(await feature.service.state(id)).toMatchObject({ active: true, epoch: 0 })
    })

    it('gives a new id to whoever registers the address again (A89)', async () => {
      const id = await active()
      await feature.service.erase(id)
      expect(await active()).not.toBe(id)
    })
  })

  it('changes an address to one that nobody else has proven', async () => {
    const id = await active()
    const taken = email
    email = `other-${email}`
    const other = await active()
    await expect(tx((t) => feature.service.changeEmail(other, taken, t))).rejects.toMatchObject({
      code: 'already_exists',
    })
    expect(await tx((t) => feature.service.changeEmail(id, `new-${email}`, t))).toMatchObject({ email: `new-${email}` })
    expect(types()).toContain('account.email_changed')
  })

  describe('what facts say of a change', () => {
    const saying = (type: string) => facts.filter((fact) => fact.type === type).map(({ data }) => data)
    const hash = (field: string, value: string) => `mac of ["${field}","${value}"]`

    it('values of a person are hashed, others are in clear', async () => {
      const id = await active()
      await tx((t) => feature.service.update(id, { profile: { name: 'Ada Byron', zoneinfo: 'Europe/London' } }, t))
      await tx((t) => feature.service.update(id, { locale: 'en', profile: { name: 'Ada King' } }, t))
      expect(saying('account.updated')).toEqual([
        {
          changes: {
            name: { newHash: hash('name', 'Ada Byron') },
            zoneinfo: { newHash: hash('zoneinfo', 'Europe/London') },
          },
        },
        {
          changes: {
            locale: { old: 'fi', new: 'en' },
            name: { oldHash: hash('name', 'Ada Byron'), newHash: hash('name', 'Ada King') },
            zoneinfo: { oldHash: hash('zoneinfo', 'Europe/London') },
          },
        },
      ])
    })

    it('nothing is written or stated when nothing differs', async () => {
      const id = await active()
      await tx((t) => feature.service.update(id, { profile: { name: 'Ada' } }, t))
      const before = [await feature.service.find(id), facts.length]
      time += 1000
      await tx((t) => feature.service.update(id, { locale: 'fi', profile: { name: 'Ada' } }, t))
      expect([await feature.service.find(id), facts.length]).toEqual(before)
    })

    it('the address of a registration, its correction, its proof and its change can be followed', async () => {
      const id = await register()
      const right = `right-${email}`
      await tx((t) => feature.service.correctPending(id, right, t))
      await tx((t) => feature.service.proveEmail(id, right, t))
      await tx((t) => feature.service.changeEmail(id, `new-${email}`, t))
      expect(facts.map(({ type, data }) => [type, (data?.changes as { email?: object } | undefined)?.email])).toEqual([
        ['account.registered', { newHash: hash('email', email) }],
        ['account.email_corrected', { oldHash: hash('email', email), newHash: hash('email', right) }],
        ['account.email_verified', { newHash: hash('email', right) }],
        ['account.email_changed', { oldHash: hash('email', right), newHash: hash('email', `new-${email}`) }],
      ])
    })

    it('a correction that is not the account’s to make states nothing', async () => {
      const id = await active()
      const before = facts.length
      expect(await tx((t) => feature.service.correctPending(id, `other-${email}`, t))).toBeUndefined()
      expect(facts).toHaveLength(before)
    })

    it('states go from one to the other, by whom and why', async () => {
      const id = await active()
      await feature.service.disable(id, { actor: 'operator', reason: 'court order' })
      await feature.service.enable(id, { actor: 'operator', reason: 'lifted' })
      await feature.service.erase(id, { actor: 'operator', reason: 'asked by letter' })
      const told = facts.filter(({ type }) => ['account.disabled', 'account.enabled', 'account.deleted'].includes(type))
      expect(told).toEqual([
        state(id, 'account.disabled', 'active', 'disabled', 'court order'),
        state(id, 'account.enabled', 'disabled', 'active', 'lifted'),
        state(id, 'account.deleted', 'active', 'deleted', 'asked by letter'),
      ])
      expect(saying('account.email_verified')).toMatchObject([
        { changes: { state: { old: 'pending', new: 'active' } } },
      ])
    })

    const state = (accountId: string, type: string, old: string, to: string, reason: string) => {
      return { type, accountId, actor: 'operator', data: { changes: { state: { old, new: to } }, reason } }
    }
  })

  it('finds by whatever spelling of the address', async () => {
    const id = await active()
    expect((await feature.service.findByIdentifier(` ${email.toUpperCase()} `))?.id).toBe(id)
    expect(await feature.service.findByIdentifier('nonsense')).toBeUndefined()
  })
})

/** Lets what follows a commit by itself come to its end. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 100))
}
