import { describe, expect, it } from '@jest/globals'
import { mixesScripts, scriptsOf } from '../../src/platform/scripts.ts'

describe('scripts', () => {
  it.each([
    ['anna-1', ['Latin'], false],
    ['12.3-4', [], false],
    ['\u0430nna', ['Cyrillic', 'Latin'], true],
    ['\u0438\u0432\u0430\u043d', ['Cyrillic'], false],
    ['\u03b1lpha', ['Greek', 'Latin'], true],
    ['\u03b1\u0430', ['Cyrillic', 'Greek'], true],
    ['\u13aapple', ['Cherokee', 'Latin'], true],
    ['\u0561bc', ['Armenian', 'Latin'], true],
    ['\u6771\u4eac\u30bf\u30ef\u30fc\u306eshop', ['Han', 'Hiragana', 'Katakana', 'Latin'], false],
    ['\uc0bc\u6771abc', ['Han', 'Hangul', 'Latin'], false],
    ['\u0e44\u0e17\u0e22abc', ['Latin', 'Thai'], false],
    ['\u05d0\u0e01', ['Hebrew', 'Thai'], true],
    ['\u6771\u0e01', ['Han', 'Thai'], true],
    ['\u0430\u6771', ['Cyrillic', 'Han'], true],
    ['a\u0301', ['Latin'], false],
    ['\u16a0', ['Other'], false],
    ['\u16a0a\u0e01', ['Latin', 'Other', 'Thai'], true],
  ])('%s: %j, a mixture: %s', (text, scripts, mixed) => {
    expect(scriptsOf(text)).toEqual(scripts)
    expect(mixesScripts(scripts)).toBe(mixed)
  })
})
