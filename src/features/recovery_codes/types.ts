/** What the rooms around may know of recovery codes. */

/** The set of an account, without the codes. */
export interface RecoveryCodes {
  readonly left: number
  readonly madeAt: Date
}

/** So few left that the person is told to make new ones. */
export const FEW = 3

export type Redeemed =
  | { readonly ok: true; readonly left: number }
  | { readonly ok: false; readonly code: 'recovery_code_invalid' }
  | { readonly ok: false; readonly code: 'too_many_requests'; readonly retryAfter: number }

/** Bound to what may show them: one conversation or one session, of one account. */
export interface Holder {
  readonly id: string
  readonly accountId: string
}
