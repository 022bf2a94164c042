/** The part of the key/value contract about counting: what holds back guessing of passwords and codes. */
import { describe, expect, it } from '@jest/globals'
import { type Bench, many } from './key_value_model.ts'

const FREE = { allowed: true, retryAfter: 0, warm: false }

export function describeLimits(at: Bench): void {
  describe('hit', () => {
    const limit = (name: string, max: number, windowSeconds = 60) => ({
      key: `{${at.key}}:${name}`,
      limit: max,
      windowSeconds,
    })

    it('allows as many as the limit, then tells when the window ends', async () => {
      for (let i = 0; i < 3; i++) expect(await at.kv.hit([limit('a', 3)])).toEqual(FREE)
      expect(await at.kv.hit([limit('a', 3)])).toMatchObject({ allowed: false, retryAfter: 60 })
      at.later(20.5)
      expect(await at.kv.hit([limit('a', 3)])).toMatchObject({ allowed: false, retryAfter: 40 })
      at.later(39.499)
      expect(await at.kv.hit([limit('a', 3)])).toMatchObject({ allowed: false, retryAfter: 1 })
      at.later(0.001)
      expect(await at.kv.hit([limit('a', 3)])).toEqual(FREE)
    })

    it('keeps the window fixed: later hits do not extend it', async () => {
      await at.kv.hit([limit('a', 2)])
      at.later(50)
      await at.kv.hit([limit('a', 2)])
      expect(await at.kv.hit([limit('a', 2)])).toMatchObject({ allowed: false, retryAfter: 10 })
    })

    it('takes hits back, each of them once, in the same window and never below none', async () => {
      const limits = [limit('a', 3), limit('b', 3)]
      const keys = limits.map(({ key }) => key)
      await at.kv.giveBack(keys)
      await at.kv.giveBack([])
      for (let i = 0; i < 3; i++) await at.kv.hit(limits)
      at.later(20)
      await at.kv.giveBack(keys)
      expect(await at.kv.hit(limits)).toEqual(FREE)
      expect(await at.kv.hit([limit('a', 3)])).toMatchObject({ allowed: false, retryAfter: 40 })
      await many(5, () => at.kv.giveBack([limit('a', 3).key]))
      for (let i = 0; i < 3; i++) expect(await at.kv.hit([limit('a', 3)])).toEqual(FREE)
      expect((await at.kv.hit([limit('a', 3)])).allowed).toBe(false)
      at.later(40)
      await at.kv.giveBack(keys)
      for (let i = 0; i < 3; i++) expect(await at.kv.hit(limits)).toEqual(FREE)
      expect((await at.kv.hit(limits)).allowed).toBe(false)
    })

    it('loses no hit to one that is taken back at the same moment', async () => {
      await many(40, async () => {
        if (!(await at.kv.hit([limit('a', 100), limit('b', 100)])).allowed) throw new Error('refused')
        await at.kv.giveBack([limit('b', 100).key, limit('a', 100).key])
      })
      await at.kv.hit([limit('a', 100)])
      expect(await at.kv.read(limit('a', 100).key)).toMatchObject({ value: '1' })
    })

    it('counts a refused hit on no limit', async () => {
      await at.kv.hit([limit('full', 1)])
      for (let i = 0; i < 5; i++) expect((await at.kv.hit([limit('other', 2), limit('full', 1)])).allowed).toBe(false)
      at.later(30)
      // The window of the other begins with its first hit, not with a refused one.
      await at.kv.hit([limit('other', 2)])
      await at.kv.hit([limit('other', 2)])
      expect(await at.kv.hit([limit('other', 2)])).toMatchObject({ allowed: false, retryAfter: 60 })
    })

    it('tells the longest wait of the limits that refuse, and of those only', async () => {
      await at.kv.hit([limit('short', 1, 10), limit('long', 1, 100), limit('open', 9, 1000)])
      expect(await at.kv.hit([limit('short', 1, 10), limit('long', 1, 100), limit('open', 9, 1000)])).toMatchObject({
        ...{ allowed: false, retryAfter: 100 },
        by: limit('long', 1).key,
      })
      expect(await at.kv.hit([limit('open', 9, 1000), limit('short', 1, 10)])).toMatchObject({
        ...{ allowed: false, retryAfter: 10 },
        by: limit('short', 1).key,
      })
    })

    it('refuses all with a limit of 0, allows all without a limit, follows a limit that was raised', async () => {
      expect(await at.kv.hit([limit('none', 0)])).toMatchObject({ allowed: false, retryAfter: 60 })
      expect(await at.kv.hit([])).toEqual(FREE)
      await at.kv.hit([limit('a', 1)])
      expect((await at.kv.hit([limit('a', 1)])).allowed).toBe(false)
      expect((await at.kv.hit([limit('a', 2)])).allowed).toBe(true)
    })

    it('a peek refuses like any limit and is never counted', async () => {
      const peek = { ...limit('seen', 2), peek: true }
      for (let i = 0; i < 3; i++) expect((await at.kv.hit([peek, limit('own', 9)])).allowed).toBe(true)
      expect(await at.kv.get(`{${at.key}}:seen`)).toBeUndefined()
      expect(await at.kv.get(`{${at.key}}:own`)).toBe('3')
      await at.kv.hit([limit('seen', 2)])
      at.later(10)
      await at.kv.hit([limit('seen', 2)])
      expect(await at.kv.hit([peek, limit('own', 9)])).toMatchObject({ allowed: false, retryAfter: 50 })
      expect(await at.kv.get(`{${at.key}}:own`)).toBe('3')
      expect(await at.kv.hit([{ ...limit('none', 0), peek: true }])).toMatchObject({ allowed: false, retryAfter: 60 })
      at.later(50)
      expect(await at.kv.hit([peek])).toEqual(FREE)
    })

    it('says when a limit gets warm, refuses then whoever has proven nothing, and counts no refusal', async () => {
      const warm = { ...limit('warm', 4), warmAt: 2 }
      expect(await at.kv.hit([warm], false)).toEqual(FREE)
      expect(await at.kv.hit([warm, limit('cold', 9)], false)).toEqual({ ...FREE, warm: true })
      for (let i = 0; i < 3; i++) {
        expect(await at.kv.hit([warm, limit('cold', 9)], false)).toEqual({ allowed: false, retryAfter: 0, warm: true })
      }
      expect(await at.kv.get(`{${at.key}}:cold`)).toBe('1')
      expect(await at.kv.hit([{ ...warm, peek: true }], false)).toMatchObject({ allowed: false, warm: true })
      for (let i = 0; i < 2; i++) expect(await at.kv.hit([warm], true)).toEqual({ ...FREE, warm: true })
      // Used up is used up, with or without a proof.
      for (const proven of [true, false]) {
        expect(await at.kv.hit([warm], proven)).toEqual({ allowed: false, retryAfter: 60, by: warm.key, warm: false })
      }
      at.later(60)
      expect(await at.kv.hit([warm], false)).toEqual(FREE)
    })

    it('lets exactly as many of 100 parallel hits without a proof through as until it is warm', async () => {
      const warm = { ...limit('warm', 20), warmAt: 5 }
      const hits = await many(100, () => at.kv.hit([warm], false))
      expect(hits.filter(({ allowed }) => allowed)).toHaveLength(5)
    })

    it('names the limit that refuses by its own key, also when that is stored as a hash', async () => {
      const odd = { ...limit('', 1), key: `{${at.key}}:nul\0${'x'.repeat(300)}` }
      await at.kv.hit([odd])
      expect((await at.kv.hit([limit('a', 9), odd])).by).toBe(odd.key)
    })

    it('begins anew after delete', async () => {
      await at.kv.hit([limit('a', 1)])
      await at.kv.delete(`{${at.key}}:a`)
      expect((await at.kv.hit([limit('a', 1)])).allowed).toBe(true)
    })

    it('refuses two limits under one key: they would share a count', async () => {
      await expect(at.kv.hit([limit('a', 1), limit('a', 5)])).rejects.toThrow(RangeError)
    })

    it('refuses limits of two slots of a Redis Cluster: no script could count them together', async () => {
      const elsewhere = { ...limit('b', 5), key: `{${at.key}x}:b` }
      await expect(at.kv.hit([limit('a', 1), elsewhere])).rejects.toThrow(RangeError)
      expect((await at.kv.hit([limit('a', 1)])).allowed).toBe(true)
    })

    it('counts an odd or endless key of the family like any other', async () => {
      const odd = { ...limit('', 1), key: `{${at.key}}:nul\0${'x'.repeat(300)}` }
      expect((await at.kv.hit([odd, limit('a', 9)])).allowed).toBe(true)
      expect((await at.kv.hit([odd, limit('a', 9)])).allowed).toBe(false)
    })

    it('allows exactly 10 of 500 parallel hits (A34: counter TOCTOU)', async () => {
      // A pool that is full refuses after its own wait: that is no pass either.
      const refused = (error: Error) => {
        if (error.name !== 'KnexTimeoutError') throw error
        return { allowed: false, retryAfter: 1, warm: false }
      }
      const hits = await many(500, () => at.kv.hit([limit('account', 10)]).catch(refused))
      expect(hits.filter(({ allowed }) => allowed)).toHaveLength(10)
    })

    it('allows exactly the smallest limit of parallel hits on crossed limits, whatever their order', async () => {
      const limits = [limit('c', 20), limit('a', 7), limit('b', 30)]
      const hits = await many(100, (i) => at.kv.hit(i % 2 === 0 ? limits : limits.toReversed()))
      expect(hits.filter(({ allowed }) => allowed)).toHaveLength(7)
      // 7 counted on the others too, no more.
      expect(await at.kv.get(`{${at.key}}:c`)).toBe('7')
      expect(await at.kv.get(`{${at.key}}:b`)).toBe('7')
    })
  })
}
