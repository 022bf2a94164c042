/** Authorization details (RFC 9396) in words: what a person reads before they agree, and what is kept of it. */
import { IntlMessageFormat } from 'intl-messageformat'
import type { Detail, DetailType } from './authorization_details.ts'
import { dayIn, directionOf, listIn, pickLocale } from './locales.ts'

/** A piece of a sentence; a value is the client's, the rest the operator's. */
export interface Part {
  readonly text: string
  readonly isValue: boolean
}

export interface DetailWords {
  readonly type: string
  readonly resource: string
  /** The language of the text, where it is not that of the page. */
  readonly locale: string
  /** Its own, not the page's: else an English sentence on an Arabic page would have its values in another order. */
  readonly direction: 'ltr' | 'rtl'
  readonly parts: readonly Part[]
  /** Values that the text does not say. */
  readonly more: readonly { readonly label: string; readonly value: string }[]
}

/** A value keeps to itself, whichever direction its letters run in (Unicode UAX #9). */
const isolated = (value: string) => `\u2068${value}\u2069`

/** The object in the language of the page where the type has a text in it, else in English. Nothing of it is left out. */
export function wordsOf(type: DetailType, detail: Detail, pageLocale: string): DetailWords {
  const others = Object.keys(type.text).filter((tag) => tag !== 'en')
  const locale = pickLocale(['en', ...others], [pageLocale])
  const values = Object.entries(type.fields).flatMap(([name, { type: kind, label = {} }]) => {
    const value = detail[name]
    return value === undefined
      ? []
      : [{ name, label: label[locale] ?? label.en ?? name, text: said(kind, value, locale) }]
  })
  const message = new IntlMessageFormat(type.text[locale] ?? '', locale, undefined, { ignoreTag: true })
  const pieces = message.formatToParts(Object.fromEntries(values.map((value) => [value.name, value])))
  const named = new Set<unknown>(pieces.map(({ value }) => value))
  return {
    ...{ type: type.type, resource: type.resource, locale, direction: directionOf(locale) },
    parts: pieces.map(({ value }) => {
      const of = values.find((each) => each === (value as unknown))
      return of === undefined ? { text: String(value), isValue: false } : { text: of.text, isValue: true }
    }),
    more: values.filter((value) => !named.has(value)).map(({ label, text }) => ({ label, value: text })),
  }
}

/** The words as one text, to be kept and shown again. */
export function plainWords({ parts, more }: Pick<DetailWords, 'parts' | 'more'>): string {
  const sentence = parts.map(({ text, isValue }) => (isValue ? isolated(text) : text)).join('')
  return [sentence, ...more.map(({ label, value }) => `${label}: ${isolated(value)}`)].join(' · ')
}

function said(kind: DetailType['fields'][string]['type'], value: string | readonly string[], locale: string): string {
  if (typeof value !== 'string') return listIn(locale, [...value])
  if (kind === 'amount') return amountIn(locale, value)
  if (kind === 'date') return dayIn(locale, new Date(`${value}T00:00:00Z`))
  if (kind === 'iban') return value.replace(/(.{4})(?=.)/g, '$1 ')
  return value
}

/** With the decimals that were given: it is the text that counts, not a number near it. */
function amountIn(locale: string, value: string): string {
  const decimals = value.split('.')[1]?.length ?? 0
  const format = new Intl.NumberFormat(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
  return format.format(value as Intl.StringNumericLiteral)
}
