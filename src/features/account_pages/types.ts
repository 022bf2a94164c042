/** What the account pages show and let a person say about themselves, and how an act ends. */
import type { ClientView } from '../../interaction/step.ts'
import type { OwnClaim } from '../accounts/types.ts'
import type { Permission } from '../consents/types.ts'

/** What a person says on the profile page; all else in a form is dropped (A87). `undefined` removes the claim. */
export type Profile = { readonly [claim in OwnClaim]: string | undefined }

/** An act's end: the code of what to say on the next page, or why it could not be. */
export type Act<Done = unknown> =
  | { readonly ok: true; readonly value: Done }
  | { readonly ok: false; readonly code: string; readonly field?: string; readonly retryAfter?: number | undefined }

/** What a page may say after an act; the texts are `account.done.<code>`. */
export const DONE_CODES = [
  'profile_saved',
  'password_changed',
  'password_set',
  'email_changed',
  'code_sent',
  'session_ended',
  'others_ended',
  'client_revoked',
  'language_saved',
] as const

export type DoneCode = (typeof DONE_CODES)[number]

/** A client as its row on the page shows it. */
export interface ClientRow {
  readonly client: ClientView
  readonly permissions: readonly Permission[]
  readonly offline: boolean
  readonly since: Date
}
