/** What other rooms may know of identifications, and what of a provider's claims is taken as verified. */
import { z } from 'zod'
import type { Tx } from '../../platform/postgres.ts'

/** What of an identification is sealed: who the person is. */
export const SEALED_CLAIMS = { table: 'identifications', key: 'id', column: 'sealed_claims' } as const

/** A provider whose sign-in identifies a person, as its settings say it. */
export interface Identifying {
  /** By whose rules (OpenID Connect for Identity Assurance 1.0): `eidas`, `fi_ftn`, … */
  readonly framework: string
  /** What the person showed there: `electronic_record`, … */
  readonly evidence: string
  readonly validDays: number
  /** Its claims that are verified; no other is recorded. */
  readonly claims: readonly string[]
  /** Only sign-ins of these `acr` of its identify; without, all. */
  readonly acrs?: readonly string[] | undefined
}

const token = z.string().regex(/^[\w.:/-]{1,100}$/, 'must be a name such as eidas or electronic_record')

/** How settings say it (OpenID Connect for Identity Assurance 1.0). */
export const identifyingMembers = {
  framework: token,
  evidence: token,
  valid_days: z.int().min(1).max(3650),
  claims: z.array(token).min(1).max(30),
}

export function identifyingOf({
  framework,
  evidence,
  claims,
  ...settings
}: {
  readonly framework: string
  readonly evidence: string
  readonly valid_days: number
  readonly claims: readonly string[]
  readonly acrs?: readonly string[] | undefined
}): Identifying {
  return { framework, evidence, claims, acrs: settings.acrs, validDays: settings.valid_days }
}

export type VerifiedClaims = { readonly [claim: string]: string }

export interface Identification {
  readonly id: string
  readonly accountId: string
  /** Name of the provider: an upstream, or whoever checks persons without signing them in (`proofings`). */
  readonly upstream: string
  readonly framework: string
  readonly evidence: string
  readonly claims: VerifiedClaims
  readonly verifiedAt: Date
  readonly expiresAt: Date
}

/** As pages and the engine show it. */
export interface TitledIdentification extends Identification {
  /** As pages call the provider. */
  readonly title: string
}

/** Who acts, when it is not the account. */
export interface RecordedBy {
  readonly actor: 'system' | 'operator'
  readonly operator?: string | undefined
  readonly reason?: string | undefined
}

/** What signing in by a provider is given. */
export interface Identifications {
  /** Those that count now, newest first: neither expired, nor of a provider that is not there any more. */
  current(accountId: string): Promise<TitledIdentification[]>
  /**
   * In the transaction that links or signs in. Nothing without verified claims, or when a later sign-in was faster.
   * @returns whether it was recorded
   */
  record(
    accountId: string,
    source: { readonly name: string; readonly identification?: Identifying | undefined },
    said: { readonly verified?: VerifiedClaims | undefined; readonly at: number },
    tx: Tx,
    by?: RecordedBy,
  ): Promise<boolean>
}

/** One line without controls or direction overrides: clients show it, and take it for proven. */
const value = z
  .string()
  .normalize('NFC')
  .trim()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]*$/u)
const day = z.iso.date()

/** The claims that an answer of the provider verifies; undefined when it verifies none. Text only: never an image. */
export function verifiedIn(
  identifying: Identifying | undefined,
  { claims, acr }: { readonly claims: { readonly [name: string]: unknown }; readonly acr?: string | undefined },
): VerifiedClaims | undefined {
  if (identifying === undefined) return undefined
  if (identifying.acrs !== undefined && !identifying.acrs.includes(acr ?? '')) return undefined
  const read = identifying.claims.flatMap((claim) => {
    const said = Object.hasOwn(claims, claim) ? claims[claim] : undefined
    const parsed = (claim === 'birthdate' ? day : value).safeParse(said)
    return parsed.success ? [[claim, parsed.data] as const] : []
  })
  return read.length === 0 ? undefined : Object.fromEntries(read)
}
