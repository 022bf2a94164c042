/** What other rooms may know of an account, and the one form of an e-mail address. */
import { domainToASCII } from 'node:url'
import { type Changes, changesOf, type Values } from '../../platform/changes.ts'

export type AccountLifecycle = 'pending' | 'active' | 'disabled' | 'closing'

export interface Account {
  readonly id: string
  /** Canonical. Proven when `emailVerifiedAt` is set; any number of pending accounts may name one address. */
  readonly email: string
  readonly emailVerifiedAt: Date | undefined
  readonly state: AccountLifecycle
  /** Rises whenever all sessions, grants and proofs of the account become void. */
  readonly epoch: number
  readonly locale: string | undefined
  /** Standard claims (OIDC Core §5.1) by their names, without those that have a column. */
  readonly profile: Profile
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly passwordChangedAt?: Date | undefined
}

/** Claims by name; what is none of `PROFILE_CLAIMS` is never stored. */
export type Profile = { readonly [claim: string]: unknown }

/** Claims that a profile may hold. `sub`, `email`, `email_verified`, `locale` and `updated_at` come from columns. */
const PROFILE_CLAIMS = [
  'name',
  'given_name',
  'family_name',
  'middle_name',
  'nickname',
  'preferred_username',
  'profile',
  'picture',
  'website',
  'gender',
  'birthdate',
  'zoneinfo',
  'phone_number',
  'phone_number_verified',
  'address',
] as const

/** A profile without what is none of its claims, such as `sub` or `email_verified` (A26, A87). */
export function onlyProfile(profile: Profile): Profile {
  return Object.fromEntries(
    PROFILE_CLAIMS.flatMap((claim) => (profile[claim] === undefined ? [] : [[claim, profile[claim]]])),
  )
}

/** Whether an account may act, and which epoch its sessions, grants and proofs must carry. */
export interface AccountState {
  readonly active: boolean
  readonly epoch: number
  /** Milliseconds since the epoch: a password that was shown before is not the account's any more. */
  readonly passwordAt?: number | undefined
}

/** Every standard claim of the account (OIDC Core §5.1). */
export function claimsOf(account: Account): { [claim: string]: unknown } {
  return {
    // Nobody has proven a number, and a client must not take silence for a proof; an import may know better.
    ...(account.profile.phone_number === undefined ? {} : { phone_number_verified: false }),
    ...onlyProfile(account.profile),
    sub: account.id,
    email: account.email,
    email_verified: account.emailVerifiedAt !== undefined,
    ...(account.locale === undefined ? {} : { locale: account.locale }),
    updated_at: Math.floor(account.updatedAt.getTime() / 1000),
  }
}

/** The state of an account as it was read. */
export function toState({ state, epoch, passwordChangedAt }: Account): AccountState {
  return { active: state === 'active', epoch, passwordAt: passwordChangedAt?.getTime() }
}

/** Two changes may be written through in any order; the later one stays. */
export function later(a: AccountState, b: AccountState): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && (a.passwordAt ?? 0) > (b.passwordAt ?? 0))
}

/** Who ends or begins something, and why; both are stated with the fact. */
export interface Cause {
  readonly actor?: string | undefined
  readonly reason?: string | undefined
}

/** Only these are stated in clear when they change: they tell nobody who a person is. */
const IN_CLEAR: readonly string[] = ['state', 'locale']

/** What a fact says of an account's changes. */
export function changed(deps: { mac(value: string): string }, before: Values, after: Values): { changes: Changes } {
  return { changes: changesOf(before, after, { mac: deps.mac, has: (field) => !IN_CLEAR.includes(field) }) }
}

const LONGEST = 254
/** RFC 5321 atoms, without `%` and `!`, which old relays read as routes. */
const LOCAL = /^[a-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[a-z0-9#$&'*+/=?^_`{|}~-]+)*$/
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{2,59})$/
/** Before punycode: letters, marks, digits, dots and hyphens of any script, and nothing a URL parser gives a meaning. */
const TYPED_DOMAIN = /^[\p{L}\p{M}\p{N}.-]+$/u
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}]/u

/**
 * The one form of an address that is stored, looked up, counted and mailed; undefined when it is no address we mail to.
 * One parser decides (A28): what it returns is ASCII with exactly one `@` and no character that a mail header or another
 * parser could read differently. Full-width and upper-case spellings fold into one key (A105, A33); a domain becomes
 * punycode; invisible and control characters are refused, not removed, since a removed one would make two typed addresses
 * one. Local parts are ASCII only: look-alikes of another script, and the Turkish dotless i, name no account here.
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
  if (!DOMAIN.test(ascii)) return undefined
  const email = `${local}@${ascii}`
  return email.length > LONGEST ? undefined : email
}
