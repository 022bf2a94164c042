import { beforeEach, describe, expect, it } from '@jest/globals'
import { createRegistrationService } from '../../../src/features/registration/service.ts'
import { canonicalEmail } from '../../../src/platform/email_address.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'
import { createTestAbuse, solve } from '../../support/abuse.ts'

const NOW = new Date('2026-11-01T12:00:00.000Z')
const FROM = { ip: '203.0.113.7', clientId: 'shop', locale: 'fi', fields: [] }
const GOOD = { email: ' Anna@Example.com', password: 'correct horse battery', claims: {} }

describe('Registering', () => {
  let rows: string[]
  let failing: boolean
  let hashes: number
  let profiles: unknown[]
  let asked: readonly (string | undefined)[]
  let service: ReturnType<typeof createRegistrationService>

  beforeEach(() => {
    rows = []
    failing = false
    hashes = 0
    profiles = []
    asked = []
    service = build('optional')
  })

  const clock = { now: () => NOW }
  function build(password: 'optional' | 'required') {
    return createRegistrationService({
      password,
      clock,
      guard: createTestAbuse(createModelKeyValue(clock), clock, { budgets: { address: 60 } }).service.request,
      transaction: async (work) => {
        const before = [...rows]
        try {
          return await work({} as Tx)
        } catch (error) {
          rows = before
          throw error
        }
      },
      readEmail: async (typed) => canonicalEmail(typed),
      isClosed: async (email) => email.endsWith('@closed.example'),
      accounts: {
        createPending: async ({ email, locale, profile }) => {
          profiles.push(profile)
          rows.push(`account ${email} ${locale}`)
          return { accountId: 'A', email, emailVerified: false, active: true, epoch: 0, factors: [] }
        },
      },
      passwords: {
        minLength: 8,
        prepare: async (password, ownWords) => {
          if (password === 'password1') return { ok: false, code: 'password_too_common' }
          hashes++
          asked = ownWords
          if (password === '') return { ok: false, code: 'password_too_short' }
          return { ok: true, hash: `hash of ${password} without ${ownWords.join()}` }
        },
        store: async (accountId, hash) => {
          if (failing) throw new Error('the database is away')
          rows.push(`password ${accountId} ${hash}`)
        },
      },
    })
  }

  it('makes account and password, with the canonical address', async () => {
    expect(await service.register(GOOD, FROM)).toMatchObject({ ok: true, account: { email: 'anna@example.com' } })
    expect(rows).toEqual([
      'account anna@example.com fi',
      'password A hash of correct horse battery without anna@example.com,,,,',
    ])
  })

  it('makes and hashes nothing for an address whose domain has a provider, and says where to go', async () => {
    const registered = await service.register({ ...GOOD, email: 'Anna@closed.example' }, FROM)
    expect(registered).toMatchObject({ ok: false, elsewhere: 'anna@closed.example' })
    expect([rows, hashes]).toEqual([[], 0])
  })

  it('makes both or nothing (F15)', async () => {
    failing = true
    await expect(service.register(GOOD, FROM)).rejects.toThrow('away')
    expect(rows).toEqual([])
  })

  it.each([
    ['an address that is none', { ...GOOD, email: 'anna@example.com, evil@example.net' }, 'email_invalid', 'email'],
    ['a refused password', { ...GOOD, password: 'password1' }, 'password_too_common', 'password'],
  ])('says what is wrong with %s and makes nothing', async (_, typed, code, field) => {
    expect(await service.register(typed, FROM)).toMatchObject({ ok: false, code, field })
    expect(rows).toEqual([])
  })

  it('lets one address register so often in ten minutes, and hashes nothing over it', async () => {
    const register = async (i: number) => {
      const typed = { ...GOOD, email: `anna${i}@example.com` }
      const first = await service.register(typed, FROM)
      if (first.ok || first.challenge === undefined) return first
      return service.register(typed, { ...FROM, proof: solve(first.challenge) })
    }
    for (let i = 0; i < 60; i++) expect((await register(i)).ok).toBe(true)
    hashes = 0
    expect(await register(60)).toEqual({ ok: false, code: 'too_many_requests', retryAfter: 600 })
    expect(hashes).toBe(0)
    expect((await service.register(GOOD, { ...FROM, ip: '198.51.100.1' })).ok).toBe(true)
  })

  it('of one e-mail address asks for a proof from the sixth on, and never makes its owner wait (A38)', async () => {
    for (let i = 0; i < 5; i++) expect((await service.register(GOOD, { ...FROM, ip: `203.0.113.${i}` })).ok).toBe(true)
    const held = await service.register(GOOD, FROM)
    expect(held).toMatchObject({ ok: false, code: 'challenge' })
    if (held.ok || held.challenge === undefined) throw new Error('no challenge')
    // A form that comes back for its password brings the next puzzle along.
    const weak = await service.register({ ...GOOD, password: 'password1' }, { ...FROM, proof: solve(held.challenge) })
    if (weak.ok || weak.challenge === undefined) throw new Error('no challenge')
    expect(weak.code).toBe('password_too_common')
    expect((await service.register(GOOD, { ...FROM, proof: solve(weak.challenge) })).ok).toBe(true)
  })

  it('makes an account without a password when none is typed, and hashes nothing', async () => {
    expect(await service.register({ ...GOOD, password: '' }, FROM)).toMatchObject({ ok: true, hasPassword: false })
    expect([rows, hashes]).toEqual([['account anna@example.com fi'], 0])
    expect(await service.register(GOOD, FROM)).toMatchObject({ ok: true, hasPassword: true })
  })

  it('takes blanks for a password, not for none', async () => {
    await service.register({ ...GOOD, password: '  ' }, FROM)
    expect(hashes).toBe(1)
  })

  it('asks for a password where one is required', async () => {
    expect(await build('required').register({ ...GOOD, password: '' }, FROM)).toMatchObject({
      ...{ ok: false, code: 'password_too_short', field: 'password' },
    })
    expect(rows).toEqual([])
  })

  describe('with the fields of a client', () => {
    const fields = [
      { claim: 'given_name', required: true },
      { claim: 'birthdate', required: false },
      { claim: 'zoneinfo', required: false },
    ]
    const register = (claims: { [claim: string]: string }, more = {}) =>
      service.register({ ...GOOD, ...more, claims }, { ...FROM, fields })

    it('keeps what is declared and nothing else (A87)', async () => {
      const claims = { given_name: ' Anna ', birthdate: '1990-05-21', zoneinfo: 'europe/helsinki' }
      await register({ ...claims, name: 'x', family_name: 'x', sub: 'x', email_verified: 'true', role: 'admin' })
      expect(profiles).toEqual([{ given_name: 'Anna', birthdate: '1990-05-21', zoneinfo: 'Europe/Helsinki' }])
      expect(asked).toContain('Anna')
    })

    it('keeps nothing of a field that is left empty', async () => {
      await register({ given_name: 'Anna', birthdate: '', zoneinfo: ' ' })
      expect(profiles).toEqual([{ given_name: 'Anna' }])
    })

    it.each([
      [{ given_name: '  ' }, 'claim_required', 'given_name'],
      [{ given_name: 'x'.repeat(201) }, 'claim_too_long', 'given_name'],
      [{ given_name: 'a\u202eb' }, 'claim_invalid', 'given_name'],
      [{ given_name: 'a', birthdate: '2026-11-02' }, 'birthdate_invalid', 'birthdate'],
      [{ given_name: 'a', birthdate: '2025-02-29' }, 'birthdate_invalid', 'birthdate'],
      [{ given_name: 'a', birthdate: '21.5.1990' }, 'birthdate_invalid', 'birthdate'],
      [{ given_name: 'a', zoneinfo: 'Mars/Base' }, 'zoneinfo_invalid', 'zoneinfo'],
    ])('refuses %j', async (claims, code, field) => {
      expect(await register(claims)).toMatchObject({ ok: false, code, field, others: [] })
      expect(rows).toEqual([])
    })

    it('takes a name of 200 characters and a birthday of today', async () => {
      expect((await register({ given_name: 'x'.repeat(200), birthdate: '2026-11-01' })).ok).toBe(true)
    })

    it('names all that is wrong at once', async () => {
      expect(await register({ birthdate: 'x' }, { email: 'nobody' })).toEqual({
        ...{ ok: false, code: 'email_invalid', field: 'email' },
        others: [
          { code: 'claim_required', field: 'given_name' },
          { code: 'birthdate_invalid', field: 'birthdate' },
        ],
      })
    })
  })
})
