import { expect, it } from '@jest/globals'
import { systemClock } from '../../src/platform/clock.ts'

it('the system clock tells the time of the machine, each time anew', () => {
  const before = Date.now()
  const now = systemClock.now()
  expect(now.getTime()).toBeGreaterThanOrEqual(before)
  expect(now.getTime()).toBeLessThanOrEqual(Date.now())
  expect(systemClock.now()).not.toBe(now)
})
