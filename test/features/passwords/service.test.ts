import { readFileSync } from 'node:fs'
import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Fact } from '../../../src/events.ts'
import { PASSWORD_CODES } from '../../../src/features/passwords/errors.ts'
import { createPasswordService } from '../../../src/features/passwords/service.ts'
import type { Credential } from '../../../src/features/passwords/types.ts'
import { weaknessOf } from '../../../src/platform/password_strength.ts'
import type { Tx } from '../../../src/platform/postgres.ts'
import { createModelKeyValue } from '../../contracts/key_value_model.ts'
import { createTestAbuse, solve } from '../../support/abuse.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const FROM = { ip: '203.0.113.7', clientId: 'demo-web' }
const GOOD = 'correct horse battery'

describe('Verifying a password', () => {
  let time: number
  let credential: Credential | undefined
  let facts: Fact[]
  let hashed: string[]
  let verified: number
  let outdated: boolean
  let rehashed: string[]
  let results: string[]
  let kv: ReturnType<typeof createModelKeyValue>
  let service: ReturnType<typeof createPasswordService>
  let failures: Map<string, number>
  let known: string[]
  let breached: string[]
  const account = {
    accountId: 'A',
    email: 'anna@example.com',
    emailVerified: true,
    active: true,
    epoch: 0,
    factors: [],
  }

  beforeEach(() => {
    time = START
    credential = { account, hash: `hash:${GOOD}`, changedAt: new Date(START) }
    facts = []
    hashed = []
    verified = 0
    outdated = false
    rehashed = []
    results = []
    failures = new Map()
    known = []
    breached = []
    const clock = { now: () => new Date(time) }
    kv = createModelKeyValue(clock)
    const find = async () => credential
    service = createPasswordService({
      repository: {
        findProven: find,
        findTried: async (_email, name) => ({ credential, failures: failures.get(name) ?? 0 }),
        failuresAt: async (name) => failures.get(name) ?? 0,
        countFailure: async (name) => void failures.set(name, (failures.get(name) ?? 0) + 1),
        forgetFailures: async (name) => void failures.delete(name),
        purgeFailures: async () => 0,
        findByEmail: find,
        findByAccount: find,
        findForUpdate: find,
        store: async () => {},
        noteBreachCheck: async () => true,
        rehash: async (_id, before, hash) => {
          rehashed.push(`${before} -> ${hash}`)
        },
      },
      passwordHash: {
        hash: async (password) => {
          hashed.push(password)
          return `hash:${password}`
        },
        verify: async (hash, password) => {
          verified++
          await new Promise((resolve) => setImmediate(resolve))
          return hash === `hash:${password}`
        },
        verifyDummy: async () => {
          verified++
          return false
        },
        needsRehash: () => outdated,
      },
      guard: createTestAbuse(kv, clock, {
        budgets: { address: 100, subnet: 300 },
        isKnownDevice: async (identifier, token) => known.includes(`${identifier} ${token}`),
      }).service.signIn,
      transaction: (work) => work({} as Tx),
      outbox: {
        record: async (stated) => {
          facts.push(...stated)
        },
        insert: (stated) => {
          facts.push(...stated)
          return { sql: '', bindings: [] }
        },
      },
      clock,
      mac: (value) => `mac(${value})`,
      settings: {
        minLength: 8,
        brandWords: async () => ['genkan'],
        perIdentifier: 10,
      },
      weaknessOf: async (password, own) => weaknessOf(password, own),
      isBreached: async (password) => breached.includes(password),
      signIn: (result) => results.push(result),
    })
  })

  type From = typeof FROM & { readonly deviceToken?: string }
  const once = (password: string, identifier = 'anna@example.com', from: From & { readonly proof?: string } = FROM) =>
    service.verifyIdentifier(identifier, password, from)

  /** As a browser does it: a puzzle that comes back is solved, and the password sent again. */
  async function verify(password: string, identifier = 'anna@example.com', from: From = FROM) {
    const verified = await once(password, identifier, from)
    if (verified.ok || verified.challenge === undefined) return verified
    if (verified.rejected) return { ok: false, rejected: true }
    const again = await once(password, identifier, { ...from, proof: solve(verified.challenge) })
    return again.ok || !again.rejected ? again : { ok: false, rejected: true }
  }

  it('gives the account of the right password', async () => {
    expect(await verify(GOOD)).toEqual({ ok: true, account })
    expect(facts).toEqual([])
  })

  it('stores the first password of an account without one, with its facts', async () => {
    credential = { account, hash: undefined, changedAt: undefined }
    const set: Fact = { type: 'account.password_changed', accountId: 'A' }
    const also = async () => void facts.push(set)
    expect(await service.setFirst(account, 'password1', also)).toEqual({ ok: false, code: 'password_too_common' })
    expect(facts).toEqual([])
    expect(await service.isSet('A')).toBe(false)
    expect(await service.setFirst(account, GOOD, also)).toEqual({ ok: true })
    expect(facts).toEqual([set])
  })

  it.each([
    ['has a password', () => credential],
    ['is gone', () => undefined],
  ])('stores no first password for an account that %s', async (_, found) => {
    credential = found()
    expect(await service.setFirst(account, GOOD, async () => {})).toEqual({ ok: false, code: 'password_set_already' })
  })

  it('takes composed and decomposed spellings of one password', async () => {
    const prepared = await service.prepare('brûlée à la crème', [])
    credential = { account, hash: prepared.ok ? prepared.hash : '', changedAt: undefined }
    expect((await verify('brûlée à la crème'.normalize('NFD'))).ok).toBe(true)
    expect((await verify('brûlée à la crème'.normalize('NFC'))).ok).toBe(true)
    expect((await verify('brulee a la creme')).ok).toBe(false)
  })

  it('verifies exactly what was typed: no trimming, no folding of case, no cutting off', async () => {
    for (const wrong of [` ${GOOD}`, `${GOOD} `, GOOD.toUpperCase(), GOOD.slice(0, -1), `${GOOD}x`]) {
      expect(await verify(wrong)).toEqual({ ok: false, rejected: true })
      await kv.delete('{sign_in}:id:mac(anna@example.com)')
    }
  })

  it.each([
    ['unknown', () => undefined],
    ['without a password', (known: Credential) => ({ ...known, hash: undefined })],
    ['disabled', (known: Credential) => ({ ...known, account: { ...known.account, active: false } })],
  ] as const)('answers and costs the same for an account that is %s (A31, A32)', async (_, change) => {
    const wrong = await verify('something else')
    const cost = { verified, facts: facts.length }
    credential = change({ account, hash: `hash:${GOOD}`, changedAt: undefined })
    ;[verified, facts] = [0, []]
    expect(await verify(GOOD)).toEqual(wrong)
    expect({ verified, facts: facts.length }).toEqual(cost)
  })

  it('states a rejection, of whom it was where that is known, and never the address', async () => {
    await verify('wrong')
    credential = undefined
    await verify('wrong', 'ghost@example.com')
    expect(facts).toEqual([
      { type: 'password.rejected', accountId: 'A', clientId: 'demo-web' },
      { type: 'password.rejected', accountId: undefined, clientId: 'demo-web' },
    ])
    expect(results).toEqual(['failure', 'failure'])
  })

  it.each([
    ['an empty', ''],
    ['one of 1,025 bytes', 'x'.repeat(1025)],
    ['one of a megabyte', 'x'.repeat(1_048_576)],
    ['one of 257 characters', 'x'.repeat(257)],
  ])('refuses %s password unhashed, and counts it (A46, A102)', async (_, password) => {
    for (let i = 0; i < 10; i++) expect(await verify(password)).toEqual({ ok: false, rejected: true })
    expect(verified).toBe(0)
    expect(await verify(GOOD)).toEqual({ ok: false, retryAfter: 600 })
  })

  it('replaces a hash of yesterday’s parameters after a success only', async () => {
    outdated = true
    await verify('wrong')
    expect(rehashed).toEqual([])
    await verify(GOOD)
    expect(rehashed).toEqual([`hash:${GOOD} -> hash:${GOOD}`])
  })

  describe('attacks', () => {
    it('A34: of 500 wrong and one right at once, as many are verified as the limit allows, and the right one is held', async () => {
      const tries = Array.from({ length: 500 }, (_, i) => verify(`wrong ${i}`))
      const right = verify(GOOD)
      await Promise.all(tries)
      expect(await right).toEqual({ ok: false, retryAfter: 600 })
      expect(verified).toBe(10)
    })

    it('A38: a device that the account knows has tries of its own, which strangers cannot use up', async () => {
      for (let i = 0; i < 10; i++) await verify('wrong', undefined, { ...FROM, ip: `198.51.100.${i}` })
      const mine = { ...FROM, deviceToken: 'my phone' }
      expect(await verify(GOOD, undefined, mine)).toEqual({ ok: false, retryAfter: 600 })
      known = ['anna@example.com my phone']
      for (let i = 0; i < 9; i++) expect(await verify('wrong', undefined, mine)).toEqual({ ok: false, rejected: true })
      expect((await verify(GOOD, undefined, mine)).ok).toBe(true)
      for (let i = 0; i < 10; i++) await verify('wrong', undefined, mine)
      expect(await verify(GOOD, undefined, mine)).toEqual({ ok: false, retryAfter: 600 })
      // Another device, and the same one at another account, are strangers.
      expect((await verify(GOOD, undefined, { ...FROM, deviceToken: 'other' })).ok).toBe(false)
    })

    it('A38: a known device is asked for no proof, and gets in from an address that is used up', async () => {
      for (let i = 0; i < 100; i++) await verify('wrong', `v${i}@example.com`)
      known = ['anna@example.com my phone']
      expect(await verify(GOOD)).toEqual({ ok: false, retryAfter: 600 })
      expect((await once(GOOD, undefined, { ...FROM, deviceToken: 'my phone' })).ok).toBe(true)
    })

    it('a plain sign-in costs one look at the limits and asks for no device', async () => {
      const calls: string[] = []
      const { hit, delete: forget } = kv
      kv.hit = (...limits) => {
        calls.push('hit')
        return hit(...limits)
      }
      kv.delete = (key) => {
        calls.push('delete')
        return forget(key)
      }
      expect((await once(GOOD, undefined, { ...FROM, deviceToken: 'my phone' })).ok).toBe(true)
      expect(calls).toEqual(['hit', 'delete'])
    })

    it('after 90 failures in a row, as ten may be under way, strangers have one try an hour until a success', async () => {
      failures.set('mac(anna@example.com)', 91)
      expect(await verify('wrong')).toEqual({ ok: false, rejected: true })
      expect(await verify(GOOD)).toEqual({ ok: false, retryAfter: 3600 })
      known = ['anna@example.com my phone']
      expect((await verify(GOOD, undefined, { ...FROM, deviceToken: 'my phone' })).ok).toBe(true)
      expect(failures.size).toBe(0)
      expect((await verify(GOOD)).ok).toBe(true)
    })

    it('100 guesses at once with 90 failures behind them make no more than a hundred', async () => {
      failures.set('mac(anna@example.com)', 90)
      await Promise.all(Array.from({ length: 100 }, (_, i) => verify(`wrong ${i}`)))
      expect(failures.get('mac(anna@example.com)')).toBeLessThanOrEqual(100)
      time += 600_000
      await Promise.all(Array.from({ length: 100 }, (_, i) => verify(`wrong ${i}`)))
      expect(failures.get('mac(anna@example.com)')).toBeLessThanOrEqual(101)
    })

    it('failures are counted alike for an account, one without a password, and none', async () => {
      const counts: number[] = []
      for (const found of [credential, { account, hash: undefined, changedAt: undefined }, undefined]) {
        credential = found
        failures.clear()
        for (let i = 0; i < 3; i++) await verify('wrong')
        counts.push(failures.get('mac(anna@example.com)') ?? 0)
        await kv.delete('{sign_in}:id:mac(anna@example.com)')
      }
      expect(counts).toEqual([3, 3, 3])
    })

    it('A34: the limit holds for the right password too, until its window ends', async () => {
      for (let i = 0; i < 10; i++) await verify('wrong')
      time += 599_000
      expect(await verify(GOOD)).toEqual({ ok: false, retryAfter: 1 })
      time += 1000
      expect((await verify(GOOD)).ok).toBe(true)
    })

    it('A35: every way to the same password shares the limit', async () => {
      for (let i = 0; i < 10; i++) await verify('wrong')
      expect(await service.verifyAccount('A', GOOD, FROM)).toEqual({ ok: false, retryAfter: 600 })
    })

    it('a limited try says nothing and costs no hash, known or unknown', async () => {
      for (let i = 0; i < 10; i++) await verify('wrong')
      verified = 0
      const known = await verify(GOOD)
      credential = undefined
      expect(await verify(GOOD)).toEqual(known)
      expect(verified).toBe(0)
      expect(results.slice(-2)).toEqual(['limited', 'limited'])
    })

    it('spraying one password over many accounts stops at the limit of the address, successes not counted', async () => {
      for (let i = 0; i < 150; i++) await verify(GOOD, `friend${i}@example.com`)
      for (let i = 0; i < 100; i++)
        expect(await verify('wrong', `v${i}@example.com`)).toEqual({ ok: false, rejected: true })
      expect(await verify('wrong', 'v100@example.com')).toEqual({ ok: false, retryAfter: 600 })
      expect((await verify(GOOD, 'v101@example.com', { ...FROM, ip: '198.51.100.9' })).ok).toBe(true)
    })

    it('an IPv6 subscriber is one address, whichever of its many is used', async () => {
      for (let i = 0; i < 100; i++)
        await verify('wrong', `v${i}@example.com`, { ...FROM, ip: `2001:db8:1:2::${i + 1}` })
      const blocked = await verify('wrong', 'w@example.com', { ...FROM, ip: '2001:db8:1:2:aaaa:bbbb:cccc:dddd' })
      expect(blocked).toEqual({ ok: false, retryAfter: 600 })
    })

    it('a success forgets earlier mistakes', async () => {
      for (let i = 0; i < 9; i++) await verify('wrong')
      await verify(GOOD)
      for (let i = 0; i < 9; i++) expect(await verify('wrong')).toEqual({ ok: false, rejected: true })
      expect((await verify(GOOD)).ok).toBe(true)
    })

    it('no address is readable in the names of counters', async () => {
      const { hit } = kv
      const keys: string[] = []
      kv.hit = (limits) => {
        keys.push(...limits.map(({ key }) => key))
        return hit(limits)
      }
      await verify('wrong')
      expect([...new Set(keys)].sort()).toEqual([
        ...['{sign_in}:all', '{sign_in}:client:demo-web', '{sign_in}:id:mac(anna@example.com)'],
        ...['{sign_in}:ip:203.0.113.7', '{sign_in}:net:203.0.113.0/24'],
      ])
    })
  })

  it('hashes a new password only when the policy takes it', async () => {
    expect(await service.prepare('password1', [])).toEqual({ ok: false, code: 'password_too_common' })
    expect(await service.prepare('genkan-99', [])).toEqual({ ok: false, code: 'password_contains_own_words' })
    breached = ['brûlée à la crème'.normalize('NFC')]
    const decomposed = await service.prepare('brûlée à la crème'.normalize('NFD'), [])
    expect(decomposed).toEqual({ ok: false, code: 'password_breached' })
    expect(hashed).toEqual([])
    expect(await service.prepare(GOOD, ['anna@example.com'])).toEqual({ ok: true, hash: `hash:${GOOD}` })
  })
})

it.each(['en', 'fi'])('Every failure of passwords has a text in %s that tells what to do', (locale) => {
  const texts = JSON.parse(readFileSync(`views/messages/${locale}.json`, 'utf8')) as { [key: string]: string }
  for (const code of Object.keys(PASSWORD_CODES)) expect(texts[`error.${code}`]).toMatch(/\w+.*[.!]\s+\w+/s)
})
