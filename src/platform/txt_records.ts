/** TXT records of the DNS, where a domain's owner says something that nobody else can. */
import { Resolver } from 'node:dns/promises'

export type TxtAnswer =
  /** Each record as one text: what is longer than 255 bytes comes in several strings (RFC 7208 §3.3). */
  | { readonly kind: 'found'; readonly values: readonly string[] }
  /** The DNS says that there is none. */
  | { readonly kind: 'absent' }
  /** Nobody said anything: what was known before stays. */
  | { readonly kind: 'failed'; readonly reason: string }

export type LookUpTxt = (name: string) => Promise<TxtAnswer>

const TIMEOUT_MS = 3000
const ABSENT = ['ENOTFOUND', 'ENODATA']

/** Asks the named servers (`address` or `address:port`), or those of the system. */
export function createTxtLookUp(servers: readonly string[] = []): LookUpTxt {
  return async (name) => {
    // One of its own for each question: one that was cancelled answers nothing any more.
    const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: 1 })
    if (servers.length > 0) resolver.setServers(servers)
    const deadline = setTimeout(() => resolver.cancel(), TIMEOUT_MS)
    try {
      const records = await resolver.resolveTxt(name)
      return { kind: 'found', values: records.map((strings) => strings.join('')) }
    } catch (error) {
      const { code = 'unknown' } = error as { readonly code?: string }
      return ABSENT.includes(code) ? { kind: 'absent' } : { kind: 'failed', reason: code }
    } finally {
      clearTimeout(deadline)
    }
  }
}
