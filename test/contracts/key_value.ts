/** The contract of a key/value store. An implementation runs it with its name and a way to make one on a given clock. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { Clock } from '../../src/platform/clock.ts'
import { newId } from '../../src/platform/ids.ts'
import type { KeyValue } from '../../src/platform/key_value.ts'
import { describeLimits } from './key_value_limits.ts'
import { type Bench, createModelKeyValue, many, perform, walk } from './key_value_model.ts'

interface Opened {
  readonly kv: KeyValue
  close(): Promise<void>
}

const START = Date.parse('2026-11-22T12:00:00.000Z')

export function describeKeyValue(name: string, create: (clock: Clock) => Promise<Opened>): void {
  describe(`key/value on ${name}`, () => {
    let time = START
    let opened: Opened
    const at = {
      key: '',
      now: () => new Date(time),
      later(seconds: number) {
        time += seconds * 1000
      },
    } as Bench

    beforeAll(async () => {
      opened = await create(at)
      at.kv = opened.kv
    })
    afterAll(() => opened.close())
    beforeEach(() => {
      at.key = newId()
    })

    describeReading(at)
    describeAdding(at)
    describeSwapping(at)
    describeTaking(at)
    describeLimits(at)
    describeWalks(at)
  })
}

function describeReading(at: Bench): void {
  describe('get and set', () => {
    it('keeps a value until its expiry on our clock', async () => {
      expect(await at.kv.get(at.key)).toBeUndefined()
      await at.kv.set(at.key, 'one', 60)
      at.later(59.999)
      expect(await at.kv.get(at.key)).toBe('one')
      at.later(0.001)
      expect(await at.kv.get(at.key)).toBeUndefined()
    })

    it('overwrites value and expiry', async () => {
      await at.kv.set(at.key, 'one', 1)
      await at.kv.set(at.key, 'two', 60)
      at.later(30)
      expect(await at.kv.get(at.key)).toBe('two')
    })

    it.each(['', '1.2.3', 'a\nb\r\n', 'ä 玄関 🚪', '?', ':now', `{"a":"${'x'.repeat(20_000)}"}`])(
      'keeps %j as it is',
      async (value) => {
        await at.kv.set(at.key, value, 60)
        expect(await at.kv.get(at.key)).toBe(value)
        expect((await at.kv.read(at.key))?.value).toBe(value)
        expect(await at.kv.take(at.key)).toBe(value)
      },
    )

    it.each(['nul\0 nul', 'line\nbreak', 'x'.repeat(10_000), 'ä 玄関', '\ud800', 'a b', '', '?', '*', '{tag}'])(
      'takes %j as a key',
      async (odd) => {
        await at.kv.set(`${at.key}${odd}`, 'here', 60)
        expect(await at.kv.get(`${at.key}${odd}`)).toBe('here')
        expect(await at.kv.get(`${at.key}${odd}.`)).toBeUndefined()
        expect(await at.kv.get(at.key)).toBe(odd === '' ? 'here' : undefined)
      },
    )

    it('writes nothing lasting with a lifetime of zero or less, and refuses one that is no number', async () => {
      await at.kv.set(at.key, 'old', 60)
      await at.kv.set(at.key, 'new', 0)
      expect(await at.kv.get(at.key)).toBeUndefined()
      expect(await at.kv.add(at.key, 'new', -5)).toBe(true)
      expect(await at.kv.get(at.key)).toBeUndefined()
      for (const ttl of [Number.NaN, Number.POSITIVE_INFINITY]) {
        await expect(at.kv.set(at.key, 'x', ttl)).rejects.toThrow(RangeError)
      }
    })

    it('takes a fraction of a second', async () => {
      await at.kv.set(at.key, 'x', 0.5)
      at.later(0.499)
      expect(await at.kv.get(at.key)).toBe('x')
      at.later(0.001)
      expect(await at.kv.get(at.key)).toBeUndefined()
    })
  })
}

function describeAdding(at: Bench): void {
  describe('add', () => {
    it('writes once, and again after expiry or delete', async () => {
      expect(await at.kv.add(at.key, 'one', 60)).toBe(true)
      expect(await at.kv.add(at.key, 'two', 600)).toBe(false)
      expect(await at.kv.get(at.key)).toBe('one')
      at.later(60)
      expect(await at.kv.add(at.key, 'three', 60)).toBe(true)
      await at.kv.delete(at.key)
      expect(await at.kv.add(at.key, 'four', 60)).toBe(true)
      expect(await at.kv.get(at.key)).toBe('four')
    })

    it('lets one of 50 parallel adds through (replay of a jti)', async () => {
      const added = await many(50, (i) => at.kv.add(at.key, String(i), 60))
      expect(added.filter(Boolean)).toHaveLength(1)
      expect(await at.kv.get(at.key)).toBe(String(added.indexOf(true)))
    })

    it('lets one of 50 parallel adds over an expired record through', async () => {
      await at.kv.set(at.key, 'old', 1)
      at.later(1)
      expect((await many(50, (i) => at.kv.add(at.key, String(i), 60))).filter(Boolean)).toHaveLength(1)
    })
  })
}

function describeSwapping(at: Bench): void {
  describe('swap', () => {
    it('writes over the version it expects and over no other', async () => {
      expect(await at.kv.swap(at.key, 1, 'x', 60)).toBe(false)
      expect(await at.kv.swap(at.key, 0, 'one', 60)).toBe(true)
      expect(await at.kv.read(at.key)).toEqual({ value: 'one', version: 1 })
      expect(await at.kv.swap(at.key, 0, 'x', 60)).toBe(false)
      expect(await at.kv.swap(at.key, 1, 'two', 60)).toBe(true)
      expect(await at.kv.swap(at.key, 1, 'x', 60)).toBe(false)
      expect(await at.kv.swap(at.key, 3, 'x', 60)).toBe(false)
      expect(await at.kv.read(at.key)).toEqual({ value: 'two', version: 2 })
    })

    it('sees that set came between', async () => {
      await at.kv.add(at.key, 'one', 60)
      await at.kv.set(at.key, 'two', 60)
      expect(await at.kv.swap(at.key, 1, 'x', 60)).toBe(false)
      expect(await at.kv.read(at.key)).toEqual({ value: 'two', version: 2 })
    })

    it('takes an expired record for absent', async () => {
      await at.kv.add(at.key, 'one', 60)
      at.later(60)
      expect(await at.kv.read(at.key)).toBeUndefined()
      expect(await at.kv.swap(at.key, 1, 'x', 60)).toBe(false)
      expect(await at.kv.swap(at.key, 0, 'two', 60)).toBe(true)
      expect(await at.kv.read(at.key)).toEqual({ value: 'two', version: 1 })
    })

    it('extends the lifetime', async () => {
      await at.kv.add(at.key, 'one', 60)
      at.later(59)
      await at.kv.swap(at.key, 1, 'two', 60)
      at.later(59)
      expect(await at.kv.get(at.key)).toBe('two')
    })

    it('brings nothing back that was deleted meanwhile (a finished sign-in)', async () => {
      await at.kv.add(at.key, 'one', 60)
      await at.kv.delete(at.key)
      expect(await at.kv.swap(at.key, 1, 'x', 60)).toBe(false)
      expect(await at.kv.get(at.key)).toBeUndefined()
    })

    it.each([0, 1])('lets one of 50 parallel swaps of version %i through', async (version) => {
      if (version === 1) await at.kv.add(at.key, 'base', 60)
      const swapped = await many(50, (i) => at.kv.swap(at.key, version, String(i), 60))
      expect(swapped.filter(Boolean)).toHaveLength(1)
      expect(await at.kv.read(at.key)).toEqual({ value: String(swapped.indexOf(true)), version: version + 1 })
    })
  })
}

function describeTaking(at: Bench): void {
  describe('take and delete', () => {
    it('gives the value once', async () => {
      await at.kv.set(at.key, 'secret', 60)
      expect(await at.kv.take(at.key)).toBe('secret')
      expect(await at.kv.take(at.key)).toBeUndefined()
      expect(await at.kv.get(at.key)).toBeUndefined()
    })

    it('gives nothing that has expired', async () => {
      await at.kv.set(at.key, 'secret', 60)
      at.later(60)
      expect(await at.kv.take(at.key)).toBeUndefined()
    })

    it('gives the value to one of 50 parallel takes', async () => {
      await at.kv.set(at.key, 'secret', 60)
      const taken = await many(50, () => at.kv.take(at.key))
      expect(taken.filter((value) => value !== undefined)).toEqual(['secret'])
    })

    it('delete is quiet about absent keys and touches no other', async () => {
      await at.kv.set(`${at.key}.other`, 'stays', 60)
      await at.kv.delete(at.key)
      expect(await at.kv.get(`${at.key}.other`)).toBe('stays')
    })
  })
}

function describeWalks(at: Bench): void {
  it('answers every walk as the model does', async () => {
    const model = createModelKeyValue({ now: () => at.now() })
    let walks = 0
    await fc.assert(
      fc.asyncProperty(walk, async (acts) => {
        const prefix = `${at.key}:${walks++}:`
        for (const [i, act] of acts.entries()) {
          if (act.act === 'wait') at.later(act.seconds)
          expect([i, await perform(at.kv, prefix, i, act)]).toEqual([i, await perform(model, prefix, i, act)])
        }
      }),
      { numRuns: 25 },
    )
  })

  it('purge removes expired records only, as many as asked', async () => {
    await many(5, (i) => at.kv.set(`${at.key}.${i}`, 'x', 10))
    await at.kv.set(`${at.key}.live`, 'x', 3600)
    at.later(11)
    const now = at.now()
    const before = await at.kv.purge(now, 3)
    expect(before).toBeLessThanOrEqual(3)
    let last = before
    while (last > 0) last = await at.kv.purge(now, 1000)
    expect(await at.kv.get(`${at.key}.live`)).toBe('x')
    expect(await at.kv.get(`${at.key}.0`)).toBeUndefined()
  })
}
