import type { UpstreamError } from '../../platform/upstream.ts'

/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const UPSTREAM_SIGN_IN_CODES = {
  /** The person went back at the provider. */
  upstream_cancelled: 400,
  upstream_unavailable: 503,
  /** One code for whatever was wrong with an answer: a person can only try again, an attacker learns nothing. */
  upstream_refused: 400,
  /** The provider does not take us: an operator has to mend it. */
  upstream_misconfigured: 502,
  /** It could not authenticate as it was asked to. */
  upstream_level_unmet: 400,
  /** Switched off, also while somebody was away there (A16). */
  upstream_disabled: 403,
  /** The domain of the account's address has another provider, and no other way. */
  upstream_not_of_realm: 403,
  /** The answer belongs to nothing that waits: too late, used before, or another browser's. */
  upstream_gone: 400,
  /** It is another account's. */
  identity_taken: 409,
  identity_too_many: 409,
  /** Without it nobody could sign in to the account any more. */
  identity_last_way_in: 409,
  /** The account of this identity is not in use any more. */
  upstream_account_closed: 403,
} as const

export type UpstreamSignInCode = keyof typeof UPSTREAM_SIGN_IN_CODES

/** How a step answers what went wrong. */
export type Failed = { readonly ok: false; readonly code: UpstreamSignInCode; readonly retryAfter?: number }

const CODES = {
  cancelled: 'upstream_cancelled',
  unavailable: 'upstream_unavailable',
  answer_refused: 'upstream_refused',
  misconfigured: 'upstream_misconfigured',
  level_unmet: 'upstream_level_unmet',
} as const satisfies { readonly [failure in UpstreamError['failure']]: UpstreamSignInCode }

/** What people are told of a failure of the provider. */
export function failureOf({ failure }: UpstreamError): Failed {
  return { ok: false, code: CODES[failure] }
}
