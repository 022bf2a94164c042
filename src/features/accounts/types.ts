/** What other rooms may know of an account, and what people may say of themselves. */
import { z } from 'zod'
import { AppError } from '../../errors.ts'
import { hasSecondFactor } from '../../interaction/levels.ts'
import { type Changes, changesOf, type Values } from '../../platform/changes.ts'
import type { OpenPersonal } from '../../platform/personal_columns.ts'

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
  /** Where claims of the profile come from; what is not named here was said by the account's owner. */
  readonly provenance?: Provenance | undefined
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly passwordChangedAt?: Date | undefined
  /** Methods set up beside password and mailbox. */
  readonly factors: readonly string[]
  readonly secondFactorRequired: boolean
  readonly enrolmentSkips: number
  readonly nudgeAfter: Date | undefined
}

/** What of an account is sealed: its address and its profile. */
export const PERSONAL = { table: 'accounts', key: 'id', column: 'sealed_personal' } as const
/** Under which purpose the address is hashed for look-ups. */
export const EMAIL_HASH = 'accounts.email_hash'

/** The sealed part of a row. */
export interface Personal {
  readonly email: string
  readonly profile: Profile
  readonly provenance?: Provenance | undefined
}

/** By claim: the provider that said it, and when (ISO 8601). */
export type Provenance = { readonly [claim: string]: { readonly source: string; readonly at: string } }

/** What of the provenance is still true of a profile that its owner has written; undefined when nothing is. */
export function stillSaid(before: Pick<Account, 'profile' | 'provenance'>, profile: Profile): Provenance | undefined {
  const kept = Object.entries(before.provenance ?? {}).filter(([claim]) => profile[claim] === before.profile[claim])
  return kept.length === 0 ? undefined : Object.fromEntries(kept)
}

/**
 * Opens the sealed part of an account. `found` is the address by whose hash the row was found: a hash that somebody moved
 * to another account must not lead its mail there.
 */
export function openPersonal(
  open: OpenPersonal,
  row: { readonly id: string; readonly sealed_personal: string },
  found?: string,
): Personal {
  const personal = open(row.sealed_personal, PERSONAL, row.id) as unknown as Personal
  if (found === undefined || found === personal.email) return personal
  throw new AppError('internal_error', { detail: `${EMAIL_HASH} of row ${row.id} is not that of its address` })
}

/** How an account begins. */
export const NEW_ACCOUNT = {
  ...({ emailVerifiedAt: undefined, state: 'pending', epoch: 0 } as const),
  ...{ factors: [], secondFactorRequired: false, enrolmentSkips: 0, nudgeAfter: undefined },
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

/** Standard claims (OIDC Core §5.1) that people say of themselves: on the account page, or when a client asks at registration. */
export const OWN_CLAIMS = [
  'name',
  'given_name',
  'family_name',
  'nickname',
  'birthdate',
  'zoneinfo',
  'phone_number',
  'website',
] as const

export type OwnClaim = (typeof OWN_CLAIMS)[number]

export const LONGEST_CLAIM = 200

/** One line without controls or direction overrides: a name is shown to clients and in mails. */
const line = z
  .string()
  .normalize('NFC')
  .trim()
  .max(LONGEST_CLAIM)
  .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]*$/u)

const orNothing = (value: string): string | undefined => (value === '' ? undefined : value)
const name = line.transform(orNothing)

/** How each of these claims is typed, and what of it is stored: `undefined` for nothing. `today` is an ISO 8601 date. */
export function ownClaimFields(today: string): { readonly [claim in OwnClaim]: z.ZodType<string | undefined> } {
  return {
    name,
    given_name: name,
    family_name: name,
    nickname: name,
    birthdate: line.refine((value) => value === '' || (isDay(value) && value <= today)).transform(orNothing),
    zoneinfo: line
      .transform(zoneOf)
      .refine((zone) => zone !== null)
      .transform((zone) => zone ?? undefined),
    phone_number: line
      .transform((value) => value.replace(/[\s().-]/g, ''))
      .refine((value) => /^(\+[1-9]\d{5,14})?$/.test(value))
      .transform(orNothing),
    website: line.refine(isWebAddress).transform(orNothing),
  }
}

/** Only the web: a client may make a link of it, and `javascript:` is a link too. */
function isWebAddress(value: string): boolean {
  return value === '' || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol))
}

/** A day that exists, in ISO 8601 (OIDC Core §5.1); year 0000 stands for a year that is not told. */
function isDay(value: string): boolean {
  const [, year = '', month = '', day = ''] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(value) ?? []
  // Of a year that is not told, the 29th of February may be.
  const date = new Date(Date.UTC(Number(year) || 2000, Number(month) - 1, Number(day)))
  return year !== '' && date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day)
}

/** The name of a time zone as the IANA database spells it; null when there is none (an offset is no zone). */
function zoneOf(value: string): string | undefined | null {
  if (value === '') return undefined
  if (!/^[A-Za-z][\w+-]*(\/[\w+-]+)*$/.test(value)) return null
  try {
    return new Intl.DateTimeFormat('en', { timeZone: value }).resolvedOptions().timeZone
  } catch {
    return null
  }
}

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
  /** Whether it has more than its password and its mailbox. */
  readonly enrolled?: boolean | undefined
}

/**
 * Every standard claim of the account (OIDC Core §5.1). `provenNumber` is the one that its second factor has proven: it
 * confirms the number that the person gives to clients when it is the same, and is never given itself.
 */
export function claimsOf(account: Account, provenNumber?: string): { [claim: string]: unknown } {
  const { phone_number: said } = account.profile
  return {
    // A client must not take silence for a proof; an import may know better.
    ...(said === undefined ? {} : { phone_number_verified: false }),
    ...onlyProfile(account.profile),
    ...(said !== undefined && said === provenNumber ? { phone_number_verified: true } : {}),
    sub: account.id,
    email: account.email,
    email_verified: account.emailVerifiedAt !== undefined,
    ...(account.locale === undefined ? {} : { locale: account.locale }),
    updated_at: Math.floor(account.updatedAt.getTime() / 1000),
  }
}

/** The state of an account as it was read. */
export function toState({ state, epoch, passwordChangedAt, factors }: Account): AccountState {
  const passwordAt = passwordChangedAt?.getTime()
  return { active: state === 'active', epoch, passwordAt, enrolled: hasSecondFactor({ factors }) }
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

/** With `provenance` it is a provider that writes, else the owner. */
export interface Writing {
  readonly locale?: string
  readonly profile?: Profile
  readonly provenance?: Provenance
}

/** How an account begins. */
export type Beginning = Pick<Account, 'email'> & Partial<Pick<Account, 'locale' | 'profile' | 'provenance'>>
