/**
 * Why our own grants refuse. On the wire a refusal is one of the standard errors and says no more than the client may know;
 * in the log it has a reason of its own, so that an operator can tell a policy that lacks a row from an attack.
 */
import { errors } from 'oidc-provider'

const ERRORS = {
  invalid_request: (text: string) => new errors.InvalidRequest(text),
  unauthorized_client: (text: string) => new errors.UnauthorizedClient(text),
  invalid_target: (text: string) => new errors.InvalidTarget(text),
  invalid_scope: (text: string, scope: string) => new errors.InvalidScope(text, scope),
  // The engine tells clients no more of it than its name; the text is for the log.
  invalid_grant: (text: string) => new errors.InvalidGrant(text),
} as const

/** The error of each reason (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2), and what the client is told. */
const REASONS = {
  requested_token_type: ['invalid_request', 'requested_token_type is not supported'],
  subject_token_type: ['invalid_request', 'subject_token_type is missing, or not supported here'],
  actor_token_type: ['invalid_request', 'actor_token and actor_token_type belong together, and it is an access token'],
  actor_token_unused: ['invalid_request', 'actor_token is not used for this requested_token_type'],
  subject_missing: ['invalid_request', 'subject_token is missing'],
  subject_unreadable: ['invalid_request', 'subject_token is invalid'],
  subject_dead: ['invalid_request', 'subject_token is invalid'],
  subject_no_person: ['invalid_request', 'subject_token is invalid'],
  subject_of_another: ['invalid_request', 'subject_token is not meant for this client'],
  subject_foreign_organization: ['invalid_request', 'subject_token is not meant for this client'],
  subject_unproven: ['invalid_request', 'subject_token is bound to a key that was not shown'],
  actor_unreadable: ['invalid_request', 'actor_token is invalid'],
  actor_of_another: ['invalid_request', 'actor_token is not meant for this client'],
  actor_unproven: ['invalid_request', 'actor_token is bound to a key that was not shown'],
  actor_foreign_organization: ['invalid_request', 'the actor may not act here'],
  actor_not_allowed: ['invalid_request', 'the actor may not act here'],
  actor_not_named: ['invalid_request', 'the actor may not act for this subject'],
  actor_taken_back: ['invalid_request', 'the actor may not act for this subject'],
  chain_too_long: ['invalid_request', 'too many actors'],
  public_client: ['unauthorized_client', 'a client that cannot authenticate may not do this'],
  target_missing: ['invalid_target', 'name the one target that the token is for'],
  target_not_allowed: ['invalid_target', 'the client may get no token for this target'],
  scope_not_allowed: ['invalid_scope', 'requested scope is not allowed'],
  scope_empty: ['invalid_scope', 'no scope is left'],
  assertion_missing: ['invalid_request', 'assertion is missing'],
  assertion_unreadable: ['invalid_grant', 'assertion is invalid'],
  assertion_issuer: ['invalid_grant', 'assertion is invalid'],
  assertion_signature: ['invalid_grant', 'assertion is invalid'],
  assertion_type: ['invalid_grant', 'assertion is of a type that is not taken'],
  assertion_audience: ['invalid_grant', 'assertion is meant for somebody else'],
  assertion_times: ['invalid_grant', 'assertion is invalid'],
  assertion_claims: ['invalid_grant', 'assertion is invalid'],
  assertion_client: ['invalid_grant', 'assertion is meant for another client'],
  assertion_unproven: ['invalid_grant', 'assertion is bound to a key that was not shown'],
  assertion_acts: ['invalid_grant', 'assertion names an actor'],
  assertion_subject: ['invalid_grant', 'assertion is about nobody here'],
  assertion_subject_confined: ['invalid_grant', 'assertion is about nobody here'],
  assertion_replayed: ['invalid_grant', 'assertion was used already'],
} as const

type Reason = keyof typeof REASONS

const reasons = new WeakMap<object, Reason>()

/** The error of a reason, to be thrown. `scope` is named in the answer when the scope is the fault. */
export function refusal(reason: Reason, { scope = '', cause }: { scope?: string; cause?: unknown } = {}): Error {
  const [error, description] = REASONS[reason]
  const make: (text: string, scope: string) => Error = ERRORS[error]
  const made = Object.assign(make(description, scope), { error_detail: reason, ...(cause !== undefined && { cause }) })
  reasons.set(made, reason)
  return made
}

/** Why a grant of ours refused; undefined for the engine's own errors. */
export function grantReasonOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null ? reasons.get(error) : undefined
}
