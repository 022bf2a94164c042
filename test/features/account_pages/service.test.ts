import { beforeEach, describe, expect, it } from '@jest/globals'
import { AppError } from '../../../src/errors.ts'
import type { Fact } from '../../../src/events.ts'
import { profileSchema } from '../../../src/features/account_pages/schema.ts'
import { createAccountActs } from '../../../src/features/account_pages/service.ts'
import type { AccountPagesDeps } from '../../../src/features/account_pages/types.ts'
import type { SignedIn } from '../../../src/features/account_sign_in/types.ts'
import type { CodeRequest } from '../../../src/features/email_codes/types.ts'
import type { Checked } from '../../../src/platform/one_time_codes.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { fakeNotices } from '../../support/notices.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const TX = {} as Tx
const SENDER = { ip: '192.0.2.1', locale: 'en' }

const me: SignedIn = {
  accountId: 'ann',
  sessionUid: 'here',
  authTime: NOW,
  acr: undefined,
  account: {
    ...{ accountId: 'ann', email: 'ann@example.com', emailVerified: true, active: true, epoch: 0, factors: [] },
    ...{ name: 'Ann', locale: 'fi' },
  },
}

const canonicalEmail = (input: unknown) =>
  String(input).includes('@') ? String(input).trim().toLowerCase() : undefined

describe('acts of the account pages', () => {
  let log: unknown[]
  let facts: Fact[]
  let stored: Map<string, string>
  let sent: CodeRequest[]
  let profile: { [claim: string]: unknown }
  let checked: Checked
  let verified: { ok: true } | { ok: false; retryAfter?: number }
  let changeEmail: AccountPagesDeps['accounts']['changeEmail']
  let resend: () => Promise<number | undefined>
  let acts: ReturnType<typeof createAccountActs>

  beforeEach(() => {
    log = []
    facts = []
    stored = new Map()
    sent = []
    profile = {}
    checked = 'right'
    verified = { ok: true }
    changeEmail = async (_, email) => {
      log.push(['email', email])
      return { ...me.account, email }
    }
    resend = async () => undefined
    const deps: AccountPagesDeps = {
      realms: { closes: async () => false, closesAddress: async (to) => to.endsWith('@closed.example') },
      transaction: async (work) => {
        log.push('begin')
        const result = await work(TX)
        log.push('commit')
        return result
      },
      outbox: {
        record: async (recorded, tx) => {
          expect(tx).toBe(TX)
          facts.push(...recorded)
        },
        wake: () => {},
      },
      clock: { now: () => NOW },
      notices: fakeNotices({ now: () => NOW }, facts),
      ownClientId: 'genkan-account',
      agents: {
        lastUses: async () => new Map(),
        delegations: async () => [],
        takeBack: async () => false,
        allowAgain: async () => false,
      },
      approvals: { countOpen: async () => 0 },
      kv: {
        get: async (key) => stored.get(key),
        set: async (key, value) => void stored.set(key, value),
        delete: async (key) => void stored.delete(key),
      },
      accounts: {
        find: async () => ({ profile }),
        update: async (accountId, changes) => log.push(['update', accountId, changes]),
        changeEmail: (...change) => changeEmail(...change),
        remove: async (accountId, also) => {
          await also(TX)
          log.push(['remove', accountId])
          return true
        },
        canonicalEmail,
      },
      readEmail: async (typed) => canonicalEmail(typed),
      passwords: {
        verifyAccount: async (accountId, password, from) => {
          log.push(['verify', accountId, password, from])
          return verified
        },
        prepare: async (password) =>
          password.length < 8 ? { ok: false, code: 'password_too_short' } : { ok: true, hash: `hash of ${password}` },
        store: async (accountId, hash) => log.push(['store', accountId, hash]),
        isSet: async () => true,
        setFirst: async (account, password, also) => {
          if (password.length < 8) return { ok: false, code: 'password_too_short' }
          log.push(['first', account.accountId, password])
          await also(TX)
          return { ok: true }
        },
      },
      emailCodes: {
        resend: async (request) => {
          sent.push(request)
          return resend()
        },
        resendIn: async () => 12,
        check: async (target, code) => {
          log.push(['check', target.to, target.cid, code])
          return checked
        },
      },
      sessions: {
        list: async () => [
          {
            ...{ uid: 'there', accountId: 'ann', amr: [], transient: false, createdAt: NOW, authenticatedAt: NOW },
            ...{ seenAt: NOW, device: { browser: '', system: '', kind: 'unknown' as const } },
            ...{ methods: ['pwd'], clientIds: ['web', 'genkan-account', 'gone', 'spa'] },
          },
        ],
        connectedClients: async () => [
          { clientId: 'genkan-account', offline: false, since: NOW, scopes: ['openid'] },
          { clientId: 'spa', offline: false, since: NOW, scopes: ['openid', 'email'] },
          { clientId: 'web', offline: true, since: NOW, scopes: ['openid'] },
        ],
        end: async (uid, reason) => log.push(['end', uid, reason]),
        endAll: async (accountId, reason, options, tx) => {
          log.push(['end all', accountId, reason, options])
          expect(tx === undefined || tx === TX).toBe(true)
          return async () => void log.push('effects')
        },
        revokeClient: async (_, clientId) => clientId === 'web',
      },
      consents: {
        listByAccount: async () => [
          {
            ...{ accountId: 'ann', clientId: 'web', scopes: ['openid', 'phone'], claims: [], resources: {} },
            ...{ grantedAt: new Date('2026-10-01T00:00:00.000Z'), updatedAt: NOW },
          },
        ],
        detailsByAccount: async () => [],
        permissionsOf: ({ scopes }) => scopes.map((name) => ({ name, isNew: true, resource: '' })),
      },
      clients: {
        view: async (clientId) => (clientId === 'web' ? { clientId, name: 'Web shop', firstParty: false } : undefined),
      },
    }
    acts = createAccountActs(deps)
  })

  const mails = () => facts.filter(({ type }) => type === 'mail.requested').map(({ sealed }) => sealed)

  describe('profile', () => {
    const form = {
      name: ' Ann  ',
      given_name: '',
      family_name: '',
      nickname: '',
      birthdate: '',
      zoneinfo: '',
      phone_number: '',
      website: '',
    }

    it('replaces what the page shows and keeps other claims', async () => {
      profile = { name: 'Old', nickname: 'Annie', gender: 'female', phone_number: '+358401234567' }
      await acts.saveProfile(me, profileSchema('2026-11-01').parse({ ...form, phone_number: '+358 40 123 4567' }))
      expect(log).toContainEqual([
        'update',
        'ann',
        { profile: { gender: 'female', name: 'Ann', phone_number: '+358401234567' } },
      ])
    })

    it('a changed number is not proven any more', async () => {
      profile = { phone_number: '+358401234567', phone_number_verified: true }
      await acts.saveProfile(me, profileSchema('2026-11-01').parse({ ...form, phone_number: '+358401234567' }))
      await acts.saveProfile(me, profileSchema('2026-11-01').parse({ ...form, phone_number: '+358409999999' }))
      const saved = log.filter((entry) => Array.isArray(entry)).map(([, , changes]) => changes)
      expect(saved).toEqual([
        { profile: { name: 'Ann', phone_number: '+358401234567', phone_number_verified: true } },
        { profile: { name: 'Ann', phone_number: '+358409999999' } },
      ])
    })

    it('A87: fields that are nobody’s to write are dropped', () => {
      const extra = {
        role: 'admin',
        orgId: 'x',
        sub: 'bob',
        email_verified: 'true',
        id: 'bob',
        epoch: '0',
        locale: 'x',
      }
      expect(Object.keys(profileSchema('2026-11-01').parse({ ...form, ...extra })).sort()).toEqual(
        Object.keys(form).sort(),
      )
    })

    it.each([
      ['website', 'javascript:alert(1)'],
      ['website', 'data:text/html,x'],
      ['website', 'example.com'],
      ['birthdate', '2026-02-30'],
      ['birthdate', '1990-13-01'],
      ['birthdate', 'yesterday'],
      ['phone_number', '12'],
      ['phone_number', '040 1234567'],
      ['phone_number', '+358<script>'],
      ['name', 'a\u202eb'],
      ['name', 'a\u0000b'],
      ['name', 'two\nlines'],
      ['name', 'x'.repeat(201)],
      ['birthdate', '2026-11-02'],
      ['birthdate', '1990-02-29'],
      ['zoneinfo', 'Europe/Atlantis'],
      ['zoneinfo', '+02:00'],
    ])('refuses %s %j', (field, value) => {
      expect(profileSchema('2026-11-01').safeParse({ ...form, [field]: value }).success).toBe(false)
    })

    it.each([
      ['birthdate', '1990-05-21'],
      ['birthdate', '2026-11-01'],
      ['zoneinfo', 'Europe/Helsinki'],
      ['birthdate', '0000-02-29'],
      ['name', 'Zoë O’Brien-Ängström 山田'],
      ['website', 'https://example.com/~ann'],
    ])('takes %s %j', (field, value) => {
      expect(profileSchema('2026-11-01').safeParse({ ...form, [field]: value }).data).toMatchObject({ [field]: value })
    })
  })

  describe('first password', () => {
    it('is set, stated and told to the person', async () => {
      expect(await acts.setPassword(me, 'long enough', 'en')).toMatchObject({ ok: true })
      expect(log).toContainEqual(['first', 'ann', 'long enough'])
      expect(facts[0]).toMatchObject({ type: 'account.password_changed', accountId: 'ann', data: { reason: 'first' } })
      expect(mails()).toMatchObject([{ to: 'ann@example.com', locale: 'fi', values: { event: 'password_set' } }])
    })

    it('that is refused marks its field, and nothing is stated', async () => {
      expect(await acts.setPassword(me, 'short', 'en')).toEqual({
        ...{ ok: false, code: 'password_too_short', field: 'password' },
      })
      expect(facts).toEqual([])
    })
  })

  describe('password', () => {
    const form = { current: 'old one', password: 'correct horse', others: true }

    it('A54: stores it, tells the person and ends all other sessions in one transaction, then acts on it', async () => {
      expect(await acts.changePassword(me, form, SENDER)).toMatchObject({ ok: true })
      expect(log.slice(1)).toEqual([
        'begin',
        ['store', 'ann', 'hash of correct horse'],
        ['end all', 'ann', 'password_changed', { exceptUid: 'here' }],
        'commit',
        'effects',
      ])
      expect(facts[0]).toEqual({ type: 'account.password_changed', accountId: 'ann' })
      expect(mails()).toEqual([
        {
          to: 'ann@example.com',
          template: 'accounts/security_notice',
          locale: 'fi',
          values: { event: 'password_changed', at: expect.stringContaining('2026'), url: 'https://id.example/account' },
        },
      ])
    })

    it('leaves other sessions alone when asked to', async () => {
      await acts.changePassword(me, { ...form, others: false }, SENDER)
      expect(log).not.toContain('effects')
    })

    it('a wrong current password changes nothing', async () => {
      verified = { ok: false }
      expect(await acts.changePassword(me, form, SENDER)).toEqual({
        ...{ ok: false, code: 'current_password_wrong', field: 'current' },
      })
      expect(log).toEqual([['verify', 'ann', 'old one', { ip: '192.0.2.1', clientId: 'genkan-account' }]])
    })

    it('guessing the current password is limited', async () => {
      verified = { ok: false, retryAfter: 60 }
      expect(await acts.changePassword(me, form, SENDER)).toMatchObject({ code: 'too_many_requests', retryAfter: 60 })
    })

    it('the policy decides on the new one', async () => {
      const act = await acts.changePassword(me, { ...form, password: 'short' }, SENDER)
      expect(act).toEqual({ ok: false, code: 'password_too_short', field: 'password' })
      expect(facts).toEqual([])
    })
  })

  describe('e-mail', () => {
    it('sends a code to the new address; nothing changes yet', async () => {
      expect(await acts.startEmailChange(me, ' New@Example.com', SENDER)).toMatchObject({ ok: true })
      expect(sent).toMatchObject([
        { purpose: 'change_email', cid: 'here', to: 'new@example.com', accountId: 'ann', locale: 'en' },
      ])
      expect(sent[0]?.mail).toMatchObject({ to: 'new@example.com', carriesCode: true })
      expect(await acts.pendingEmail(me)).toBe('new@example.com')
      expect([log, facts]).toEqual([[], []])
    })

    it.each([
      ['nonsense', 'email_invalid'],
      ['ANN@example.com', 'email_same'],
      ['ann@closed.example', 'email_of_realm'],
    ])('refuses %s', async (input, code) => {
      expect(await acts.startEmailChange(me, input, SENDER)).toEqual({ ok: false, code, field: 'email' })
      expect(sent).toEqual([])
    })

    it('proving it changes it and tells the old address', async () => {
      await acts.startEmailChange(me, 'new@example.com', SENDER)
      expect(await acts.confirmEmailChange(me, '123456', SENDER)).toMatchObject({ ok: true })
      expect(log).toEqual([
        ['check', 'new@example.com', 'here', '123456'],
        'begin',
        ['email', 'new@example.com'],
        'commit',
      ])
      expect(mails()).toMatchObject([{ to: 'ann@example.com', values: { event: 'email_changed' } }])
      expect(await acts.pendingEmail(me)).toBeUndefined()
    })

    it('A25: a code proves only the address that this session asked for last', async () => {
      await acts.startEmailChange(me, 'mine@example.com', SENDER)
      await acts.startEmailChange(me, 'victim@example.com', SENDER)
      await acts.confirmEmailChange(me, '123456', SENDER)
      expect(log[0]).toEqual(['check', 'victim@example.com', 'here', '123456'])
      const elsewhere = { ...me, sessionUid: 'elsewhere' }
      expect(await acts.confirmEmailChange(elsewhere, '123456', SENDER)).toMatchObject({ code: 'email_change_gone' })
    })

    it('a code dies with a change of the address it was asked from', async () => {
      await acts.startEmailChange(me, 'new@example.com', SENDER)
      await acts.startEmailChange(
        { ...me, account: { ...me.account, email: 'b@example.com' } },
        'new@example.com',
        SENDER,
      )
      expect(sent[0]?.bound).not.toBe(sent[1]?.bound)
    })

    it.each([
      ['wrong' as const, { code: 'code_invalid', field: 'code' }],
      ['used_up' as const, { code: 'code_used_up', field: 'code' }],
      [{ retryAfter: 9 }, { code: 'too_many_requests', retryAfter: 9 }],
    ])('a code that is %j changes nothing', async (outcome, failure) => {
      await acts.startEmailChange(me, 'new@example.com', SENDER)
      checked = outcome
      expect(await acts.confirmEmailChange(me, '000000', SENDER)).toMatchObject({ ok: false, ...failure })
      expect(facts).toEqual([])
      expect(await acts.pendingEmail(me)).toBe('new@example.com')
    })

    it('an address of another account is told only to whoever proved the mailbox', async () => {
      await acts.startEmailChange(me, 'taken@example.com', SENDER)
      expect(sent).toHaveLength(1)
      changeEmail = async () => {
        throw new AppError('already_exists')
      }
      expect(await acts.confirmEmailChange(me, '123456', SENDER)).toEqual({ ok: false, code: 'email_taken' })
      expect(mails()).toEqual([])
    })

    it('too many mails, and too soon ones, are said so', async () => {
      await acts.startEmailChange(me, 'new@example.com', SENDER)
      resend = async () => 20
      expect(await acts.resendEmailCode(me, SENDER)).toEqual({
        ok: false,
        code: 'code_resend_too_soon',
        retryAfter: 20,
      })
      expect(await acts.startEmailChange(me, 'new@example.com', SENDER)).toMatchObject({ ok: true })
      resend = async () => {
        throw new AppError('too_many_requests', { retryAfter: 600 })
      }
      expect(await acts.resendEmailCode(me, SENDER)).toEqual({ ok: false, code: 'too_many_requests', retryAfter: 600 })
      resend = async () => {
        throw new Error('bug')
      }
      await expect(acts.resendEmailCode(me, SENDER)).rejects.toThrow('bug')
    })

    it('can be given up', async () => {
      await acts.startEmailChange(me, 'new@example.com', SENDER)
      await acts.cancelEmailChange(me)
      expect(await acts.resendEmailCode(me, SENDER)).toEqual({ ok: false, code: 'email_change_gone' })
    })
  })

  describe('sessions and clients', () => {
    it('names the clients that a session reached, without these pages themselves', async () => {
      expect(await acts.sessions('ann')).toMatchObject([{ methods: ['pwd'], clients: ['gone', 'spa', 'Web shop'] }])
    })

    it('ends sessions of this account only', async () => {
      expect(await acts.endSession(me, 'there')).toBe(true)
      expect(await acts.endSession(me, 'somebody-elses')).toBe(false)
      expect(log).toEqual([['end', 'there', 'ended_by_account']])
    })

    it('ends all but this one', async () => {
      await acts.endOthers(me)
      expect(log).toEqual([['end all', 'ann', 'ended_by_account', { exceptUid: 'here' }]])
    })

    it('lists clients by consent and by grant, but not these pages themselves', async () => {
      const rows = await acts.clients('ann')
      expect(
        rows.map(({ client, offline, since }) => [client.name, offline, since.toISOString().slice(0, 10)]),
      ).toEqual([
        ['spa', false, '2026-11-01'],
        ['Web shop', true, '2026-10-01'],
      ])
      expect(rows[1]?.permissions.map(({ name }) => name)).toEqual(['openid', 'phone'])
    })

    it('revokes a client of this account; these pages cannot be revoked', async () => {
      expect(await acts.revokeClient(me, 'web')).toBe(true)
      expect(await acts.revokeClient(me, 'other')).toBe(false)
      expect(await acts.revokeClient(me, 'genkan-account')).toBe(false)
    })
  })

  describe('deleting the account', () => {
    it('needs the e-mail typed again', async () => {
      expect(await acts.deleteAccount(me, 'bob@example.com', 'en')).toMatchObject({ code: 'confirmation_wrong' })
      expect(log).toEqual([])
    })

    it('removes it and tells the address', async () => {
      expect(await acts.deleteAccount(me, ' ANN@example.com ', 'en')).toMatchObject({ ok: true })
      expect(log).toEqual([['remove', 'ann']])
      expect(mails()).toMatchObject([{ to: 'ann@example.com', values: { event: 'account_deleted' } }])
      expect(mails()[0]?.values).not.toHaveProperty('url')
    })
  })
})
