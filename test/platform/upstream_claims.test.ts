import { describe, expect, it } from '@jest/globals'
import { boundedClaims, subjectOf, withVerifiedEmail } from '../../src/platform/upstream_claims.ts'

const parsed = (json: string) => JSON.parse(json) as { readonly [name: string]: unknown }

describe('claims of a hostile profile', () => {
  it('are let in as they are within bounds', () => {
    const claims = { name: 'Vera', age: 31, tall: true, nothing: null, address: { lines: ['a', { b: 'c' }] } }
    expect(boundedClaims(claims)).toEqual(claims)
  })

  it('have no member that programs read (prototype pollution)', () => {
    const claims = boundedClaims(
      parsed('{"__proto__":{"admin":true},"constructor":{"a":1},"a":{"__proto__":{"admin":true},"b":1}}'),
    )
    expect(JSON.stringify(claims)).toBe('{"a":{"b":1}}')
    expect((claims as { admin?: boolean }).admin).toBeUndefined()
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('lose texts that are too long, and names', () => {
    const ok = 'x'.repeat(2048)
    const claims = boundedClaims({ ok, long: `${ok}x`, ['n'.repeat(256)]: 1, '': 1, inner: { long: `${ok}x`, b: 1 } })
    expect(claims).toEqual({ ok, inner: { b: 1 } })
  })

  it('lose what no database or client takes', () => {
    expect(
      boundedClaims({ a: 'a\0b', b: '\ud800', 'c\0': 1, d: Number.POSITIVE_INFINITY, e: undefined, f: () => 1 }),
    ).toEqual({})
  })

  it('lose what is too deep, without a crash', () => {
    const depth = 5000
    const deep = parsed(
      `{"a":${'['.repeat(depth)}${']'.repeat(depth)},"b":${'{"c":'.repeat(100)}1${'}'.repeat(100)},"d":1}`,
    )
    const claims = boundedClaims(deep)
    expect(claims.d).toBe(1)
    expect(JSON.stringify(claims).length).toBeLessThan(100)
  })

  it('are no more than a hundred values, and 32 kB', () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`claim${index}`, index]))
    expect(Object.keys(boundedClaims(many))).toHaveLength(100)
    const list = boundedClaims({ list: Array.from({ length: 1000 }, () => [1]) })
    expect(JSON.stringify(list).match(/1/g)?.length).toBeLessThanOrEqual(100)
    const large = Object.fromEntries(Array.from({ length: 90 }, (_, index) => [`claim${index}`, 'x'.repeat(2000)]))
    const kept = JSON.stringify(boundedClaims(large)).length
    expect(kept).toBeGreaterThan(28_000)
    expect(kept).toBeLessThan(33_000)
  })
})

describe('a subject', () => {
  it.each(['1', 'vera', 'x'.repeat(255), 'ä', 'a b'])('may be %j', (subject) => {
    expect(subjectOf(subject)).toBe(subject)
  })

  it.each([
    [undefined],
    [null],
    [0],
    [1],
    [''],
    ['  '],
    [[]],
    [['a']],
    [{}],
    [true],
    ['x'.repeat(256)],
    ['a\0'],
    ['\udc00'],
  ])('may not be %j (A07)', (subject) => {
    expect(() => subjectOf(subject)).toThrow('subject_invalid')
  })
})

describe('an e-mail address', () => {
  const email = 'Vera@Contoso.Example'
  const verified = (claims: object, ...rule: [Parameters<typeof withVerifiedEmail>[1], string[]?]) =>
    withVerifiedEmail({ email, ...claims }, ...rule).email_verified

  it('is verified by a boolean (A02)', () => {
    expect(verified({ email_verified: true }, 'claim')).toBe(true)
    for (const said of ['true', 'True', 1, [], {}, null, false])
      expect(verified({ email_verified: said }, 'claim')).toBe(false)
    expect(verified({}, 'claim')).toBe(false)
  })

  it('is verified by a text only where documents say so (Apple)', () => {
    for (const said of [true, 'true']) expect(verified({ email_verified: said }, 'claim_or_text')).toBe(true)
    for (const said of ['True', '1', 1, ['true'], 'false', false]) {
      expect(verified({ email_verified: said }, 'claim_or_text')).toBe(false)
    }
  })

  it('is verified by who owns its domain, whatever email_verified says (nOAuth, A03)', () => {
    expect(verified({ email_verified: true }, 'domain_owner')).toBe(false)
    expect(verified({ xms_edov: true }, 'domain_owner')).toBe(true)
    for (const said of ['true', 1, '1']) expect(verified({ xms_edov: said }, 'domain_owner')).toBe(false)
    expect(verified({}, 'domain_owner', ['contoso.example'])).toBe(true)
    expect(verified({ email: 'a@contoso.example@evil.example' }, 'domain_owner', ['contoso.example'])).toBe(false)
    expect(verified({ email: 'contoso.example' }, 'domain_owner', ['contoso.example'])).toBe(false)
  })

  it('is taken with its mark, or both are not', () => {
    expect(withVerifiedEmail({ email: 7, email_verified: true, name: 'V' }, 'claim')).toEqual({ name: 'V' })
    expect(withVerifiedEmail({ email_verified: true }, 'claim')).toEqual({})
  })
})
