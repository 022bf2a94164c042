import { describe, expect, it } from '@jest/globals'
import { digits, equal, newId, newToken, sha256 } from '../../src/platform/ids.ts'

describe('ids', () => {
  it('newId has 128 bits and newToken 256, base64url, never twice', () => {
    expect(newId()).toMatch(/^[\w-]{22}$/)
    expect(newToken()).toMatch(/^[\w-]{43}$/)
    const made = Array.from({ length: 1000 }, () => [newId(), newToken()]).flat()
    expect(new Set(made).size).toBe(2000)
  })

  it('newId can stand on a command line: it never looks like an option', () => {
    expect(Array.from({ length: 5000 }, newId).filter((id) => id.startsWith('-'))).toEqual([])
  })

  it('digits keeps its length and leading zeros, and each digit is about as frequent as the others', () => {
    for (const count of [1, 6, 14, 15, 40]) expect(digits(count)).toMatch(new RegExp(`^\\d{${count}}$`))
    const text = digits(20_000)
    for (const digit of '0123456789') {
      // 2,000 expected, standard deviation 42: ten deviations never happen by chance.
      expect(Math.abs(text.split(digit).length - 1 - 2000)).toBeLessThan(420)
    }
    expect(Array.from({ length: 200 }, () => digits(2)).some((two) => two.startsWith('0'))).toBe(true)
    for (const count of [0, -1, 1.5, Number.NaN]) expect(() => digits(count)).toThrow(RangeError)
  })

  it('sha256 is the digest of FIPS 180-4 in base64url', () => {
    expect(sha256('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0')
  })

  it('equal compares whole strings of any length', () => {
    expect(equal('', '')).toBe(true)
    expect(equal('abc', 'abc')).toBe(true)
    for (const [a, b] of [
      ['abc', 'abd'],
      ['abc', 'ab'],
      ['', 'a'],
      ['a', 'a\0'],
      ['é', 'e\u0301'],
    ] as const) {
      expect(equal(a, b)).toBe(false)
    }
  })
})
