import { beforeEach, describe, expect, it } from '@jest/globals'
import { canonicalEmail } from '../../../src/features/accounts/types.ts'
import { createRegistrationService } from '../../../src/features/registration/service.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'

const FROM = { ip: '203.0.113.7', clientId: 'shop', locale: 'fi' }
const GOOD = { email: ' Anna@Example.com', password: 'correct horse battery' }

describe('Registering', () => {
  let rows: string[]
  let failing: boolean
  let hashes: number
  let service: ReturnType<typeof createRegistrationService>

  beforeEach(() => {
    rows = []
    failing = false
    hashes = 0
    service = createRegistrationService({
      kv: createModelKeyValue({ now: () => new Date(0) }),
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
      accounts: {
        createPending: async ({ email, locale }) => {
          rows.push(`account ${email} ${locale}`)
          return { accountId: 'A', email, emailVerified: false, active: true, epoch: 0 }
        },
      },
      passwords: {
        minLength: 8,
        prepare: async (password, ownWords) => {
          if (password === 'password1') return { ok: false, code: 'password_too_common' }
          hashes++
          return { ok: true, hash: `hash of ${password} without ${ownWords.join()}` }
        },
        store: async (accountId, hash) => {
          if (failing) throw new Error('the database is away')
          rows.push(`password ${accountId} ${hash}`)
        },
      },
    })
  })

  it('makes account and password, with the canonical address', async () => {
    expect(await service.register(GOOD, FROM)).toMatchObject({ ok: true, account: { email: 'anna@example.com' } })
    expect(rows).toEqual([
      'account anna@example.com fi',
      'password A hash of correct horse battery without anna@example.com',
    ])
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
    expect(await service.register(typed, FROM)).toEqual({ ok: false, code, field })
    expect(rows).toEqual([])
  })

  it('lets one address register so often in ten minutes, and hashes nothing over it', async () => {
    for (let i = 0; i < 60; i++) await service.register(GOOD, FROM)
    hashes = 0
    expect(await service.register(GOOD, FROM)).toEqual({ ok: false, code: 'too_many_requests', retryAfter: 600 })
    expect(hashes).toBe(0)
    expect((await service.register(GOOD, { ...FROM, ip: '198.51.100.1' })).ok).toBe(true)
  })
})
