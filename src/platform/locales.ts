/** What a locale decides beside its texts: which one fits a wish, its direction, and how it says times (ECMA-402). */

const RIGHT_TO_LEFT = new Set(['ar', 'fa', 'he', 'ur'])

/**
 * The best of `locales` for language tags in order of preference (BCP 47 lookup, RFC 4647 §3.4): each tag is shortened
 * from its end until something fits; at last another region of the same language will do (`pt-PT` for `pt-BR`). The first
 * locale is the default.
 */
export function pickLocale(locales: readonly string[], candidates: readonly string[]): string {
  for (const candidate of candidates) {
    const subtags = candidate.toLowerCase().replaceAll('_', '-').split('-').slice(0, 8)
    const [language = ''] = subtags
    while (subtags.length > 0) {
      const tag = subtags.join('-')
      const found = locales.find((locale) => locale.toLowerCase() === tag)
      if (found !== undefined) return found
      subtags.pop()
    }
    const sibling = locales.find((locale) => locale.toLowerCase().startsWith(`${language}-`))
    if (language !== '' && sibling !== undefined) return sibling
  }
  return locales[0] ?? 'en'
}

export function directionOf(locale: string): 'ltr' | 'rtl' {
  return RIGHT_TO_LEFT.has(locale.split('-')[0] ?? '') ? 'rtl' : 'ltr'
}

/** A moment with its time zone, for mails: nobody knows where they are read. */
export function momentIn(locale: string, moment: Date): string {
  return new Intl.DateTimeFormat(locale, {
    ...{ year: 'numeric', month: 'long', day: 'numeric', hour: 'numeric', minute: '2-digit' },
    ...{ timeZone: 'UTC', timeZoneName: 'short' },
  }).format(moment)
}

/** Name of a country by its code (ISO 3166-1 alpha-2). */
export function countryIn(locale: string, code: string): string {
  return new Intl.DisplayNames(locale, { type: 'region' }).of(code) ?? code
}

/** "A, B and C". */
export function listIn(locale: string, items: readonly string[]): string {
  return new Intl.ListFormat(locale, { type: 'conjunction' }).format(items)
}

export function dayIn(locale: string, moment: Date): string {
  return new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeZone: 'UTC' }).format(moment)
}

/** "5 minutes ago": needs no time zone. */
export function agoIn(locale: string, moment: Date, now: Date): string {
  const format = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })
  const minutes = Math.max(0, Math.floor((now.getTime() - moment.getTime()) / 60_000))
  if (minutes < 5) return format.format(0, 'second')
  if (minutes < 60) return format.format(-minutes, 'minute')
  if (minutes < 48 * 60) return format.format(-Math.floor(minutes / 60), 'hour')
  return format.format(-Math.floor(minutes / 1440), 'day')
}
