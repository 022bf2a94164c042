/** The contract of a key/value store. An implementation runs it with its name and a way to make one on a given clock. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Clock } from '../../src/platform/clock.ts'
import { newId } from '../../src/platform/ids.ts'
import type { KeyValue } from '../../src/platform/key_value.ts'

interface Opened {
  readonly kv: KeyValue
  close(): Promise<void>
}

const START = Date.parse('2026-11-22T12:00:00.000Z')

export function describeKeyValue(name: string, create: (clock: Clock) => Promise<Opened>): void {
  describe(`key/value on ${name}`, () => {
    let time = START
    let opened: Opened
    let kv: KeyValue
    let key = ''
    const later = (seconds: number) => {
      time += seconds * 1000
    }
    const many = <T>(count: number, work: (i: number) => Promise<T>) =>
      Promise.all(Array.from({ length: count }, (_, i) => work(i)))

    beforeAll(async () => {
      opened = await create({ now: () => new Date(time) })
      kv = opened.kv
    })
    afterAll(() => opened.close())
    beforeEach(() => {
      key = newId()
    })

    describe('get and set', () => {
      it('keeps a value until its expiry on our clock', async () => {
        expect(await kv.get(key)).toBeUndefined()
        await kv.set(key, 'one', 60)
        later(59.999)
        expect(await kv.get(key)).toBe('one')
        later(0.001)
        expect(await kv.get(key)).toBeUndefined()
      })

      it('overwrites value and expiry', async () => {
        await kv.set(key, 'one', 1)
        await kv.set(key, 'two', 60)
        later(30)
        expect(await kv.get(key)).toBe('two')
      })

      it.each(['', '1.2.3', 'a\nb\r\n', 'ä 玄関 🚪', '?', ':now', `{"a":"${'x'.repeat(20_000)}"}`])(
        'keeps %j as it is',
        async (value) => {
          await kv.set(key, value, 60)
          expect(await kv.get(key)).toBe(value)
          expect((await kv.read(key))?.value).toBe(value)
          expect(await kv.take(key)).toBe(value)
        },
      )

      it.each(['nul\0 nul', 'line\nbreak', 'x'.repeat(10_000), 'ä 玄関', '\ud800', 'a b', '', '?', '*', '{tag}'])(
        'takes %j as a key',
        async (odd) => {
          await kv.set(`${key}${odd}`, 'here', 60)
          expect(await kv.get(`${key}${odd}`)).toBe('here')
          expect(await kv.get(`${key}${odd}.`)).toBeUndefined()
          expect(await kv.get(key)).toBe(odd === '' ? 'here' : undefined)
        },
      )

      it('writes nothing lasting with a lifetime of zero or less, and refuses one that is no number', async () => {
        await kv.set(key, 'old', 60)
        await kv.set(key, 'new', 0)
        expect(await kv.get(key)).toBeUndefined()
        expect(await kv.add(key, 'new', -5)).toBe(true)
        expect(await kv.get(key)).toBeUndefined()
        for (const ttl of [Number.NaN, Number.POSITIVE_INFINITY]) {
          await expect(kv.set(key, 'x', ttl)).rejects.toThrow(RangeError)
        }
      })

      it('takes a fraction of a second', async () => {
        await kv.set(key, 'x', 0.5)
        later(0.499)
        expect(await kv.get(key)).toBe('x')
        later(0.001)
        expect(await kv.get(key)).toBeUndefined()
      })
    })

    describe('add', () => {
      it('writes once, and again after expiry or delete', async () => {
        expect(await kv.add(key, 'one', 60)).toBe(true)
        expect(await kv.add(key, 'two', 600)).toBe(false)
        expect(await kv.get(key)).toBe('one')
        later(60)
        expect(await kv.add(key, 'three', 60)).toBe(true)
        await kv.delete(key)
        expect(await kv.add(key, 'four', 60)).toBe(true)
        expect(await kv.get(key)).toBe('four')
      })

      it('lets one of 50 parallel adds through (replay of a jti)', async () => {
        const added = await many(50, (i) => kv.add(key, String(i), 60))
        expect(added.filter(Boolean)).toHaveLength(1)
        expect(await kv.get(key)).toBe(String(added.indexOf(true)))
      })

      it('lets one of 50 parallel adds over an expired record through', async () => {
        await kv.set(key, 'old', 1)
        later(1)
        expect((await many(50, (i) => kv.add(key, String(i), 60))).filter(Boolean)).toHaveLength(1)
      })
    })

    describe('swap', () => {
      it('writes over the version it expects and over no other', async () => {
        expect(await kv.swap(key, 1, 'x', 60)).toBe(false)
        expect(await kv.swap(key, 0, 'one', 60)).toBe(true)
        expect(await kv.read(key)).toEqual({ value: 'one', version: 1 })
        expect(await kv.swap(key, 0, 'x', 60)).toBe(false)
        expect(await kv.swap(key, 1, 'two', 60)).toBe(true)
        expect(await kv.swap(key, 1, 'x', 60)).toBe(false)
        expect(await kv.swap(key, 3, 'x', 60)).toBe(false)
        expect(await kv.read(key)).toEqual({ value: 'two', version: 2 })
      })

      it('sees that set came between', async () => {
        await kv.add(key, 'one', 60)
        await kv.set(key, 'two', 60)
        expect(await kv.swap(key, 1, 'x', 60)).toBe(false)
        expect(await kv.read(key)).toEqual({ value: 'two', version: 2 })
      })

      it('takes an expired record for absent', async () => {
        await kv.add(key, 'one', 60)
        later(60)
        expect(await kv.read(key)).toBeUndefined()
        expect(await kv.swap(key, 1, 'x', 60)).toBe(false)
        expect(await kv.swap(key, 0, 'two', 60)).toBe(true)
        expect(await kv.read(key)).toEqual({ value: 'two', version: 1 })
      })

      it('extends the lifetime', async () => {
        await kv.add(key, 'one', 60)
        later(59)
        await kv.swap(key, 1, 'two', 60)
        later(59)
        expect(await kv.get(key)).toBe('two')
      })

      it('brings nothing back that was deleted meanwhile (a finished sign-in)', async () => {
        await kv.add(key, 'one', 60)
        await kv.delete(key)
        expect(await kv.swap(key, 1, 'x', 60)).toBe(false)
        expect(await kv.get(key)).toBeUndefined()
      })

      it.each([0, 1])('lets one of 50 parallel swaps of version %i through', async (version) => {
        if (version === 1) await kv.add(key, 'base', 60)
        const swapped = await many(50, (i) => kv.swap(key, version, String(i), 60))
        expect(swapped.filter(Boolean)).toHaveLength(1)
        expect(await kv.read(key)).toEqual({ value: String(swapped.indexOf(true)), version: version + 1 })
      })
    })

    describe('take and delete', () => {
      it('gives the value once', async () => {
        await kv.set(key, 'secret', 60)
        expect(await kv.take(key)).toBe('secret')
        expect(await kv.take(key)).toBeUndefined()
        expect(await kv.get(key)).toBeUndefined()
      })

      it('gives nothing that has expired', async () => {
        await kv.set(key, 'secret', 60)
        later(60)
        expect(await kv.take(key)).toBeUndefined()
      })

      it('gives the value to one of 50 parallel takes', async () => {
        await kv.set(key, 'secret', 60)
        const taken = await many(50, () => kv.take(key))
        expect(taken.filter((value) => value !== undefined)).toEqual(['secret'])
      })

      it('delete is quiet about absent keys and touches no other', async () => {
        await kv.set(`${key}.other`, 'stays', 60)
        await kv.delete(key)
        expect(await kv.get(`${key}.other`)).toBe('stays')
      })
    })

    describe('hit', () => {
      const limit = (name: string, max: number, windowSeconds = 60) => ({
        key: `${key}:${name}`,
        limit: max,
        windowSeconds,
      })

      it('allows as many as the limit, then tells when the window ends', async () => {
        for (let i = 0; i < 3; i++) expect(await kv.hit([limit('a', 3)])).toEqual({ allowed: true, retryAfter: 0 })
        expect(await kv.hit([limit('a', 3)])).toEqual({ allowed: false, retryAfter: 60 })
        later(20.5)
        expect(await kv.hit([limit('a', 3)])).toEqual({ allowed: false, retryAfter: 40 })
        later(39.499)
        expect(await kv.hit([limit('a', 3)])).toEqual({ allowed: false, retryAfter: 1 })
        later(0.001)
        expect(await kv.hit([limit('a', 3)])).toEqual({ allowed: true, retryAfter: 0 })
      })

      it('keeps the window fixed: later hits do not extend it', async () => {
        await kv.hit([limit('a', 2)])
        later(50)
        await kv.hit([limit('a', 2)])
        expect(await kv.hit([limit('a', 2)])).toEqual({ allowed: false, retryAfter: 10 })
      })

      it('counts a refused hit on no limit', async () => {
        await kv.hit([limit('full', 1)])
        for (let i = 0; i < 5; i++) expect((await kv.hit([limit('other', 2), limit('full', 1)])).allowed).toBe(false)
        later(30)
        // The window of the other begins with its first hit, not with a refused one.
        await kv.hit([limit('other', 2)])
        await kv.hit([limit('other', 2)])
        expect(await kv.hit([limit('other', 2)])).toEqual({ allowed: false, retryAfter: 60 })
      })

      it('tells the longest wait of the limits that refuse, and of those only', async () => {
        await kv.hit([limit('short', 1, 10), limit('long', 1, 100), limit('open', 9, 1000)])
        expect(await kv.hit([limit('short', 1, 10), limit('long', 1, 100), limit('open', 9, 1000)])).toEqual({
          allowed: false,
          retryAfter: 100,
        })
        expect(await kv.hit([limit('open', 9, 1000), limit('short', 1, 10)])).toEqual({
          allowed: false,
          retryAfter: 10,
        })
      })

      it('refuses all with a limit of 0, allows all without a limit, follows a limit that was raised', async () => {
        expect(await kv.hit([limit('none', 0)])).toEqual({ allowed: false, retryAfter: 60 })
        expect(await kv.hit([])).toEqual({ allowed: true, retryAfter: 0 })
        await kv.hit([limit('a', 1)])
        expect((await kv.hit([limit('a', 1)])).allowed).toBe(false)
        expect((await kv.hit([limit('a', 2)])).allowed).toBe(true)
      })

      it('begins anew after delete', async () => {
        await kv.hit([limit('a', 1)])
        await kv.delete(`${key}:a`)
        expect((await kv.hit([limit('a', 1)])).allowed).toBe(true)
      })

      it('refuses two limits under one key: they would share a count', async () => {
        await expect(kv.hit([limit('a', 1), limit('a', 5)])).rejects.toThrow(RangeError)
      })

      it('allows exactly 10 of 500 parallel hits (A34: counter TOCTOU)', async () => {
        const hits = await many(500, () => kv.hit([limit('account', 10)]))
        expect(hits.filter(({ allowed }) => allowed)).toHaveLength(10)
      })

      it('allows exactly the smallest limit of parallel hits on crossed limits, whatever their order', async () => {
        const limits = [limit('c', 20), limit('a', 7), limit('b', 30)]
        const hits = await many(100, (i) => kv.hit(i % 2 === 0 ? limits : limits.toReversed()))
        expect(hits.filter(({ allowed }) => allowed)).toHaveLength(7)
        // 7 counted on the others too, no more.
        expect(await kv.get(`${key}:c`)).toBe('7')
        expect(await kv.get(`${key}:b`)).toBe('7')
      })
    })

    it('purge removes expired records only, as many as asked', async () => {
      await many(5, (i) => kv.set(`${key}.${i}`, 'x', 10))
      await kv.set(`${key}.live`, 'x', 3600)
      later(11)
      const now = new Date(time)
      const before = await kv.purge(now, 3)
      expect(before).toBeLessThanOrEqual(3)
      let last = before
      while (last > 0) last = await kv.purge(now, 1000)
      expect(await kv.get(`${key}.live`)).toBe('x')
      expect(await kv.get(`${key}.0`)).toBeUndefined()
    })
  })
}
