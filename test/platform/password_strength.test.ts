import { describe, expect, it } from '@jest/globals'
import { loadDictionaries, weaknessOf } from '../../src/platform/password_strength.ts'

describe('how easily a password is guessed', () => {
  it.each([
    ['violet-tangent-8', undefined],
    ['sunshine', 'common'],
    ['p@$$w0rd', 'common'],
    ['virtanen12', 'own_words'],
    ['sunshine and seven purple camels, riding', undefined],
    ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'common'],
  ])('%j: %s', (password, weakness) => {
    expect(weaknessOf(password, ['virtanen'])).toBe(weakness)
  })

  it('is told of the hardest input in bounded time (A102)', async () => {
    await loadDictionaries()
    for (const password of ['@4!8|0$5+'.repeat(28), 'p@$$w0rd1!'.repeat(25), 'a'.repeat(256), '0'.repeat(65_536)]) {
      const started = performance.now()
      weaknessOf(password, [])
      // The library alone takes seconds for these; the bound is wide, since test machines are slow.
      expect(performance.now() - started).toBeLessThan(750)
    }
  })
})
