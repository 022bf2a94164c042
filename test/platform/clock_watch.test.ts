import { describe, expect, it } from '@jest/globals'
import { createClockWatch } from '../../src/platform/clock_watch.ts'

const NOW = Date.parse('2026-11-27T12:00:00Z')

/** Clocks of the stores, in seconds from ours. */
function watch(database: number, redis?: number) {
  const told: [object, string][] = []
  const others = { database, redis }
  const began = performance.now()
  const own = { seconds: 0 }
  const at = (seconds: number) => async () => {
    if (Number.isNaN(seconds)) throw new Error('away')
    return new Date(NOW + performance.now() - began + seconds * 1000)
  }
  const made = createClockWatch({
    clock: { now: () => new Date(NOW + performance.now() - began + own.seconds * 1000) },
    databaseTime: () => at(others.database)(),
    redisTime: redis === undefined ? undefined : () => at(others.redis ?? 0)(),
    toleranceSeconds: 120,
    logger: { error: (facts: object, text: string) => void told.push([facts, text]) },
  })
  return { ...made, own, others, texts: () => told.map(([, text]) => text.slice(0, 16)) }
}

describe('of three clocks', () => {
  it.each([
    ['nobody is off', 0, 0, false, []],
    ['a minute and a half is nothing', 90, 90, false, []],
    ['both stores differ from us: we are wrong', 3600, 3600, true, ['this clock is wr']],
    ['both, the other way', -3600, -3599, true, ['this clock is wr']],
    ['the database alone is off: it is said, and all serve on', 3600, 0, false, ['clocks differ: t']],
    ['Redis alone is off', 0, -3600, false, ['clocks differ: t']],
  ])('%s', async (_what, database, redis, isWrong, texts) => {
    const { look, isWrong: wrong, texts: said } = watch(database, redis)
    await look()
    await look()
    expect([wrong(), said()]).toEqual([isWrong, texts])
  })

  it('is right again when they agree, and says it anew when they do not', async () => {
    const { look, isWrong, others, texts } = watch(3600, 3600)
    await look()
    Object.assign(others, { database: 0, redis: 0 })
    await look()
    expect(isWrong()).toBe(false)
    Object.assign(others, { database: 3600, redis: 3600 })
    await look()
    expect([isWrong(), texts().length]).toEqual([true, 2])
  })
})

it('of two clocks nobody knows which is wrong: there is an alarm, and the instance stays', async () => {
  const { look, isWrong, texts } = watch(3600)
  await look()
  expect([isWrong(), texts()]).toEqual([false, ['clocks differ: t']])
})

describe('what is due', () => {
  it('is not taken by a clock that was set since the last look and is wrong, nor by one that is known to be', async () => {
    const { own, look, mayTake, isWrong } = watch(0, 0)
    await look()
    own.seconds = 3600
    expect(isWrong()).toBe(false)
    expect(await mayTake()).toBe(false)
    expect(await mayTake()).toBe(false)
    own.seconds = 0
    expect(await mayTake()).toBe(true)
  })

  it('is taken by one that was set right, at once', async () => {
    const { own, look, mayTake, texts } = watch(0, 0)
    own.seconds = -3600
    await look()
    expect(await mayTake()).toBe(false)
    own.seconds = 0
    expect([await mayTake(), texts().length]).toEqual([true, 1])
  })

  it('is taken without asking anybody while the clock goes on', async () => {
    const { others, look, mayTake } = watch(0, 0)
    await look()
    Object.assign(others, { database: 3600, redis: 3600 })
    expect(await mayTake()).toBe(true)
  })

  it('is not taken by a wrong one before it was ever compared', async () => {
    expect(await watch(3600, 3600).mayTake()).toBe(false)
  })

  it('is not taken by one that was set while a store is away', async () => {
    const { own, others, look, mayTake } = watch(0, 0)
    await look()
    own.seconds = 3600
    others.redis = Number.NaN
    expect(await mayTake()).toBe(false)
  })
})
