import { describe, expect, it } from '@jest/globals'
import { createCrowd } from '../../src/platform/crowd.ts'

describe('a crowd', () => {
  it('holds who came and has not gone', () => {
    const crowd = createCrowd<{ n: number }>()
    const [one, two, three] = [{ n: 1 }, { n: 2 }, { n: 3 }]
    for (const each of [one, two, three]) crowd.add(each)
    crowd.delete(one)
    expect(crowd.all().toSorted((a, b) => a.n - b.n)).toEqual([two, three])
    crowd.delete(three)
    crowd.delete(two)
    expect(crowd.all()).toEqual([])
  })

  it('holds nobody twice, and forgets nobody else with who is not there', () => {
    const crowd = createCrowd<object>()
    const [one, other] = [{}, {}]
    crowd.add(one)
    crowd.add(one)
    crowd.delete(other)
    expect(crowd.all()).toEqual([one])
    crowd.delete(one)
    crowd.delete(one)
    crowd.add(one)
    expect(crowd.all()).toEqual([one])
  })
})
