/** What an operator may say of a realm. Strict: a misspelt setting is an error. */
import { z } from 'zod'
import { canonicalEmail } from '../../platform/email_address.ts'
import { realmError } from './errors.ts'
import { domainOf, REALM_POLICIES } from './types.ts'

/** The domain of an address, or a domain by itself, in the one form of canonical addresses; undefined when it is none. */
export function canonicalDomain(typed: string): string | undefined {
  const email = canonicalEmail(`someone@${typed}`)
  return email === undefined ? undefined : domainOf(email)
}

const address = z.string().transform((typed, context) => {
  const email = canonicalEmail(typed)
  if (email === undefined) context.addIssue({ code: 'custom', message: 'must be an e-mail address' })
  return email ?? ''
})

const settingsSchema = z.strictObject({
  upstream: z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, 'must be the name of an upstream provider'),
  policy: z.enum(REALM_POLICIES).default('route'),
  /** Addresses of accounts. */
  break_glass: z.array(address).max(20).default([]),
})

export type RealmSettings = z.output<typeof settingsSchema>

/** @throws AppError invalid_realm with every problem, one a line */
export function readRealm(domain: string, given: unknown) {
  const read = tryRealm(domain, given)
  if ('problems' in read) throw realmError('invalid_realm', read.problems.join('\n'))
  return read
}

/** Every problem at once, each with the path of its setting. */
function tryRealm(
  domain: string,
  given: unknown,
): { readonly problems: readonly string[] } | { readonly domain: string; readonly settings: RealmSettings } {
  const canonical = canonicalDomain(domain)
  const parsed = settingsSchema.safeParse(given)
  const problems = [
    ...(canonical === undefined ? ['domain: must be an e-mail domain such as example.com'] : []),
    ...(parsed.error?.issues ?? []).map(({ path, message }) => `${path.join('.') || 'settings'}: ${message}`),
  ]
  for (const email of parsed.data?.break_glass ?? []) {
    if (canonical !== undefined && email !== '' && domainOf(email) !== canonical) {
      problems.push(`break_glass: ${email} is not of ${canonical}: nothing is closed to it`)
    }
  }
  if (canonical === undefined || parsed.data === undefined || problems.length > 0) return { problems }
  return { domain: canonical, settings: parsed.data }
}

/** As the configuration file has it. */
export type RealmDeclaration = { readonly domain: string; readonly [setting: string]: unknown }

/** All that are declared, by their canonical domains. @throws AppError invalid_realm with all that is wrong, one a line */
export function readRealms(declared: readonly RealmDeclaration[]): ReadonlyMap<string, RealmSettings> {
  const problems: string[] = []
  const realms = new Map<string, RealmSettings>()
  for (const { domain: typed, ...given } of declared) {
    const read = tryRealm(typed, given)
    if ('problems' in read) problems.push(...read.problems.map((problem) => `realms.${typed}.${problem}`))
    else if (realms.has(read.domain)) problems.push(`realms: ${read.domain} is declared twice`)
    else realms.set(read.domain, read.settings)
  }
  if (problems.length > 0) throw realmError('invalid_realm', problems.join('\n'))
  return realms
}
