/** What other rooms may know of proofings: who checks persons, and how a check stands. */
import type { Identifying, VerifiedClaims } from '../identifications/types.ts'

/** What waits for somebody to look at it: who the person is said to be. */
export const SEALED_CLAIMS = { table: 'proofings', key: 'id', column: 'sealed_claims' } as const

/** Somebody who checks persons and is no sign-in, as the configuration declares it. */
export interface ProofingProvider {
  readonly name: string
  /** As pages call it. */
  readonly title: string
  readonly identification: Identifying
  /** Where people are sent, and the keys that its results are signed with; without, operators record what they have seen. */
  readonly webhook?: { readonly startUrl: string; readonly keys: readonly Buffer[] } | undefined
}

/**
 * - `begun`: the person was sent to the provider
 * - `review`: the provider wants an operator to decide; the claims wait, sealed
 * - `verified`, `refused`, `expired`: the end. What was verified is an identification.
 */
export const PROOFING_STATES = ['begun', 'review', 'verified', 'refused', 'expired'] as const
export type ProofingState = (typeof PROOFING_STATES)[number]

export interface Proofing {
  readonly id: string
  readonly accountId: string
  readonly provider: string
  readonly state: ProofingState
  /** When the provider has seen the person; only while it waits. */
  readonly verifiedAt: Date | undefined
  /** A provider's code, or an operator's words. */
  readonly reason: string | undefined
  /** Hashes of the deliveries that were taken. */
  readonly results: readonly string[]
  readonly beganAt: Date
  /** Until when a result or decision is taken. */
  readonly expiresAt: Date
  readonly decidedAt: Date | undefined
}

/** With what waits to be decided. */
export interface OpenedProofing extends Proofing {
  readonly claims: VerifiedClaims | undefined
}

/** A provider on the account page. */
export interface OfferedProofing {
  readonly name: string
  readonly title: string
  /** What there is to say of the latest check there. */
  readonly state: 'begun' | 'review' | 'refused' | undefined
}

export type Begun =
  | { readonly ok: true; readonly url: string }
  | { readonly ok: false; readonly code: 'absent' }
  | { readonly ok: false; readonly code: 'too_many_requests'; readonly retryAfter: number }

/**
 * - `taken`: it was done, now or by an earlier delivery of the same
 * - `absent`: no provider of that name sends results
 * - `unsigned`: not by this provider, or not now
 * - `malformed`: `detail` says how, to whoever could sign it
 * - `unverified`: nothing of it may be recorded
 * - `unknown`: one word for references that are not there, are another provider's, are over or were decided
 */
export type ResultOutcome =
  | { readonly code: 'taken' | 'absent' | 'unsigned' | 'unverified' | 'unknown' }
  | { readonly code: 'malformed'; readonly detail: string }
  | { readonly code: 'too_many_requests'; readonly retryAfter: number }

/** What the account pages are given. */
export interface Proofings {
  /** Those that people can go to by themselves. */
  offered(accountId: string): Promise<readonly OfferedProofing[]>
  /** Whether there are any. */
  isOffered(): boolean
  /** Begins a check; one that was open there ends. `url` is where the browser goes. */
  begin(provider: string, accountId: string): Promise<Begun>
  /** Whether it checks persons: what it has verified has no connection that could be taken away. */
  isProvider(name: string): boolean
  /** The owner wants it gone. False when there was nothing. */
  forget(provider: string, accountId: string): Promise<boolean>
}

/** Who of the operators acts; stands in the facts. */
export interface ByOperator {
  readonly operator: string
  readonly reason?: string | undefined
}

/**
 * - `absent`: there is no such proofing, account or identification
 * - `closed`: it waits for no decision
 * - `undeclared`: its provider left the configuration, or is not of that kind
 * - `unverified`: there is no claim that may be recorded, or it was verified too long ago
 * - `later`: there is a later identification
 */
export type Decided = 'done' | 'absent' | 'closed' | 'undeclared' | 'unverified' | 'later'

/** What operators may do. */
export interface ProofingDesk {
  /** Newest first, without claims. */
  list(filter: { readonly state?: ProofingState | undefined; readonly atMost: number }): Promise<readonly Proofing[]>
  /** With its claims; that they were looked at is stated. */
  view(id: string, by: ByOperator): Promise<OpenedProofing | undefined>
  approve(id: string, by: ByOperator): Promise<Decided>
  refuse(id: string, by: ByOperator): Promise<Decided>
  /** What an operator has seen for themselves. */
  record(
    seen: {
      readonly accountId: string
      readonly provider: string
      readonly claims: { readonly [claim: string]: string }
      readonly at?: Date | undefined
    },
    by: ByOperator,
  ): Promise<Decided>
  /** An identification that should not be there, whoever verified it. */
  revoke(accountId: string, provider: string, by: ByOperator): Promise<boolean>
}

/** What there is to tell the person. */
export function shownOf(proofing: Proofing | undefined, now: Date): 'begun' | 'review' | 'refused' | undefined {
  if (proofing === undefined) return undefined
  const { state, expiresAt } = proofing
  if (state === 'refused') return state
  return (state === 'begun' || state === 'review') && expiresAt > now ? state : undefined
}

const DAY_MS = 86_400_000

/** Whether it may be recorded: there is something, and it was not seen so long ago that it would not count. */
export function isRecordable(
  { validDays }: Identifying,
  claims: VerifiedClaims | undefined,
  seen: Date | undefined,
  now: Date,
): claims is VerifiedClaims {
  return claims !== undefined && (seen === undefined || seen.getTime() + validDays * DAY_MS > now.getTime())
}
