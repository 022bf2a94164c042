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
  /**
   * Kept for the retention of its class in the audit ledger: no secrets, no e-mail addresses, no names. Values of a person
   * are stated as keyed hashes (`platform/changes.ts`).
   */
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

/**
 * How long each kind of fact is kept in the audit ledger is set by class (`retention.audit`). `security` is what the
 * investigation of an attack asks for; `permanent` facts, which hold nothing of a person, make the ledger itself provable.
 */
export type FactClass = 'security' | 'authentication' | 'account' | 'consent' | 'administration' | 'delivery'

/** Every fact of the house and its class. What is not listed is never erased; a test finds what was forgotten here. */
export const FACT_CLASSES: { readonly [type: string]: FactClass | 'permanent' } = {
  'password.verified': 'authentication',
  'password.rejected': 'security',
  'password.breached': 'security',
  'email_code.verified': 'authentication',
  'passkey.verified': 'authentication',
  'passkey.rejected': 'security',
  'totp.verified': 'authentication',
  'totp.rejected': 'security',
  'recovery_code.verified': 'security',
  'recovery_code.rejected': 'security',
  'sms_code.verified': 'authentication',
  'sms_code.rejected': 'security',
  'device.verified': 'authentication',
  'factor.added': 'security',
  'factor.updated': 'security',
  'factor.removed': 'security',
  'account.enrolment_put_off': 'security',
  'account.disowned': 'security',
  'account.email_restored': 'security',
  'device.added': 'security',
  'device.trusted': 'security',
  'device.revoked': 'security',
  'factor_removal.requested': 'security',
  'factor_removal.approved': 'security',
  'factor_removal.refused': 'security',
  'factor_removal.cancelled': 'security',
  'factor_removal.completed': 'security',
  'identifier.refused': 'security',
  'upstream.verified': 'authentication',
  'upstream.rejected': 'security',
  'upstream.logout_received': 'authentication',
  'identity.linked': 'security',
  'identity.unlinked': 'security',
  'identification.recorded': 'security',
  'identification.removed': 'security',
  'device.connected': 'authentication',
  'device.refused': 'authentication',
  'agent.lapsed': 'consent',
  'delegation.revoked': 'consent',
  'delegation.allowed': 'consent',
  'approval.requested': 'security',
  'approval.granted': 'consent',
  'approval.denied': 'security',
  'proofing.started': 'security',
  'proofing.referred': 'security',
  'proofing.viewed': 'security',
  'proofing.decided': 'security',
  'proofing.expired': 'security',
  'realm.break_glass_used': 'security',
  'realm.break_glass_added': 'security',
  'realm.break_glass_removed': 'security',
  'realm.created': 'administration',
  'realm.updated': 'administration',
  'realm.enabled': 'administration',
  'realm.disabled': 'administration',
  'realm.deleted': 'administration',
  'realm.verified': 'administration',
  'realm.lapsed': 'administration',
  'session.started': 'authentication',
  'session.reauthenticated': 'authentication',
  'session.ended': 'authentication',
  'sessions.ended': 'security',
  'account.registered': 'account',
  'account.email_corrected': 'account',
  'account.email_verified': 'account',
  'account.email_changed': 'security',
  'account.password_changed': 'security',
  'account.updated': 'account',
  'account.disabled': 'security',
  'account.enabled': 'security',
  'account.deleted': 'account',
  'consent.granted': 'consent',
  'consent.revoked': 'consent',
  'grant.revoked': 'consent',
  'grant.device_changed': 'security',
  'token.exchanged': 'authentication',
  'assertion.issued': 'authentication',
  'assertion.accepted': 'authentication',
  'client.created': 'administration',
  'client.updated': 'administration',
  'client.enabled': 'administration',
  'client.disabled': 'administration',
  'client.secret_rotated': 'administration',
  'client.deleted': 'administration',
  'initial_token.created': 'administration',
  'initial_token.used': 'administration',
  'initial_token.revoked': 'administration',
  'registration_token.renewed': 'administration',
  'registration_token.revoked': 'security',
  'client.expiry_neared': 'administration',
  'brand.created': 'administration',
  'brand.updated': 'administration',
  'brand.enabled': 'administration',
  'brand.disabled': 'administration',
  'brand.deleted': 'administration',
  'upstream.created': 'administration',
  'upstream.updated': 'administration',
  'upstream.enabled': 'administration',
  'upstream.disabled': 'administration',
  'upstream.deleted': 'administration',
  'upstream.expiry_neared': 'administration',
  'key.created': 'administration',
  'key.rotated': 'administration',
  'key.resealed': 'administration',
  'mail.requested': 'delivery',
  'sms.requested': 'delivery',
  'sms.stopped': 'security',
  'logout.requested': 'delivery',
  'ping.requested': 'delivery',
  'audit.erased': 'permanent',
}
