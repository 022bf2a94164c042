/** Whom a limit by address counts. */

/**
 * An IPv4 address, or the /64 of an IPv6 address: one subscriber holds a whole /64, and a limit by single address would
 * never be reached by somebody who uses a new one for each try.
 */
export function networkOf(ip: string): string {
  return ip.includes(':') ? prefixOf(ip, 4) : ip
}

/** What one customer of a hosting company easily gets: the /24 of an IPv4 address, the /48 of an IPv6 address. */
export function subnetOf(ip: string): string {
  if (ip.includes(':')) return prefixOf(ip, 3)
  return /^\d+\.\d+\.\d+\.\d+$/.test(ip) ? `${ip.slice(0, ip.lastIndexOf('.'))}.0/24` : ip
}

/** The first groups of 16 bits, written in one way wherever `::` stood; zeros at their end are left out. */
function prefixOf(ip: string, groups: number): string {
  const [head = '', tail] = ip.split('::')
  const [before, after] = [head, tail ?? ''].map((part) => part.split(':').filter(Boolean))
  const zeros = Array.from({ length: Math.max(0, 8 - (before?.length ?? 0) - (after?.length ?? 0)) }, () => '0')
  const all = [...(before ?? []), ...(tail === undefined ? [] : zeros), ...(after ?? [])]
  const first = all
    .slice(0, groups)
    .join(':')
    .replace(/(^|:)0(:0)*$/, '')
  return `${first}::/${groups * 16}`
}
