import { describe, expect, it } from '@jest/globals'
import { createRules } from '../../../src/features/passwords/rules.ts'
import { weaknessOf } from '../../../src/platform/password_strength.ts'

describe('The rules for new passwords', () => {
  const problem = (password: string, words: string[] = [], minLength = 8) =>
    createRules({
      ...{ minLength, brandWords: async () => [] },
      weaknessOf: async (text, own) => weaknessOf(text, own),
    })(password, words)

  it.each([
    'violet-tangent-8',
    'correct horse battery staple',
    'nx7#kQ2pLw',
    '日本語で長い合言葉です',
    'møllehjulet snurrer rundt',
  ])('takes %j: no rules of composition', async (password) => {
    expect(await problem(password)).toBeUndefined()
  })

  it.each([
    ['seven characters', 'kQ2pLw7'],
    ['nothing', ''],
    ['seven characters of two UTF-16 units each', '🐢🦊🐙🦔🐌🦉🐝'],
  ])('refuses %s as too short', async (_, password) => {
    expect(await problem(password)).toBe('password_too_short')
  })

  it('counts code points after composition: eight are enough however they were typed', async () => {
    expect(await problem('🐢🦊🐙🦔🐌🦉🐝🦚')).toBeUndefined()
    expect(await problem('e\u0301\u00e8o\u0302u\u0308a\u030ai\u0300n\u0303')).toBe('password_too_short')
  })

  it('asks for more where it is the only factor', async () => {
    expect(await problem('nx7#kQ2pLwzz', [], 15)).toBe('password_too_short')
    expect(await problem('nx7#kQ2pLwzz-tur', [], 15)).toBeUndefined()
  })

  it('takes 256 characters and not 257, nor more than 1,024 bytes', async () => {
    const long = (count: number) =>
      Array.from({ length: count }, (_, i) => 'kQx7pLwz2m'[(i * 7 + (i >> 3)) % 10]).join('')
    expect(await problem(long(256))).toBeUndefined()
    expect(await problem(long(257))).toBe('password_too_long')
    expect(await problem('字'.repeat(400))).toBe('password_too_long')
  })

  it.each([
    'password1',
    'Password123',
    'qwertyuiop',
    'iloveyou',
    'p@ssw0rd',
    '12345678',
    'aaaaaaaaaa',
    'sunshine',
    'trustno1trustno1',
    'abcdefghij',
  ])('refuses %j as too common', async (password) => {
    expect(await problem(password)).toBe('password_too_common')
  })

  it.each([
    ['anna.virtanen', ['anna.virtanen@example.com']],
    ['Virtanen2026', ['anna.virtanen@example.com']],
    ['virtanen!virtanen', ['anna.virtanen@example.com']],
    ['anna.virtanen@example.com', ['anna.virtanen@example.com']],
    ['example-12', ['anna@example.com']],
    ['Genkan-2026', ['Genkan']],
    ['V1rtan3n99', ['anna.virtanen@example.com']],
  ])('refuses %j, made of own words', async (password, words) => {
    expect(await problem(password, words)).toBe('password_contains_own_words')
  })

  it('takes an own word inside of a password that is good without it', async () => {
    expect(await problem('virtanen rides 7 purple camels', ['anna.virtanen@example.com'])).toBeUndefined()
  })
})
