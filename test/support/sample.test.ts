import { describe, expect, it } from '@jest/globals'
import { SEED, sample, sampleTitle } from './sample.ts'

const matrix = Array.from({ length: 200 }, (_, index) => index)
const deep = process.env.GENKAN_TEST_DEEP === '1'

describe('sample', () => {
  it(sampleTitle('takes its share, in order, the same for a seed'), () => {
    const taken = sample(matrix, { seed: 7 })
    expect(taken).toHaveLength(deep ? 200 : 20)
    expect(taken).toEqual([...taken].sort((a, b) => a - b))
    expect(sample(matrix, { seed: 7 })).toEqual(taken)
    if (!deep) expect(sample(matrix, { seed: 8 })).not.toEqual(taken)
    expect(Number.isSafeInteger(SEED)).toBe(true)
  })

  it('takes at least what is asked for, and covers the matrix over the seeds', () => {
    expect(sample([1, 2, 3])).toHaveLength(deep ? 3 : 1)
    expect(sample([1, 2, 3], { least: 2 })).toHaveLength(deep ? 3 : 2)
    const seen = new Set(Array.from({ length: 100 }, (_, seed) => sample(matrix, { seed })).flat())
    expect(seen.size).toBe(200)
  })
})
