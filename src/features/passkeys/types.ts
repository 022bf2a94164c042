/** What other rooms may know of passkeys. */
import { isIP } from 'node:net'
import type { Credential } from '../../platform/webauthn.ts'

/** Passkeys belong to a domain (WebAuthn L3 §5.1.2): at an issuer that is an address no browser makes or shows one. */
export function servesPasskeys(issuer: string): boolean {
  return isIP(new URL(issuer).hostname.replace(/^\[|\]$/g, '')) === 0
}

/** What a person calls a passkey is sealed. */
export const SEALED_NAME = { table: 'passkeys', key: 'id', column: 'sealed_name' } as const

export interface Passkey extends Credential {
  readonly id: string
  readonly accountId: string
  /** As the person calls it; may be empty. */
  readonly name: string
  readonly createdAt: Date
  readonly usedAt: Date | undefined
}

/** Where a ceremony is held: a challenge is good there and nowhere else. */
export interface Holder {
  /** Hash of the conversation's `cid`, or the uid of the session. */
  readonly id: string
  /** Whose ceremony it is; nobody's yet where a passkey is to say who is there. */
  readonly accountId?: string | undefined
}

export type Registered =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: 'passkey_setup_failed' | 'passkey_known' | 'passkey_too_many' }
