import { describe, expect, it } from '@jest/globals'
import { agoIn, countryIn, dayIn, directionOf, momentIn, pickLocale } from '../../src/platform/locales.ts'

const LOCALES = ['en', 'ar', 'fi', 'ja', 'sv', 'th', 'pt-BR']

describe('pickLocale (BCP 47 lookup, RFC 4647 §3.4)', () => {
  it.each([
    [[], 'en'],
    [['fi'], 'fi'],
    [['FI-fi'], 'fi'],
    [['fi_FI'], 'fi'],
    [['sv-FI', 'fi'], 'sv'],
    [['ja-JP-u-ca-japanese'], 'ja'],
    [['ar-EG'], 'ar'],
    [['th-TH'], 'th'],
    [['de', 'zh-Hant-TW', 'nb', 'fi'], 'fi'],
    [['zh'], 'en'],
    [['nb'], 'en'],
    [['art'], 'en'],
    [['en-GB', 'fi'], 'en'],
    [['pt-BR'], 'pt-BR'],
    [['pt-br-x-y'], 'pt-BR'],
    [['pt-PT', 'fi'], 'pt-BR'],
    [['pt'], 'pt-BR'],
    [['*', 'fi'], 'fi'],
    [['', '-', '../fi', '__proto__'], 'en'],
    [[`fi${'-x'.repeat(50_000)}`], 'fi'],
  ])('%j gives %s', (candidates, expected) => {
    expect(pickLocale(LOCALES, candidates)).toBe(expected)
  })
})

it('Arabic runs from right to left', () => {
  expect(LOCALES.map(directionOf)).toEqual(['ltr', 'rtl', 'ltr', 'ltr', 'ltr', 'ltr', 'ltr'])
  expect(directionOf('ar-EG')).toBe('rtl')
})

describe('times', () => {
  const now = new Date('2026-11-25T09:05:00.000Z')
  const minutesAgo = (minutes: number) => new Date(now.getTime() - minutes * 60_000)

  it.each([
    ['en', 'November 25, 2026 at 9:05 AM UTC', 'November 25, 2026', '2 hours ago'],
    ['fi', '25. marraskuuta 2026 klo 9.05 UTC', '25. marraskuuta 2026', '2 tuntia sitten'],
    ['sv', '25 november 2026 kl. 09:05 UTC', '25 november 2026', 'för 2 timmar sedan'],
    ['ja', '2026年11月25日 9:05 UTC', '2026年11月25日', '2 時間前'],
    ['th', '25 พฤศจิกายน 2569 เวลา 9:05 UTC', '25 พฤศจิกายน 2569', '2 ชั่วโมงที่ผ่านมา'],
    ['ar', '25 نوفمبر 2026 في 9:05 ص UTC', '25 نوفمبر 2026', 'قبل ساعتين'],
  ])('%s: a moment with its zone, a day, and how long ago', (locale, moment, day, ago) => {
    const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, ' ')
    expect(plain(momentIn(locale, now))).toBe(moment)
    expect(plain(dayIn(locale, now))).toBe(day)
    expect(plain(agoIn(locale, minutesAgo(120), now))).toBe(ago)
  })

  it.each([
    [-5, 'now'],
    [4, 'now'],
    [5, '5 minutes ago'],
    [59, '59 minutes ago'],
    [60, '1 hour ago'],
    [47 * 60, '47 hours ago'],
    [48 * 60, '2 days ago'],
  ])('%d minutes are "%s"', (minutes, said) => {
    expect(agoIn('en', minutesAgo(minutes), now)).toBe(said)
  })
})

describe('countryIn', () => {
  it.each([
    ['en', 'FI', 'Finland'],
    ['fi', 'SE', 'Ruotsi'],
    ['ja', 'FI', 'フィンランド'],
    ['ar', 'JP', 'اليابان'],
    ['en', 'QQ', 'QQ'],
  ])('in %s says of %s: %s', (locale, code, name) => {
    expect(countryIn(locale, code)).toBe(name)
  })
})
