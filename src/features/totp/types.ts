/** What the rooms around may know of an authenticator app. */

/** The authenticator app of an account, without its seed. */
export interface TotpFactor {
  readonly confirmedAt: Date
  readonly usedAt: Date | undefined
}

/** A seed that is shown to be scanned and not yet the account's. */
export interface PendingSeed {
  /** `otpauth://` URI for a QR code (Key Uri Format). */
  readonly uri: string
  /** The same in base32, in groups of four, for those who type it. */
  readonly seed: string
}

export type TotpFailure =
  | { readonly code: 'totp_invalid' | 'totp_used' | 'totp_setup_gone' }
  | { readonly code: 'too_many_requests'; readonly retryAfter: number }

/** Bound to what may show it: one conversation or one session, of one account. */
export interface Holder {
  readonly id: string
  readonly accountId: string
}
