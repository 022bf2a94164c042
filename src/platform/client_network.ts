/** Whom a limit by address counts. */

/**
 * An IPv4 address, or the /64 of an IPv6 address: one subscriber holds a whole /64, and a limit by single address would
 * never be reached by somebody who uses a new one for each try.
 */
export function networkOf(ip: string): string {
  if (!ip.includes(':')) return ip
  const [head = ''] = ip.split('::')
  return `${head.split(':').slice(0, 4).join(':')}::/64`
}
