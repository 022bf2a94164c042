import { describe, expect, it } from '@jest/globals'
import {
  type Detail,
  type DetailType,
  detailDigest,
  detailProblem,
  parameterProblem,
  readDetailTypes,
} from '../../src/platform/authorization_details.ts'
import { plainWords, wordsOf } from '../../src/platform/detail_words.ts'
import { DETAIL_TYPES, PAYMENT } from '../support/details.ts'

const DECLARED = {
  resources: ['https://payments.test.example', 'https://accounts.test.example'],
  acrs: ['low', 'urn:genkan:acr:mfa'],
}
const [payment, information] = DETAIL_TYPES
const read = (...given: readonly unknown[]) => readDetailTypes(given, DECLARED)

function typeOf(fields: object, more: object = {}): DetailType {
  const given = { type: 'x', resource: DECLARED.resources[0], text: { en: 'It' }, fields, ...more }
  const { types, problems } = read(given)
  const [type] = types
  if (type === undefined || problems.length > 0) throw new Error(problems.join('\n'))
  return type
}

describe('declared types', () => {
  it('are taken as they are', () => {
    expect(read(...DETAIL_TYPES).problems).toEqual([])
  })

  it('are refused with every problem at once', () => {
    const fields = {
      ...payment?.fields,
      type: { type: 'string' },
      actions: { type: 'string' },
      note: { type: 'date', enum: ['a'], max: 3, label: { en: '' } },
    }
    const text = { fi: 'Maksa {amuont}', sv: 'Betala {due}', ar: '{amount, number}', th: '{payee, select, other {x}}' }
    const wrong = { ...payment, resource: 'https://no.example', minimum_acr: 'gold', fields, text }
    expect(read(payment, payment, wrong, { type: 'loose', extra: 1 }).problems).toEqual([
      'authorization_details_types.1.type: is declared twice',
      'authorization_details_types.2.type: is declared twice',
      'authorization_details_types.2.resource: is not a resource server of this configuration',
      'authorization_details_types.2.minimum_acr: is none of low, urn:genkan:acr:mfa',
      'authorization_details_types.2.fields.type: is what tells the types apart',
      'authorization_details_types.2.fields.actions.type: must be strings',
      'authorization_details_types.2.fields.note.enum: is not for its type',
      'authorization_details_types.2.fields.note.max: is not for its type',
      'authorization_details_types.2.fields.note.label: must be 1 to 60 visible characters',
      expect.stringMatching(/2\.text\.en: is missing/),
      expect.stringMatching(/2\.text\.fi: has the placeholder \{amuont\}/),
      expect.stringMatching(/2\.text\.sv: has a placeholder of a field that is not required/),
      expect.stringMatching(/2\.text\.ar: \{amount\} is used in another way/),
      expect.stringMatching(/2\.text\.th: \{payee\} is used in another way/),
      expect.stringMatching(/3\.resource/),
      expect.stringMatching(/3\.text/),
      expect.stringMatching(/3\.fields/),
      expect.stringMatching(/3: Unrecognized key/),
    ])
  })
})

describe('an object', () => {
  const IBAN = 'must be an IBAN'
  it.each([
    [
      'string',
      'Ann & Söhne 👩‍👩‍👧 شركة',
      ['', ' ', 'x'.repeat(141), 'a\nb', 'a\u202Eb', 'a\u200Eb', '\uD800', 7, null, ['a'], {}],
    ],
    ['amount', '0.50', ['', '01', '1.', '.5', '-1', '1e3', '+1', '1,5', ' 1', 1, '١', '1'.repeat(16), '0.1234567']],
    ['currency', 'EUR', ['eur', 'XYZ1', 'EU', 'QQQ', 978]],
    [
      'iban',
      'DE89370400440532013000',
      ['DE88370400440532013000', 'DE89 3704 0044 0532 0130 00', 'de89370400440532013000'],
    ],
    ['date', '2028-02-29', ['2027-02-29', '2027-13-01', '27-01-01', '2027-1-1', '2027-01-01T00:00:00Z', 1]],
    [
      'url',
      'https://shop.example/a?b=1',
      [
        'http://shop.example/',
        'javascript:1',
        'https://a@b.example/',
        'https://раураl.example/',
        '/x',
        `https://a.example/${'x'.repeat(500)}`,
      ],
    ],
    [
      'strings',
      ['a', 'b'],
      [[], 'a', ['a', 'a'], ['a', 1], [''], [['a']], Array.from({ length: 21 }, (_, i) => `${i}`)],
    ],
  ])('of %s takes what it is and nothing like it', (kind, good, bad) => {
    const type = typeOf({ field: { type: kind, required: true } })
    expect(detailProblem(type, { type: 'x', field: good })).toBeUndefined()
    for (const value of bad) {
      expect([value, detailProblem(type, { type: 'x', field: value })]).toEqual([
        value,
        expect.stringMatching(/^field /),
      ])
    }
    expect(detailProblem(type, { type: 'x' })).toBe('field is missing')
    if (kind === 'iban') expect(detailProblem(type, { type: 'x', field: 'x' })).toContain(IBAN)
  })

  it('keeps to limits, lists and known fields', () => {
    const type = typeOf({
      amount: { type: 'amount', max: 10 },
      note: { type: 'string', max: 3 },
      actions: { type: 'strings', enum: ['read', 'write'], max: 1 },
    })
    expect(detailProblem(type, { type: 'x', amount: '10.00', note: 'abc', actions: ['read'] })).toBeUndefined()
    expect(detailProblem(type, { type: 'x', amount: '10.01' })).toBe('amount must be 10 at the most')
    expect(detailProblem(type, { type: 'x', note: 'abcd' })).toMatch(/^note /)
    expect(detailProblem(type, { type: 'x', actions: ['delete'] })).toBe('actions must be of: read, write')
    expect(detailProblem(type, { type: 'x', actions: ['read', 'write'] })).toMatch(/^actions /)
    expect(detailProblem(type, { type: 'x', other: 1 })).toBe('other is not known')
    expect(detailProblem(type, { type: 'x', '<b>': 1 })).toBe('a field is not known')
    expect(detailProblem(type, JSON.parse('{"type":"x","__proto__":{}}'))).toBe('__proto__ is not known')
  })

  it('has one digest, however it is written', () => {
    const { type, ...rest } = PAYMENT
    expect(detailDigest({ ...rest, type })).toBe(detailDigest(PAYMENT))
    expect(detailDigest({ ...PAYMENT, amount: '1249.9' })).not.toBe(detailDigest(PAYMENT))
    expect(detailDigest({ a: ['b', 'c'] })).not.toBe(detailDigest({ a: ['c', 'b'] }))
  })
})

it('a parameter is small, an array, and says nothing twice', () => {
  expect(parameterProblem(JSON.stringify([PAYMENT, { ...PAYMENT, amount: '1' }]))).toBeUndefined()
  const eleven = Array.from({ length: 11 }, (_, i) => ({ ...PAYMENT, amount: `${i}` }))
  expect(parameterProblem(JSON.stringify(eleven))).toMatch(/more than 10/)
  expect(parameterProblem(JSON.stringify([PAYMENT, PAYMENT]))).toMatch(/twice/)
  expect(parameterProblem('[{"type":"a","type":"b"}]')).toMatch(/twice/)
  expect(parameterProblem(`[${' '.repeat(8192)}]`)).toMatch(/longer/)
  for (const other of ['null', '{}', '1', '"x"', 'x']) expect(parameterProblem(other)).toBeDefined()
})

describe('words', () => {
  const wordsIn = (given: unknown, detail: Detail, locale: string) => {
    const [type] = read(given).types
    if (type === undefined) throw new Error('no type')
    return wordsOf(type, detail, locale)
  }
  const plain = (words: ReturnType<typeof wordsOf>) => plainWords(words).replace(/[\u2068\u2069]/g, '')

  it('are of the page’s language, with its amounts and dates, or of English as a whole', () => {
    const detail = { ...PAYMENT, amount: '12345678901234.50' }
    expect(plain(wordsIn(payment, detail, 'en'))).toBe(
      'Pay 12,345,678,901,234.50 EUR to Harbour Books · Account: FI21 1234 5600 0007 85 · due: December 24, 2026',
    )
    expect(plain(wordsIn(payment, detail, 'fi')).replace(/\s/g, ' ')).toBe(
      'Maksa 12 345 678 901 234,50 EUR saajalle Harbour Books · Tili: FI21 1234 5600 0007 85 · due: 24. joulukuuta 2026',
    )
    const other = wordsIn(payment, detail, 'ja')
    expect(other.locale).toBe('en')
    expect(plain(other)).toContain('Pay 12,345,678,901,234.50 EUR')
    const both = { type: 'account_information', actions: ['balances', 'transactions'] }
    expect(plain(wordsIn(information, both, 'en'))).toBe('See balances and transactions of your accounts')
  })

  it('keep a value apart from the sentence, whatever it says (A73)', () => {
    const payee = '{amount} <b>0</b> EUR. שלום'
    const words = wordsIn(payment, { ...PAYMENT, payee }, 'en')
    expect(words.parts.at(-1)).toEqual({ text: payee, isValue: true })
    expect(plainWords(words)).toContain(`to \u2068${payee}\u2069`)
  })
})
