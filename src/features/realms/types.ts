/** What other rooms may know of realms: e-mail domains whose people sign in by a provider. */
import type { Fact } from '../../events.ts'
import type { AccountView, Realm } from '../../interaction/step.ts'
import { type DomainProof, proofRecord } from '../../platform/domain_proof.ts'

/** Cache topic of the invalidation channel. */
export const REALMS_TOPIC = 'realm'

/**
 * What a proven realm does. `offer`: its provider vouches for addresses of the domain, and is shown to whoever types one.
 * `route`: they are led there, and may take another way. `enforce`: there is no other way.
 */
export const REALM_POLICIES = ['offer', 'route', 'enforce'] as const
export type RealmPolicy = (typeof REALM_POLICIES)[number]

/** Who may change a realm: the configuration file or the command line. */
export type RealmManaged = 'file' | 'command'

/** Until it is proven nothing is routed, trusted or closed. */
export interface RealmRecord extends DomainProof {
  /** Canonical, in ASCII. */
  readonly domain: string
  /** Name of the provider. */
  readonly upstream: string
  readonly policy: RealmPolicy
  /** What the domain's owner publishes; made by us, so that nobody can have published it before. */
  readonly token: string
  readonly managed: RealmManaged
  readonly disabledAt: Date | undefined
  /** Accounts that keep their own methods. */
  readonly breakGlass: readonly string[]
}

/** As operators see it in a list. */
export interface RealmState extends RealmRecord {
  /** Where the record is to be, and what it holds. */
  readonly record: { readonly name: string; readonly value: string }
  readonly state: 'unproven' | 'proven' | 'failing' | 'disabled'
  readonly upstreamExists: boolean
}

/** What the rooms that ask whose an address is are given. */
export interface Realms {
  /** The proven realm of an address. */
  of(email: string): Promise<Realm | undefined>
  /** Whether only the domain's own provider signs this account in: none of its own methods, and none of these providers. */
  closes(account: Pick<AccountView, 'accountId' | 'email'>, ...by: readonly (string | undefined)[]): Promise<boolean>
  /** Whether any domain is closed at all: most installations have none, and need not ask whose an account is. */
  closesAny(): Promise<boolean>
  /** The same for an address, whether it is anybody's or nobody's. */
  closesAddress(email: string, by?: string): Promise<boolean>
  /**
   * Whether a proven realm says that this provider speaks for the domain of the address (`true`), that only another one
   * does (`false`), or says nothing (A11).
   */
  vouches(upstream: string, email: string): Promise<boolean | undefined>
}

export function toState(row: RealmRecord, upstreams: readonly string[]): RealmState {
  const { disabledAt, provenAt, misses } = row
  const known = misses > 0 ? 'failing' : 'proven'
  const state = disabledAt !== undefined ? 'disabled' : provenAt === undefined ? 'unproven' : known
  return { ...row, record: proofRecord(row), state, upstreamExists: upstreams.includes(row.upstream) }
}

/** Why an account may not keep its own methods; undefined when it may. */
export function problemOfBreakGlass(
  { email, emailVerified, factors }: AccountView,
  domain: string,
): string | undefined {
  if (domainOf(email) !== domain || !emailVerified) return `the account has no proven address of ${domain}`
  const strong = factors.some((method) => method !== 'recovery_code')
  return strong ? undefined : 'the account has no second factor: set one up first'
}

export function realmFact(type: Fact['type'], domain: string, actor: string, data: Fact['data'] = {}): Fact {
  return { type, actor, data: { domain, ...data } }
}

/**
 * Whether the address is of a closed domain, and this is not how its people sign in: another provider, or the same one naming
 * somebody elsewhere, which signs in people of many domains (A11). Without an account the address may be anybody's.
 */
export async function isOutside(
  realms: Realms,
  { upstream, email: asserted }: { readonly upstream: string; readonly email?: string | undefined },
  { accountId, email }: { readonly accountId?: string; readonly email: string },
): Promise<boolean> {
  const closed = (by?: string) =>
    accountId === undefined ? realms.closesAddress(email, by) : realms.closes({ accountId, email }, by)
  if (!(await closed())) return false
  return (await closed(upstream)) || asserted === undefined || domainOf(asserted) !== domainOf(email)
}

/** The domain of a canonical address. */
export function domainOf(email: string): string {
  return email.slice(email.lastIndexOf('@') + 1)
}
