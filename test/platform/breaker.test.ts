import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from '@jest/globals'
import { type Breaker, createBreaker } from '../../src/platform/breaker.ts'

describe('breaker', () => {
  let time = 0
  let asked = 0
  let breaker: Breaker
  const down = new Error('down')
  const fail = () => breaker.run(() => Promise.reject(down))
  const answer = () =>
    breaker.run(async () => {
      asked += 1
      return 'answer'
    })
  const open = async () => {
    for (let count = 0; count < 3; count++) await expect(fail()).rejects.toBe(down)
  }
  beforeEach(() => {
    time = 1_000_000
    asked = 0
    const clock = { now: () => new Date(time) }
    const counts = (error: unknown) => error === down
    breaker = createBreaker({ clock, counts, refusal: () => new Error('refused'), failures: 3, pauseMs: 1000 })
  })

  it('asks nobody after failures in a row, until the pause is over', async () => {
    await open()
    await expect(answer()).rejects.toThrow('refused')
    expect(() => breaker.check()).toThrow('refused')
    expect(asked).toBe(0)
    time += 1000
    expect(await answer()).toBe('answer')
    await expect(fail()).rejects.toBe(down)
    expect(await answer()).toBe('answer')
  })

  it('counts failures in a row only', async () => {
    for (let count = 0; count < 5; count++) {
      await expect(fail()).rejects.toBe(down)
      await expect(fail()).rejects.toBe(down)
      await answer()
    }
    expect(asked).toBe(5)
  })

  it('takes an answer that is no success for an answer', async () => {
    const refuse = () => breaker.run(() => Promise.reject(new Error('invalid_grant')))
    for (let count = 0; count < 5; count++) await expect(refuse()).rejects.toThrow('invalid_grant')
    expect(await answer()).toBe('answer')
  })

  it('lets one ask after the pause, and nobody beside it', async () => {
    await open()
    time += 1000
    const probe = breaker.run(async () => {
      await sleep(20)
      return 'probe'
    })
    await expect(answer()).rejects.toThrow('refused')
    expect(await probe).toBe('probe')
    expect(await answer()).toBe('answer')
  })

  it('pauses again when the one that asked failed', async () => {
    await open()
    time += 1000
    await expect(fail()).rejects.toBe(down)
    await expect(answer()).rejects.toThrow('refused')
    time += 1000
    expect(await answer()).toBe('answer')
  })
})
