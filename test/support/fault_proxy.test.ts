import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Redis } from 'ioredis'
import { type FaultProxy, startFaultProxy } from './fault_proxy.ts'
import { oneRedis } from './one_redis.ts'
import { startRedis } from './services.ts'

async function eventually(work: () => Promise<unknown>): Promise<void> {
  for (let tries = 100; ; tries--) {
    try {
      await work()
      return
    } catch (error) {
      if (tries === 0) throw error
      await sleep(50)
    }
  }
}

describe('startFaultProxy', () => {
  let proxy: FaultProxy
  let through: Redis
  let direct: Redis
  beforeAll(async () => {
    const { url } = await startRedis()
    proxy = await startFaultProxy(url)
    through = oneRedis(proxy.url)
    direct = oneRedis(url)
    await eventually(() => direct.ping())
  })
  beforeEach(async () => {
    proxy.set({ kind: 'none' })
    await eventually(() => through.ping())
  })
  afterAll(async () => {
    through.disconnect()
    direct.disconnect()
    await proxy.stop()
  })

  it('passes bytes on', async () => {
    await through.set('key', '1')
    expect(await direct.get('key')).toBe('1')
  })

  it('delays', async () => {
    proxy.set({ kind: 'delay', milliseconds: 100 })
    const start = performance.now()
    await through.get('key')
    expect(performance.now() - start).toBeGreaterThan(190)
  })

  it('swallows: the peer stays silent', async () => {
    proxy.set({ kind: 'blackhole' })
    await expect(through.get('key')).rejects.toThrow(/timed out/)
  })

  it('holds a request that matches until it is released', async () => {
    proxy.set({ kind: 'hold', pattern: /held/ })
    const caught = proxy.caught()
    const held = through.set('held', 'yes')
    await caught
    expect(await direct.get('held')).toBeNull()
    proxy.release()
    await held
    expect(await direct.get('held')).toBe('yes')
  })

  it('loses the answer of a request that took effect', async () => {
    proxy.set({ kind: 'lose_answer', pattern: /lost/ })
    await expect(through.set('lost', 'yes')).rejects.toThrow(/timed out/)
    expect(await direct.get('lost')).toBe('yes')
  })

  it('resets open connections', async () => {
    proxy.set({ kind: 'reset' })
    await expect(through.get('key')).rejects.toThrow()
  })
})
