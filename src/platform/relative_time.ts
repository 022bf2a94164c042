/** Times as people say them. */

/** "5 minutes ago" in the person's language: needs no time zone. */
export function agoIn(locale: string, now: Date): (then: Date) => string {
  const format = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })
  return (then) => {
    const minutes = Math.max(0, Math.floor((now.getTime() - then.getTime()) / 60_000))
    if (minutes < 5) return format.format(0, 'second')
    if (minutes < 60) return format.format(-minutes, 'minute')
    if (minutes < 48 * 60) return format.format(-Math.floor(minutes / 60), 'hour')
    return format.format(-Math.floor(minutes / 1440), 'day')
  }
}
