import { describe, expect, it } from '@jest/globals'
import { parseStrictJson } from '../../src/platform/strict_json.ts'

describe('strict JSON', () => {
  it.each([
    '{"a":1,"b":2}',
    '{"a":{"a":{"a":1}}}',
    '[{"a":1},{"a":1}]',
    '{"a":"\\"a\\":1,\\"a\\"","b":"{}[]:,"}',
    '{"a":[{"b":1},["b"],{"b":1}],"b":1}',
    '"a"',
    'null',
    '0',
  ])('reads %s', (text) => {
    expect(parseStrictJson(text)).toEqual({ value: JSON.parse(text) })
  })

  it.each([
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '{"a":{"b":1,"c":[],"b":2}}',
    '[{"a":1},{"b":{},"b":{}}]',
    '{"":1,"":2}',
    '{"__proto__":1,"__proto__":2}',
  ])('refuses a member twice: %s', (text) => {
    expect(parseStrictJson(text)).toBeUndefined()
  })

  it.each(['', '{', '{"a":1,}', "{'a':1}", 'undefined', '{"a":1}{}'])('refuses what is no JSON: %s', (text) => {
    expect(parseStrictJson(text)).toBeUndefined()
  })
})
