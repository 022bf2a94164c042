import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { type Account, claimsOf, onlyProfile } from '../../../src/features/accounts/types.ts'
import { canonicalEmail, mixedScripts } from '../../../src/platform/email_address.ts'

const LONG = 'x'.repeat(64)

describe('canonicalEmail', () => {
  it.each([
    ['anna@example.com', 'anna@example.com'],
    ['  Anna.Smith@Example.COM\t', 'anna.smith@example.com'],
    ['anna+shop@example.com', 'anna+shop@example.com'],
    ["o'brien@example.ie", "o'brien@example.ie"],
    ['ＡＮＮＡ＠ＥＸＡＭＰＬＥ．ＣＯＭ', 'anna@example.com'],
    ['anna＠example.com', 'anna@example.com'],
    ['\u212aelvin@example.com', 'kelvin@example.com'],
    ['anna@bücher.example', 'anna@xn--bcher-kva.example'],
    ['anna@BÜCHER.example', 'anna@xn--bcher-kva.example'],
    ['anna@bu\u0308cher.example', 'anna@xn--bcher-kva.example'],
    ['anna@xn--bcher-kva.example', 'anna@xn--bcher-kva.example'],
    ['anna@пример.рф', 'anna@xn--e1afmkfd.xn--p1ai'],
    ['anna@東京タワーのshop.example', 'anna@xn--shop-4c4crs0kodv073ay09b.example'],
    [`${LONG}@example.com`, `${LONG}@example.com`],
  ])('folds %j into one key', (typed, canonical) => {
    expect(canonicalEmail(typed)).toBe(canonical)
  })

  it.each([
    ['nothing', ''],
    ['no @', 'anna.example.com'],
    ['two @', 'anna@evil.example@example.com'],
    ['no local part', '@example.com'],
    ['no domain', 'anna@'],
    ['no dot in the domain', 'anna@localhost'],
    ['a comma', 'anna@example.com,evil@example.net'],
    ['a semicolon', 'anna@example.com;evil@example.net'],
    ['a quoted local part', '"anna smith"@example.com'],
    ['a quote that hides an @', '"evil@evil.example anna"@example.com'],
    ['a display name', 'Anna <anna@example.com>'],
    ['a comment', 'anna(comment)@example.com'],
    ['a space inside', 'an na@example.com'],
    ['a newline and a header', 'anna@example.com\r\nBcc: evil@example.net'],
    ['a newline at the end', 'anna@example.com\n'],
    ['a NUL', 'anna\0@example.com'],
    ['a zero-width joiner', 'an\u200dna@example.com'],
    ['a zero-width space', 'anna@exam\u200bple.com'],
    ['a soft hyphen', 'anna@exam\u00adple.com'],
    ['a right-to-left override', 'anna\u202e@example.com'],
    ['a byte order mark', '\ufeffanna@example.com'],
    ['a Cyrillic twin in the local part', '\u0430nna@example.com'],
    ['a Turkish dotless i', 'adm\u0131n@example.com'],
    ['a Turkish dotted I', 'ADM\u0130N@example.com'],
    ['a Cyrillic twin in a label of the domain', 'anna@\u0430pple.com'],
    ['the same in punycode', 'anna@xn--pple-43d.com'],
    ['a Greek omicron in a label of the domain', 'anna@g\u03bf\u03bfgle.com'],
    ['an accent in the local part', 'ánna@example.com'],
    ['an encoded word', '=?utf-8?q?anna=40evil.example=3E?=@example.com'],
    ['a percent route', 'anna%evil.example@example.com'],
    ['a bang route', 'evil.example!anna@example.com'],
    ['a percent-encoded domain', 'anna@ex%61mple.com'],
    ['two dots in the local part', 'anna..smith@example.com'],
    ['a dot at the begin', '.anna@example.com'],
    ['a dot at the end of the domain', 'anna@example.com.'],
    ['two dots in the domain', 'anna@example..com'],
    ['an address literal', 'anna@[127.0.0.1]'],
    ['an IP address', 'anna@127.0.0.1'],
    ['an IP address in disguise', 'anna@0x7f.1'],
    ['a port', 'anna@example.com:25'],
    ['a path', 'anna@example.com/x'],
    ['a slash made of a ligature', 'anna@exa\u2100mple.com'],
    ['a backslash', 'anna@example.com\\x'],
    ['a hyphen at the begin of a label', 'anna@-example.com'],
    ['a local part that is too long', `${LONG}x@example.com`],
    ['a domain that is too long', `anna@${`${'x'.repeat(60)}.`.repeat(5)}com`],
    ['a lone surrogate', 'anna\ud800@example.com'],
    ['64 KiB', `${'a'.repeat(65_536)}@example.com`],
  ])('refuses %s', (_, typed) => {
    expect(canonicalEmail(typed)).toBeUndefined()
  })

  it.each([undefined, null, 1, true, ['a@example.com'], { toString: () => 'a@example.com' }])(
    'refuses %p, which is no text',
    (value) => {
      expect(canonicalEmail(value)).toBeUndefined()
    },
  )

  it('is a fixed point of itself, ASCII, with one @ and nothing that a mail header reads', () => {
    const letters = fc.constantFrom(...'aZ9.+-_@ ,;:"<>()\\\r\n\0äßıİ＠．\u200d\u202eКk%!=?xn'.split(''))
    const texts = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({ unit: letters, maxLength: 30 }).map((text) => `${text}@example.com`),
      fc.string({ unit: letters, maxLength: 30 }).map((text) => `a@${text}.com`),
      fc.emailAddress(),
    )
    fc.assert(
      fc.property(texts, (text) => {
        const email = canonicalEmail(text)
        if (email === undefined) return
        expect(canonicalEmail(email)).toBe(email)
        expect(email).toMatch(/^[\x21-\x7e]+$/)
        expect(email.split('@')).toHaveLength(2)
        expect(email).not.toMatch(/[\s,;:"<>()[\]\\]/)
        expect(email).toBe(email.toLowerCase())
      }),
      { numRuns: 5000 },
    )
  })

  it('does not hang on hostile input (A102)', () => {
    const started = performance.now()
    for (const text of [`${'a.'.repeat(250)}@example.com`, `a@${'a-'.repeat(250)}`, `${'@'.repeat(500)}`])
      canonicalEmail(text)
    // A pattern that runs away takes minutes; a busy machine may well take a moment.
    expect(performance.now() - started).toBeLessThan(2000)
  })
})

describe('claimsOf', () => {
  const now = new Date('2026-11-26T12:00:00Z')
  const account = (profile: Account['profile']): Account => ({
    ...{
      id: 'a1',
      email: 'ann@example.com',
      emailVerifiedAt: now,
      state: 'active',
      epoch: 0,
      locale: undefined,
      profile,
    },
    ...{ createdAt: now, updatedAt: now, passwordChangedAt: undefined, factors: [], secondFactorRequired: false },
    ...{ enrolmentSkips: 0, nudgeAfter: undefined },
  })
  const phone = (profile: Account['profile'], proven?: string) => {
    const { phone_number, phone_number_verified } = claimsOf(account(profile), proven)
    return [phone_number, phone_number_verified]
  }

  it('says of a number that it is confirmed only when the second factor has proven the same', () => {
    expect(phone({ phone_number: '+358401234567' })).toEqual(['+358401234567', false])
    expect(phone({ phone_number: '+358401234567' }, '+358401234567')).toEqual(['+358401234567', true])
    expect(phone({ phone_number: '+358401234567' }, '+358407654321')).toEqual(['+358401234567', false])
  })

  it('never gives the number of the second factor itself', () => {
    expect(phone({}, '+358401234567')).toEqual([undefined, undefined])
    expect(JSON.stringify(claimsOf(account({ phone_number: '+1' }), '+358401234567'))).not.toContain('+358401234567')
  })
})

describe('mixedScripts (A105)', () => {
  it.each([
    ['\u0430nna@example.com', 'local', ['Cyrillic', 'Latin']],
    ['\u0410NNA@EXAMPLE.COM', 'local', ['Cyrillic', 'Latin']],
    [' \u0430nna\uff20example.com ', 'local', ['Cyrillic', 'Latin']],
    ['\u043e\u043e@example.com', 'local', ['Cyrillic', 'Latin']],
    ['\u043e\u043e@b\u00fccher.example', 'local', ['Cyrillic', 'Latin']],
    ['an\u200d\u03b1@example.com', 'local', ['Greek', 'Latin']],
    ['anna@\u0430pple.com', 'domain', ['Cyrillic', 'Latin']],
    ['anna@xn--pple-43d.com', 'domain', ['Cyrillic', 'Latin']],
    ['\u0430nna@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444', 'local', ['Cyrillic', 'Latin']],
  ])('sees %j: %s', (typed, part, scripts) => {
    expect(canonicalEmail(typed)).toBeUndefined()
    expect(mixedScripts(typed)).toMatchObject({ part, scripts })
  })

  it.each([
    'anna@example.com',
    'anna@localhost',
    'ánna@example.com',
    'adm\u0131n@example.com',
    'an na@example.com',
    '\u6771@example.com',
    '\u0438\u0432\u0430\u043d@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444',
    '\u0438\u0432\u0430\u043d',
    'hello \u0438\u0432\u0430\u043d',
    '',
    '@',
    '\u0430nna@'.padEnd(60_000, 'x'),
  ])('does not see one in %j', (typed) => {
    expect(mixedScripts(typed)).toBeUndefined()
  })
})

it('A profile keeps its own claims only (A26, A87)', () => {
  const given = {
    name: 'Anna',
    sub: 'other',
    email: 'v@example.com',
    email_verified: true,
    role: 'admin',
    __proto__: { x: 1 },
  }
  expect(onlyProfile(given)).toEqual({ name: 'Anna' })
})
