import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { maskedNumber, readPhoneNumber } from '../../src/platform/phone_numbers.ts'

const examples = JSON.parse(
  readFileSync(new URL('../../node_modules/libphonenumber-js/examples.mobile.json', import.meta.url), 'utf8'),
) as { readonly [country: string]: string }

describe('a telephone number', () => {
  it.each([
    '+358401234567',
    '+358 40 123 4567',
    '+358 (40) 123-4567',
    ' +358.40.1234567 ',
    '＋３５８４０１２３４５６７',
    '\u2066+358 40 1234567\u2069',
  ])('is one however it is written: %j', async (typed) => {
    expect(await readPhoneNumber(typed)).toEqual({ number: '+358401234567', country: 'FI', prefix: '+358401' })
  })

  it('without a country code is one of the only country there is', async () => {
    expect(await readPhoneNumber('040 123 4567')).toEqual({ problem: 'not_a_number' })
    expect(await readPhoneNumber('040 123 4567', 'FI')).toMatchObject({ number: '+358401234567' })
    expect(await readPhoneNumber('040 123 4567', 'XX')).toEqual({ problem: 'not_a_number' })
  })

  it.each([
    '',
    '+',
    '112',
    '+3584570',
    '+358401234567;ext=5',
    'tel:+358401234567',
    'call me +358401234567',
    '+358401234567\n+358409999999',
    '+358401234567, +358409999999',
    '+358401234567x5',
    '+999123456789',
    '+883510000000000',
    `+${'4'.repeat(63)}`,
    `+358401234567${' '.repeat(100)}1`,
  ])('is none: %j', async (typed) => {
    expect(await readPhoneNumber(typed)).toEqual({ problem: 'not_a_number' })
  })

  it.each([
    ['premium rate, Finland', '+358600123456'],
    ['premium rate, United States', '+19005551234'],
    ['premium rate, United Kingdom', '+449098790000'],
    ['shared cost, United Kingdom', '+448431234567'],
    ['toll free, Germany', '+498001234567'],
    ['a landline, Germany', '+4930123456'],
    ['a personal number, United Kingdom', '+447012345678'],
  ])('is of no mobile phone: %s', async (_kind, typed) => {
    expect(await readPhoneNumber(typed)).toEqual({ problem: 'not_mobile' })
  })

  it('is read for every country that has mobile phones, and its one form is read the same again', async () => {
    const refused: string[] = []
    for (const [country, national] of Object.entries(examples)) {
      const read = await readPhoneNumber(national, country)
      if ('problem' in read) refused.push(country)
      else expect([country, await readPhoneNumber(read.number)]).toEqual([country, read])
    }
    expect(Object.keys(examples).length).toBeGreaterThan(230)
    expect(refused).toEqual([])
  })

  it('of any text is E.164 or none, and nothing throws', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.stringMatching(/^\+[0-9 ()-]{0,20}$/)), async (typed) => {
        const read = await readPhoneNumber(typed, 'FI')
        if ('number' in read) expect(read.number).toMatch(/^\+[1-9]\d{5,14}$/)
      }),
    )
  })

  it('shows its last two digits to whoever asks', () => {
    expect(maskedNumber('+358401234567')).toBe('••••\u00a067')
  })
})
