import { describe, expect, it } from '@jest/globals'
import { withLocalLimits } from '../../src/platform/key_value_local.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'

const AWAY = new Error('away')

function bench() {
  let time = 0
  const clock = { now: () => new Date(time) }
  const shared = createModelKeyValue(clock)
  let failure: Error | undefined
  const hit: typeof shared.hit = async (...args) => {
    if (failure !== undefined) throw failure
    return shared.hit(...args)
  }
  const kv = withLocalLimits({ ...shared, hit }, clock, (error) => error === AWAY)
  return {
    kv,
    fail: (error: Error | undefined) => {
      failure = error
    },
    later: (seconds: number) => {
      time += seconds * 1000
    },
  }
}

describe('limits while the store is away', () => {
  const ten = { key: '{a}:ten', limit: 10, warmAt: 10, windowSeconds: 60 }

  it('are a quarter of what they were, never none, and end with their windows', async () => {
    const { kv, fail, later } = bench()
    for (let i = 0; i < 9; i++) expect((await kv.hit([ten])).allowed).toBe(true)
    fail(AWAY)
    for (let i = 0; i < 3; i++) expect((await kv.hit([ten])).allowed).toBe(true)
    expect(await kv.hit([ten])).toEqual({ allowed: false, retryAfter: 60, by: '{a}:ten', warm: false })
    later(60)
    expect((await kv.hit([ten])).allowed).toBe(true)
    fail(undefined)
    expect((await kv.hit([ten])).allowed).toBe(true)
  })

  it('ask for no proof: where one would be asked for is the limit', async () => {
    const { kv, fail } = bench()
    fail(AWAY)
    const soft = { key: '{a}:soft', limit: 2_147_483_647, warmAt: 8, windowSeconds: 60 }
    for (let i = 0; i < 2; i++) expect(await kv.hit([soft], false)).toMatchObject({ allowed: true, warm: false })
    for (const proven of [false, true]) expect((await kv.hit([soft], proven)).allowed).toBe(false)
  })

  it('count all or none, see peeks, and keep a limit of 0', async () => {
    const { kv, fail } = bench()
    fail(AWAY)
    const one = { key: '{a}:one', limit: 1, windowSeconds: 60 }
    expect((await kv.hit([one, { ...ten, peek: true }])).allowed).toBe(true)
    for (let i = 0; i < 5; i++) expect((await kv.hit([ten, one])).allowed).toBe(false)
    for (let i = 0; i < 3; i++) expect((await kv.hit([ten])).allowed).toBe(true)
    expect((await kv.hit([{ ...ten, peek: true }])).allowed).toBe(false)
    expect((await kv.hit([{ ...one, key: '{a}:none', limit: 0 }])).allowed).toBe(false)
    await kv.delete(ten.key)
    expect((await kv.hit([ten])).allowed).toBe(true)
  })

  it('refuse everybody rather than grow without bound, until windows have ended', async () => {
    const { kv, fail, later } = bench()
    fail(AWAY)
    for (let i = 0; i < 20_000; i++) await kv.hit([{ key: `{a}:${i}`, limit: 9, windowSeconds: 60 }])
    expect(await kv.hit([ten])).toMatchObject({ allowed: false, retryAfter: 1 })
    later(60)
    expect((await kv.hit([ten])).allowed).toBe(true)
  })

  it('are for a store that is away, not for mistakes of ours', async () => {
    const { kv, fail } = bench()
    fail(new RangeError('two limits share a key'))
    await expect(kv.hit([ten])).rejects.toThrow(RangeError)
  })
})
