import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  createLocalInvalidation,
  createNoInvalidation,
  createRedisInvalidation,
  type Invalidation,
} from '../../src/platform/invalidation.ts'
import { oneRedis } from '../support/one_redis.ts'
import { type BreakableServer, startBreakable } from '../support/services.ts'

async function until(condition: () => boolean, milliseconds = 5000): Promise<void> {
  const end = Date.now() + milliseconds
  while (!condition()) {
    if (Date.now() > end) throw new Error('it did not happen in time')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

describe('invalidation within one process', () => {
  it.each([
    ['embedded', createLocalInvalidation, true],
    ['PostgreSQL without Redis', createNoInvalidation, false],
  ])('%s', async (_, create, healthy) => {
    const heard: (string | undefined)[] = []
    const invalidation = create()
    invalidation.subscribe('client', (key) => heard.push(key))
    expect(await invalidation.publish('client', 'web')).toBe(healthy)
    await invalidation.publish('other', 'x')
    expect(heard).toEqual(['web'])
    expect(invalidation.healthy()).toBe(healthy)
    await invalidation.close()
  })
})

describe('invalidation through Redis', () => {
  let server: BreakableServer
  let opened: { invalidation: Invalidation; heard: (string | undefined)[]; close(): Promise<void> }[] = []
  const instance = () => {
    const publisher = oneRedis(server.url)
    const invalidation = createRedisInvalidation({ publisher, subscriber: oneRedis(server.url) })
    const heard: (string | undefined)[] = []
    invalidation.subscribe('client', (key) => heard.push(key))
    const made = {
      invalidation,
      heard,
      close: async () => {
        await invalidation.close()
        publisher.disconnect()
      },
    }
    opened.push(made)
    return made
  }

  beforeEach(async () => {
    opened = []
    server = await startBreakable('redis')
  })
  afterEach(async () => {
    await Promise.all(opened.map(({ close }) => close()))
    await server.stop()
  })

  it('tells the other instance, and this one at once', async () => {
    const [a, b] = [instance(), instance()]
    await until(() => a.invalidation.healthy() && b.invalidation.healthy())
    const told = a.invalidation.publish('client', 'web')
    expect(a.heard).toContain('web')
    expect(await told).toBe(true)
    await until(() => b.heard.includes('web'))
    expect(b.heard.filter((key) => key === 'web')).toHaveLength(1)
  })

  it('is unhealthy at once when Redis dies, and forgets everything when it is back', async () => {
    const a = instance()
    await until(() => a.invalidation.healthy())
    await server.kill()
    await until(() => !a.invalidation.healthy(), 1000)
    a.heard.length = 0
    await server.start()
    await until(() => a.invalidation.healthy())
    expect(a.heard).toEqual([undefined])
  })

  it('notices within a second that Redis hears nothing though the connection stands', async () => {
    const a = instance()
    await until(() => a.invalidation.healthy())
    await server.pause()
    try {
      await until(() => !a.invalidation.healthy(), 1500)
    } finally {
      await server.resume()
    }
    await until(() => a.invalidation.healthy())
  })

  it('is healthy again as soon as the channel answers a process that computed for a second', async () => {
    const a = instance()
    await until(() => a.invalidation.healthy())
    const end = performance.now() + 1000
    while (performance.now() < end);
    expect(a.invalidation.healthy()).toBe(false)
    await a.invalidation.ask()
    expect(a.invalidation.healthy()).toBe(true)
    expect(a.heard.filter((key) => key === undefined)).toHaveLength(1)
  })

  it('waits for no answer of a channel that is silent', async () => {
    const a = instance()
    await until(() => a.invalidation.healthy())
    await server.pause()
    try {
      await until(() => !a.invalidation.healthy(), 1500)
      const began = performance.now()
      await a.invalidation.ask()
      expect([a.invalidation.healthy(), performance.now() - began < 900]).toEqual([false, true])
    } finally {
      await server.resume()
    }
  })

  it('says that the others could not be told', async () => {
    const a = instance()
    await until(() => a.invalidation.healthy())
    await server.kill()
    expect(await a.invalidation.publish('client', 'web')).toBe(false)
    expect(a.heard).toContain('web')
  })
})
