import { describe, expect, it } from '@jest/globals'
import { isCompactJws } from '../../src/oidc/compact_jws.ts'

const part = (bytes: number) => Buffer.alloc(bytes, 0xab).toString('base64url')

describe('isCompactJws', () => {
  it.each([
    [3, 3, 64],
    [1, 2, 0],
    [40, 90, 256],
  ])('takes parts of %d, %d and %d bytes', (...sizes) => {
    expect(isCompactJws(sizes.map(part).join('.'))).toBe(true)
  })

  const good = [3, 3, 64].map(part).join('.')
  it.each([
    ['padding', `${good}==`],
    ['a blank', `${good} `],
    ['a line break', `${good}\n`],
    // 64 bytes leave four loose bits in the last letter.
    ['loose bits in the last letter', `${good.slice(0, -1)}x`],
    ['the other alphabet', good.replaceAll('_', '/').replace('q', '+')],
    ['four parts', `${good}.${part(3)}`],
    ['two parts', 'YQ.YQ'],
    ['nothing', ''],
  ])('refuses %s', (_name, text) => {
    expect(isCompactJws(text)).toBe(false)
  })

  it('refuses what is no text', () => {
    for (const value of [undefined, null, 7, [good], { good }]) expect(isCompactJws(value)).toBe(false)
  })
})
