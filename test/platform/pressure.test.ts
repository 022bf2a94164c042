import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { createPressure, type Pressure, RANKS } from '../../src/platform/pressure.ts'

const shed = (pressure: Pressure) => RANKS.filter((rank) => pressure.sheds(rank))

describe('requests in flight', () => {
  it('turn away sign-ups first, then beginnings, then what is in the middle, tokens last', () => {
    const pressure = createPressure({ maxInFlight: 20, loopDelayMs: 100 })
    const seen = Array.from({ length: 20 }, () => {
      pressure.enter()
      return shed(pressure).length
    })
    expect(seen).toEqual([...Array(9).fill(0), ...Array(4).fill(1), ...Array(3).fill(2), ...Array(3).fill(3), 4])
    expect(shed(pressure)).toEqual(['sign_up', 'sign_in', 'under_way', 'protocol'])
  })

  it('are counted out once', () => {
    const pressure = createPressure({ maxInFlight: 4, loopDelayMs: 100 })
    const [first, second] = [pressure.enter(), pressure.enter()]
    expect(shed(pressure)).toEqual(['sign_up'])
    first()
    first()
    expect(pressure.inFlight()).toBe(1)
    expect(shed(pressure)).toEqual([])
    second()
    expect(pressure.inFlight()).toBe(0)
  })
})

describe('an event loop without rest', () => {
  it('takes a third of what may be in flight, and all of it again once it rests', async () => {
    let part = 0.5
    const pressure = createPressure({ maxInFlight: 400, loopDelayMs: 10_000, busyPart: () => part })
    const stop = pressure.watch()
    const left: (() => void)[] = []
    for (let i = 0; i < 139; i++) pressure.enter()
    await sleep(120)
    expect(shed(pressure)).toEqual([])
    part = 0.99
    expect(shed(pressure)).toEqual([])
    await sleep(120)
    expect(shed(pressure)).toEqual(['sign_up', 'sign_in', 'under_way'])
    for (let i = 0; i < 200; i++) left.push(pressure.enter())
    expect(shed(pressure)).toEqual(['sign_up', 'sign_in', 'under_way'])
    for (let i = 0; i < 100; i++) left.push(pressure.enter())
    expect(shed(pressure)).toEqual(['sign_up', 'sign_in', 'under_way', 'protocol'])
    for (const leave of left.splice(0)) leave()
    part = 0.5
    await sleep(120)
    expect(shed(pressure)).toEqual([])
    part = 0.99
    await sleep(120)
    shed(pressure)
    stop()
    expect(shed(pressure)).toEqual([])
  })

  it('takes a hundred all the same', async () => {
    const pressure = createPressure({ maxInFlight: 4, loopDelayMs: 10_000, busyPart: () => 1 })
    const stop = pressure.watch()
    for (let i = 0; i < 3; i++) pressure.enter()
    await sleep(120)
    expect(shed(pressure)).toEqual(['sign_up', 'sign_in'])
    stop()
  })
})

describe('a late event loop', () => {
  it('turns away more and more, never tokens, and is forgotten within ten seconds', async () => {
    const pressure = createPressure({ maxInFlight: 1000, loopDelayMs: 20, random: () => 0.3 })
    const stop = pressure.watch()
    const block = setInterval(() => {
      const end = performance.now() + 60
      while (performance.now() < end);
    })
    const late: string[][] = []
    while (pressure.level() < 3 && late.length < 400) {
      await sleep(20)
      late.push(shed(pressure))
    }
    clearInterval(block)
    expect(pressure.level()).toBe(3)
    expect(late.at(-1)).toEqual(['sign_up', 'sign_in', 'under_way'])
    expect(late.some((ranks) => ranks.join() === 'sign_up')).toBe(true)
    const began = performance.now()
    while (pressure.level() > 0 && performance.now() - began < 15_000) await sleep(20)
    stop()
    expect(shed(pressure)).toEqual([])
  })
})
