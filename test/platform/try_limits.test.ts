import { beforeEach, describe, expect, it } from '@jest/globals'
import { createTryLimits, type TryLimits } from '../../src/platform/try_limits.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'

let time: number
let tries: TryLimits
let restart: () => void

beforeEach(() => {
  time = Date.parse('2026-11-01T12:00:00.000Z')
  restart = () => {
    tries = createTryLimits(createModelKeyValue({ now: () => new Date(time) }))
  }
  restart()
})

const enter = (times: number, { method = 'totp', account = 'a', inARow = 0 } = {}) =>
  Promise.all(Array.from({ length: times }, () => tries.enter(method, account, inARow)))

describe('tries at one authenticator (A36)', () => {
  it('are five in ten minutes, however many come at once', async () => {
    const waits = await enter(50)
    expect(waits.filter((wait) => wait === undefined)).toHaveLength(5)
    expect(waits.at(-1)).toBe(600)
    time += 599_000
    expect(await enter(1)).toEqual([1])
    time += 1000
    expect(await enter(1)).toEqual([undefined])
  })

  it('are counted for each method and each account apart (A38)', async () => {
    await enter(5)
    expect(await enter(1, { method: 'recovery_code' })).toEqual([undefined])
    expect(await enter(1, { account: 'b' })).toEqual([undefined])
    expect(await enter(1)).toEqual([600])
  })

  it('are forgotten by a right one', async () => {
    await enter(4)
    await tries.passed('totp', 'a')
    expect((await enter(5)).every((wait) => wait === undefined)).toBe(true)
  })

  it('are one an hour after a hundred wrong ones in a row, also when the counters were lost', async () => {
    expect(await enter(2, { inARow: 99 })).toEqual([undefined, undefined])
    restart()
    expect(await enter(2, { inARow: 100 })).toEqual([undefined, 3600])
    time += 601_000
    expect(await enter(1, { inARow: 101 })).toEqual([2999])
    restart()
    expect(await enter(2, { inARow: 101 })).toEqual([undefined, 3600])
  })
})
