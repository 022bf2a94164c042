import { describe, expect, it } from '@jest/globals'
import { createLastUses } from '../../src/platform/last_uses.ts'

const at = (second: number) => new Date(1_000_000 + second * 1000)

describe('last uses', () => {
  it('writes the latest time of each thing, once, and nothing when nothing was used', async () => {
    const written: [string, Date][][] = []
    const uses = createLastUses(async (noted) => void written.push([...noted]))
    await uses.flush()
    for (const second of [1, 3, 2]) uses.note('a', at(second))
    uses.note('b', at(1))
    await uses.flush()
    await uses.flush()
    expect(written).toEqual([
      [
        ['a', at(3)],
        ['b', at(1)],
      ],
    ])
  })

  it('keeps what could not be written, beside what was used meanwhile', async () => {
    let away = true
    let seen: ReadonlyMap<string, Date> = new Map()
    const uses = createLastUses(async (noted) => {
      if (away) {
        uses.note('a', at(5))
        throw new Error('database away')
      }
      seen = noted
    })
    uses.note('a', at(1))
    uses.note('b', at(2))
    await expect(uses.flush()).rejects.toThrow('database away')
    away = false
    await uses.flush()
    expect([...seen]).toEqual([
      ['a', at(5)],
      ['b', at(2)],
    ])
  })
})
