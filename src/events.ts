/**
 * The envelope of a fact. A fact states a change of state that has happened (`object.past_verb`); it is written to the
 * outbox in the transaction of the change, so that without the fact the act fails. Audit, mail and logout only read facts.
 */

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined }

/** What a room states. Request id, address and user agent are added from the request scope. */
export interface Fact {
  /** `object.past_verb`, for instance `password.verified`. */
  readonly type: `${string}.${string}`
  /** The account the fact is about. */
  readonly accountId?: string | undefined
  readonly clientId?: string | undefined
  /** Who acted: an account id, `client:<id>`, `operator` or `system`. Defaults to the account. */
  readonly actor?: string | undefined
  /** Kept for the retention of the audit ledger: no secrets, no e-mail addresses, no names. */
  readonly data?: { readonly [key: string]: Json | undefined } | undefined
  /** What a consumer needs once and nobody may read later (codes, addresses): sealed at rest, erased when delivered. */
  readonly sealed?: { readonly [key: string]: Json | undefined } | undefined
}

/** A fact as its consumers receive it. */
export interface RecordedFact extends Fact {
  readonly id: string
  readonly occurredAt: Date
  readonly requestId?: string | undefined
}
