import { beforeEach, describe, expect, it } from '@jest/globals'
import { createRowCache } from '../../src/platform/row_cache.ts'

interface Row {
  readonly value: number
}

describe('row cache', () => {
  let time = 0
  let healthy = true
  let reads: string[] = []
  let rows = new Map<string, Row>()
  let tell: (key: string | undefined) => void = () => {}
  let gate: Promise<void> | undefined
  let answers = false
  const create = (atMost = 10_000) =>
    createRowCache<Row>({
      load: async (key) => {
        reads.push(key)
        const row = rows.get(key)
        await gate
        if (row?.value === 13) throw new Error('away')
        return row === undefined ? undefined : { ...row }
      },
      fingerprint: JSON.stringify,
      invalidation: {
        healthy: () => healthy,
        ask: async () => {
          healthy ||= answers
        },
        subscribe: (_topic, listener) => {
          tell = listener
        },
      },
      topic: 'row',
      atMost,
      away: (error) => (error as Error).message === 'away',
      monotonic: () => time,
    })

  beforeEach(() => {
    time = 0
    healthy = true
    reads = []
    rows = new Map([['a', { value: 1 }]])
    gate = undefined
    answers = false
  })

  it('reads once in 30 s while the channel is healthy', async () => {
    const cache = create()
    await cache.get('a')
    time = 29_999
    await cache.get('a')
    expect(reads).toEqual(['a'])
    time = 30_000
    await cache.get('a')
    expect(reads).toEqual(['a', 'a'])
  })

  it('keeps entries less than a second without a channel, also those read while it was there', async () => {
    const cache = create()
    await cache.get('a')
    healthy = false
    time = 899
    await cache.get('a')
    expect(reads).toEqual(['a'])
    rows.set('a', { value: 2 })
    time = 999
    expect(await cache.get('a')).toEqual({ value: 2 })
  })

  it('asks a channel that was silent before it reads anew what it has, and drops what it then hears of', async () => {
    const cache = create()
    for (const key of ['a', 'absent']) await cache.get(key)
    for (const key of ['a', 'absent']) {
      ;[healthy, answers, time] = [false, true, time + 1000]
      await cache.get(key)
      expect([healthy, reads]).toEqual([true, ['a', 'absent']])
    }
    ;[healthy, time] = [false, time + 1000]
    tell('a')
    await cache.get('a')
    expect(reads).toEqual(['a', 'absent', 'a'])
  })

  it('keeps the object of an unchanged row, and changes it with the row', async () => {
    const cache = create()
    const first = await cache.get('a')
    tell('a')
    expect(await cache.get('a')).toBe(first)
    rows.set('a', { value: 2 })
    tell('a')
    expect(await cache.get('a')).toEqual({ value: 2 })
  })

  it('shares one read between those who wait', async () => {
    const cache = create()
    await Promise.all(Array.from({ length: 50 }, () => cache.get('a')))
    expect(reads).toEqual(['a'])
  })

  it('does not keep a row that was changed while it was read', async () => {
    const cache = create()
    let open = () => {}
    gate = new Promise((resolve) => {
      open = resolve
    })
    const slow = cache.get('a')
    rows.set('a', { value: 2 })
    tell('a')
    open()
    await slow
    gate = undefined
    expect(await cache.get('a')).toEqual({ value: 2 })
  })

  it('forgets everything when messages may have been lost', async () => {
    const cache = create()
    await cache.get('a')
    await cache.get('absent')
    rows = new Map([['absent', { value: 3 }]])
    tell(undefined)
    expect(await cache.get('a')).toBeUndefined()
    expect(await cache.get('absent')).toEqual({ value: 3 })
  })

  it('serves what is there for some minutes while the store is away, as long as the channel says that nothing changed', async () => {
    const cache = create()
    const kept = await cache.get('a')
    rows.set('a', { value: 13 })
    time = 299_000
    expect(await cache.get('a')).toBe(kept)
    healthy = false
    await expect(cache.get('a')).rejects.toThrow('away')
    healthy = true
    time = 300_000
    await expect(cache.get('a')).rejects.toThrow('away')
  })

  it('never serves what was taken back, whoever is away', async () => {
    const cache = create()
    await cache.get('a')
    rows.set('a', { value: 13 })
    tell('a')
    await expect(cache.get('a')).rejects.toThrow('away')
  })

  it('does not wait for a store that hangs when it has what was asked for', async () => {
    const cache = create()
    const kept = await cache.get('a')
    gate = new Promise(() => {})
    time = 31_000
    expect(await cache.get('a')).toBe(kept)
    const started = performance.now()
    expect(await cache.get('a')).toBe(kept)
    expect(performance.now() - started).toBeLessThan(100)
  })

  it('remembers that a key is absent, until it is announced', async () => {
    const cache = create()
    expect(await cache.get('b')).toBeUndefined()
    expect(await cache.get('b')).toBeUndefined()
    expect(reads).toEqual(['b'])
    rows.set('b', { value: 2 })
    tell('b')
    expect(await cache.get('b')).toEqual({ value: 2 })
  })

  it('keeps known rows while a stranger asks for ever new keys', async () => {
    const cache = create()
    const known = await cache.get('a')
    for (let i = 0; i < 3000; i++) await cache.get(`unknown-${i}`)
    expect(cache.size()).toBe(1001)
    expect(await cache.get('a')).toBe(known)
    expect(reads.filter((key) => key === 'a')).toHaveLength(1)
  })

  it('drops the row that was not asked for longest', async () => {
    rows = new Map(['a', 'b', 'c'].map((key) => [key, { value: 1 }]))
    const cache = create(2)
    for (const key of ['a', 'b', 'a', 'c', 'a', 'b']) await cache.get(key)
    expect(reads).toEqual(['a', 'b', 'c', 'b'])
  })

  it('passes a failed read on and tries again', async () => {
    rows.set('a', { value: 13 })
    const cache = create()
    await expect(cache.get('a')).rejects.toThrow('away')
    rows.set('a', { value: 1 })
    expect(await cache.get('a')).toEqual({ value: 1 })
  })
})
