import { describe, expect, it } from '@jest/globals'
import { hash as argon2Hash, argon2i } from 'argon2'
import * as argon2id from '../../src/platform/argon2id.ts'
import { createPasswordHash, type PasswordHashOptions } from '../../src/platform/password_hash.ts'

const SMALL: PasswordHashOptions = { memoryKib: 1024, passes: 2, parallelism: 1, maxConcurrent: 2, queueMs: 60_000 }
/** Takes long enough (a tenth of a second or so) that a queue can be watched. */
const SLOW: PasswordHashOptions = { ...SMALL, memoryKib: 32_768, passes: 3, maxConcurrent: 1 }

const passwords = createPasswordHash(SMALL, argon2id)

describe('hash and verify', () => {
  it('makes argon2id hashes of the settings, salted anew each time', async () => {
    const [one, two] = await Promise.all([passwords.hash('secret words'), passwords.hash('secret words')])
    expect(one).toMatch(/^\$argon2id\$v=19\$m=1024,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    expect(one).not.toBe(two)
    expect(await passwords.verify(one, 'secret words')).toBe(true)
    expect(await passwords.verify(two, 'secret words')).toBe(true)
    expect(await passwords.verify(one, 'secret word')).toBe(false)
    expect(await passwords.verify(one, 'Secret words')).toBe(false)
    expect(await passwords.verify(one, '')).toBe(false)
  })

  it('takes the whole password: length, NUL and the last byte count (no bcrypt-like cut)', async () => {
    const long = 'a'.repeat(1023)
    const hash = await passwords.hash(`${long}b`)
    expect(await passwords.verify(hash, `${long}b`)).toBe(true)
    expect(await passwords.verify(hash, `${long}c`)).toBe(false)
    const nul = await passwords.hash('abc\0def')
    expect(await passwords.verify(nul, 'abc\0xyz')).toBe(false)
    expect(await passwords.verify(nul, 'abc')).toBe(false)
    expect(await passwords.verify(nul, 'abc\0def')).toBe(true)
  })

  it('verifies hashes made with other parameters', async () => {
    const hash = await createPasswordHash({ ...SMALL, memoryKib: 2048, passes: 3, parallelism: 2 }, argon2id).hash(
      'old',
    )
    expect(await passwords.verify(hash, 'old')).toBe(true)
    expect(await passwords.verify(hash, 'new')).toBe(false)
  })

  it('A102: refuses more than 1,024 bytes without hashing', async () => {
    const stored = await passwords.hash('x')
    const long = 'ä'.repeat(513)
    for (const attempt of [passwords.hash(long), passwords.verify(stored, long), passwords.verifyDummy(long)]) {
      await expect(attempt).rejects.toMatchObject({ code: 'payload_too_large', status: 413 })
    }
    expect(passwords.stats()).toMatchObject({ running: 0, queued: 0 })
    expect(await passwords.verify(await passwords.hash('ä'.repeat(512)), 'ä'.repeat(512))).toBe(true)
  })

  it('throws on a stored hash that is damaged: that is no wrong password', async () => {
    const good = await passwords.hash('x')
    const foreign = await argon2Hash('x', { type: argon2i, memoryCost: 1024, timeCost: 2, parallelism: 1 })
    const damaged = [
      '',
      'plain',
      good.slice(0, -30),
      good.replace('$v=19', ''),
      foreign,
      `${good} `,
      '$2b$10$abcdefghijklmnopqrstuv',
    ]
    for (const hash of damaged) {
      await expect(passwords.verify(hash, 'x')).rejects.toThrow(/^stored password hash: malformed$/)
      expect(() => passwords.needsRehash(hash)).toThrow('malformed')
    }
  })

  it('refuses a stored hash that asks for gigabytes', async () => {
    const good = await passwords.hash('x')
    for (const memory of ['1048577', '9999999', '99999999999']) {
      await expect(passwords.verify(good.replace('m=1024', `m=${memory}`), 'x')).rejects.toThrow('malformed')
    }
  })
})

describe('verifyDummy', () => {
  it('is false for every password and takes a turn like verify', async () => {
    expect(await passwords.verifyDummy('secret words')).toBe(false)
    expect(await passwords.verifyDummy('')).toBe(false)
    const pending = passwords.verifyDummy('x')
    expect(passwords.stats().running).toBe(1)
    await pending
    expect(passwords.stats().running).toBe(0)
  })

  it('A32: costs as much as verifying a hash of the same settings', async () => {
    const slow = createPasswordHash(SLOW, argon2id)
    const stored = await slow.hash('x')
    const cpu = async (work: () => Promise<unknown>) => {
      const before = process.cpuUsage()
      for (let i = 0; i < 3; i++) await work()
      const used = process.cpuUsage(before)
      return used.user + used.system
    }
    const ratio = (await cpu(() => slow.verifyDummy('y'))) / (await cpu(() => slow.verify(stored, 'y')))
    // Twice the work, or none, is far outside; the CPU clock of a shared machine stays inside.
    expect(ratio).toBeGreaterThan(0.5)
    expect(ratio).toBeLessThan(2)
  })
})

describe('needsRehash', () => {
  it.each([
    ['equal', {}, false],
    ['more memory', { memoryKib: 1025 }, true],
    ['more passes', { passes: 3 }, true],
    ['more lanes', { parallelism: 2 }, true],
    ['less of all', { memoryKib: 512, passes: 1 }, false],
    ['one rises, one falls', { memoryKib: 2048, passes: 1 }, true],
  ])('%s', async (_name, change, expected) => {
    const hash = await passwords.hash('x')
    expect(createPasswordHash({ ...SMALL, ...change }, argon2id).needsRehash(hash)).toBe(expected)
  })
})

describe('the queue', () => {
  it('runs as many at once as allowed, the others wait, and all get their answer', async () => {
    const two = createPasswordHash({ ...SMALL, maxConcurrent: 2 }, argon2id)
    const jobs = Array.from({ length: 9 }, (_, i) => two.hash(`p${i}`))
    expect(two.stats()).toMatchObject({ running: 2, queued: 7 })
    const hashes = await Promise.all(jobs)
    expect(two.stats()).toMatchObject({ running: 0, queued: 0 })
    expect(await Promise.all(hashes.map((hash, i) => two.verify(hash, `p${i}`)))).toEqual(Array(9).fill(true))
  })

  it('is first come, first served', async () => {
    const one = createPasswordHash({ ...SMALL, maxConcurrent: 1 }, argon2id)
    const order: number[] = []
    await Promise.all(Array.from({ length: 6 }, async (_, i) => one.hash('x').then(() => order.push(i))))
    expect(order).toEqual([0, 1, 2, 3, 4, 5])
  })

  it('refuses with 503 and Retry-After when the wait is over', async () => {
    const slow = createPasswordHash({ ...SLOW, queueMs: 20 }, argon2id)
    const first = slow.hash('x')
    await expect(slow.hash('y')).rejects.toMatchObject({ code: 'temporarily_unavailable', status: 503, retryAfter: 1 })
    expect(slow.stats()).toMatchObject({ running: 1, queued: 0 })
    await expect(first).resolves.toMatch(/^\$argon2id/)
    await expect(slow.hash('z')).resolves.toMatch(/^\$argon2id/)
  })

  it('refuses a flood at once when the queue is longer than the deadline', async () => {
    const slow = createPasswordHash({ ...SLOW, queueMs: 2000 }, argon2id)
    await slow.hash('how long does one take')
    const began = performance.now()
    const refusedAfter: number[] = []
    const jobs = Array.from({ length: 300 }, () =>
      slow.verifyDummy('flood').then(
        () => 'done',
        (error: { code: string }) => {
          refusedAfter.push(performance.now() - began)
          return error.code
        },
      ),
    )
    await new Promise(setImmediate)
    expect(refusedAfter.length).toBeGreaterThan(100)
    expect(Math.max(...refusedAfter)).toBeLessThan(1000)
    expect(slow.stats().queued).toBe(299 - refusedAfter.length)
    const answers = await Promise.all(jobs)
    expect(new Set(answers)).toEqual(new Set(['done', 'temporarily_unavailable']))
    expect(slow.stats()).toMatchObject({ running: 0, queued: 0 })
  })

  it('gives the turn back when the work fails', async () => {
    // argon2 needs 8 KiB for each lane.
    const broken = createPasswordHash({ ...SMALL, memoryKib: 8, parallelism: 4, maxConcurrent: 1 }, argon2id)
    for (let i = 0; i < 3; i++) await expect(broken.hash('x')).rejects.toThrow()
    expect(broken.stats()).toMatchObject({ running: 0, queued: 0 })
  })
})
