/** The one form of an e-mail address, and what makes one a look-alike of another. */
import { domainToASCII, domainToUnicode } from 'node:url'
import { mixesScripts, scriptsOf } from './scripts.ts'

const LONGEST = 254
/** RFC 5321 atoms, without `%` and `!`, which old relays read as routes. */
const LOCAL = /^[a-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[a-z0-9#$&'*+/=?^_`{|}~-]+)*$/
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{2,59})$/
/** Before punycode: letters, marks, digits, dots and hyphens of any script, and nothing a URL parser gives a meaning. */
const TYPED_DOMAIN = /^[\p{L}\p{M}\p{N}.-]+$/u
/** A domain that is not plain ASCII, typed or encoded. */
const INTERNATIONAL = /[^\x20-\x7e]|xn--/
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}]/u

/**
 * The one form of an address that is stored, looked up, counted and mailed; undefined when it is no address we mail to.
 * One parser decides (A28): what it returns is ASCII with exactly one `@` and no character that a mail header or another
 * parser could read differently. Full-width and upper-case spellings fold into one key (A105, A33); a domain becomes
 * punycode; invisible and control characters are refused, not removed, since a removed one would make two typed addresses
 * one. Local parts are ASCII only: look-alikes of another script, and the Turkish dotless i, name no account here. A label
 * of the domain that mixes look-alikes is refused, as registries refuse it, however it was typed.
 */
export function canonicalEmail(input: unknown): string | undefined {
  if (typeof input !== 'string' || input.length > 2 * LONGEST) return undefined
  const typed = input.replace(/^[ \t\u00a0]+|[ \t\u00a0]+$/g, '')
  if (UNPRINTABLE.test(typed)) return undefined
  const parts = typed.normalize('NFKC').split('@')
  const [local = '', domain = ''] = parts.map((part) => part.toLowerCase())
  // `=?` begins an encoded word (RFC 2047): some mail systems decode it into another address.
  if (parts.length !== 2 || local.length > 64 || !LOCAL.test(local) || local.includes('=?')) return undefined
  if (!TYPED_DOMAIN.test(domain)) return undefined
  const ascii = domainToASCII(domain)
  if (!DOMAIN.test(ascii) || mixedLabel(ascii) !== undefined) return undefined
  const email = `${local}@${ascii}`
  return email.length > LONGEST ? undefined : email
}

/** The scripts of the first label that mixes them. Punycode is read as what a person would see. */
function mixedLabel(domain: string): readonly string[] | undefined {
  return INTERNATIONAL.test(domain) ? shown(domain).split('.').map(scriptsOf).find(mixesScripts) : undefined
}

/** A domain as people read it. */
function shown(domain: string): string {
  return domainToUnicode(domain) || domain
}

/** An address whose letters are of scripts that no language mixes. */
export interface MixedScripts {
  readonly part: 'local' | 'domain'
  readonly scripts: readonly string[]
  /** The address in one spelling; not for any store. */
  readonly normal: string
}

/**
 * Whether what was typed is an address that mixes scripts, as homographs do: `аnna@example.com` with a Cyrillic а, or a
 * whole Cyrillic local part at a Latin domain. An address that is of one script throughout is merely one we cannot mail to.
 */
export function mixedScripts(input: string): MixedScripts | undefined {
  if (input.length > 2 * LONGEST) return undefined
  const typed = input.normalize('NFKC').toLowerCase().trim()
  const at = typed.lastIndexOf('@')
  if (at < 1) return undefined
  const [local, domain] = [typed.slice(0, at), shown(typed.slice(at + 1))]
  const normal = `${local}@${domain}`
  const label = mixedLabel(domain)
  if (label !== undefined) return { part: 'domain', scripts: label, normal }
  const isLatin = scriptsOf(domain).join() === 'Latin'
  const scripts = [...new Set([...scriptsOf(local), ...(isLatin ? ['Latin'] : [])])].sort()
  return mixesScripts(scripts) ? { part: 'local', scripts, normal } : undefined
}
