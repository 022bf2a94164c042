import { beforeEach, describe, expect, it } from '@jest/globals'
import { AppError } from '../../../src/errors.ts'
import type { Fact } from '../../../src/events.ts'
import type { Credential } from '../../../src/features/passwords/types.ts'
import { createRecoveryService } from '../../../src/features/recovery/service.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { fakeNotices } from '../../support/notices.ts'

const ASKED = { cid: 'c1', uid: 'u1', email: 'anna@example.com' }
const FROM = { ip: '203.0.113.7', locale: 'en' }

describe('Recovery', () => {
  let credential: Credential | undefined
  let facts: Fact[]
  let acts: string[]
  let taken: boolean
  let service: ReturnType<typeof createRecoveryService>
  const view = () => credential?.account

  beforeEach(() => {
    const account = {
      ...{ accountId: 'A', email: 'anna@example.com', emailVerified: true, active: true, epoch: 3, factors: [] },
      ...{ name: 'Anna', locale: 'fi' },
    }
    credential = { account, hash: 'old', changedAt: new Date(1) }
    facts = []
    acts = []
    taken = false
    service = createRecoveryService({
      transaction: (work) => work({} as Tx),
      outbox: {
        record: async (stated) => {
          facts.push(...stated)
        },
        wake: () => {},
      },
      issuer: 'https://id.example',
      notices: fakeNotices({ now: () => new Date('2026-11-01T12:00:00.000Z') }, facts),
      accounts: {
        createPending: async ({ email }) => {
          acts.push(`create ${email}`)
          credential = { ...(credential as Credential), account: { ...accountOf(), accountId: 'B' } }
          return accountOf()
        },
        proveEmail: async (id, email) => {
          if (taken) throw new AppError('already_exists')
          acts.push(`prove ${id} ${email}`)
          return view()
        },
        view: async () => view(),
        publish: async (id) => {
          acts.push(`publish ${id}`)
        },
      },
      passwords: {
        findByEmail: async () => credential,
        findForUpdate: async () => credential,
        prepare: async (password, ownWords) =>
          password === 'password1'
            ? { ok: false, code: 'password_too_common' }
            : { ok: true, hash: `${password} without ${ownWords.join(', ')}` },
        store: async (id, hash) => {
          acts.push(`store ${id} ${hash}`)
        },
      },
      sessions: {
        endAll: async (id, reason) => {
          acts.push(`end ${id} ${reason}`)
          if (credential !== undefined) credential = { ...credential, account: { ...credential.account, epoch: 4 } }
          return async () => {
            acts.push('after the commit')
          }
        },
      },
    })
  })

  const accountOf = (): NonNullable<ReturnType<typeof view>> => {
    const account = view()
    if (account === undefined) throw new Error('no account')
    return account
  }
  const change = async (password = 'violet tangent 8') => {
    const { stamp } = await service.target(ASKED)
    return service.newPassword(accountOf(), stamp, password, { locale: 'en' })
  }

  it('asks for a mail to the address of the account, with a link of ours', async () => {
    const { mail, ...request } = await service.request(ASKED, FROM)
    expect(request).toMatchObject({ purpose: 'recover', cid: 'c1', to: 'anna@example.com', accountId: 'A' })
    expect(mail).toMatchObject({ to: 'anna@example.com', template: 'recovery/recover', carriesCode: true })
    expect(mail.values('123456')).toEqual({ url: 'https://id.example/interaction/u1/recover_code?code=123456' })
  })

  it.each([
    ['unknown', undefined],
    ['disabled', false],
  ])('asks for a mail to nobody when the account is %s, of the same shape', async (_, active) => {
    const known = await service.request(ASKED, FROM)
    const of = accountOf()
    credential = active === undefined ? undefined : { account: { ...of, active }, hash: 'old', changedAt: new Date(1) }
    const request = await service.request(ASKED, FROM)
    expect(request).toMatchObject({ to: 'anna@example.com', bound: 'none', mail: { to: null } })
    expect(Object.keys(request)).toEqual(Object.keys(known))
    expect((await service.target(ASKED)).account).toBeUndefined()
  })

  it('stores the password, ends everything, tells the person, and gives the account with its new epoch', async () => {
    expect(await change()).toMatchObject({ ok: true, account: { accountId: 'A', epoch: 4 } })
    expect(acts).toEqual([
      'store A violet tangent 8 without anna@example.com, Anna',
      'end A password_recovered',
      'publish A',
      'after the commit',
    ])
    expect(facts).toMatchObject([
      { type: 'account.password_changed', accountId: 'A', data: { reason: 'recovery' } },
      {
        type: 'mail.requested',
        sealed: {
          to: 'anna@example.com',
          template: 'accounts/security_notice',
          locale: 'fi',
          values: { event: 'recovered' },
        },
      },
    ])
    expect(JSON.stringify(facts.map(({ data }) => data))).not.toContain('anna@')
  })

  it('sends the code in the language of the account, else of the page', async () => {
    expect(await service.request(ASKED, { ...FROM, locale: 'th' })).toMatchObject({ locale: 'fi' })
    credential = { account: { ...accountOf(), locale: undefined }, hash: 'old', changedAt: undefined }
    expect(await service.request(ASKED, { ...FROM, locale: 'th' })).toMatchObject({ locale: 'th' })
    credential = undefined
    expect(await service.request(ASKED, { ...FROM, locale: 'th' })).toMatchObject({ locale: 'th' })
  })

  it('puts a new account in the place of a pending one (A01, A09)', async () => {
    credential = { account: { ...accountOf(), emailVerified: false }, hash: 'old', changedAt: undefined }
    expect(await change()).toMatchObject({ ok: true, account: { accountId: 'B' } })
    expect(acts.slice(0, 3)).toEqual([
      'create anna@example.com',
      'prove B anna@example.com',
      'store B violet tangent 8 without anna@example.com, Anna',
    ])
  })

  it('changes nothing for a refused password', async () => {
    expect(await change('password1')).toEqual({ ok: false, code: 'password_too_common' })
    expect(acts).toEqual([])
  })

  it.each([
    ['the password was changed', () => ({ changedAt: new Date(2) })],
    ['everything was ended', () => ({ account: { ...accountOf(), epoch: 9 } })],
    ['the address was changed', () => ({ account: { ...accountOf(), email: 'new@example.com' } })],
    ['the account was disabled', () => ({ account: { ...accountOf(), active: false } })],
  ])('is stale when %s since the code was used (A24)', async (_, changed) => {
    const { stamp } = await service.target(ASKED)
    const account = accountOf()
    credential = { ...(credential as Credential), ...changed() }
    expect(await service.newPassword(account, stamp, 'violet tangent 8', { locale: 'en' })).toEqual({
      ok: false,
      code: 'stale',
    })
    expect(acts).toEqual([])
  })

  it('is stale when another account proved the address in the same moment', async () => {
    credential = { account: { ...accountOf(), emailVerified: false }, hash: 'old', changedAt: undefined }
    taken = true
    expect(await change()).toEqual({ ok: false, code: 'stale' })
  })
})
