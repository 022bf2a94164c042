/** What other rooms may know of passwords. */
import type { AccountView } from '../../interaction/step.ts'
import type { PasswordErrorCode } from './errors.ts'

/** The account that an address names, with its password's hash: what a sign-in or a recovery looks up in one statement. */
export interface Credential {
  readonly account: AccountView
  readonly hash: string | undefined
  readonly changedAt: Date | undefined
}

/** What must not change between a code and its use: the account, its epoch, its address, its password (A24). */
export function stampOf(credential: Credential | undefined): string {
  if (credential === undefined) return 'none'
  const { account, changedAt } = credential
  return `${account.accountId} ${account.epoch} ${account.email} ${changedAt?.getTime() ?? 0}`
}

/** Words that must not make up a password: the account's own and the product's. */
export type OwnWords = readonly (string | undefined)[]

/** A new password that may be stored. */
export type Prepared =
  | { readonly ok: true; readonly hash: string }
  | { readonly ok: false; readonly code: PasswordProblem }

export type PasswordProblem = Exclude<Extract<PasswordErrorCode, `password_${string}`>, 'password_set_already'>

/** Whether the first password was set. */
export type FirstSet = { readonly ok: true } | { readonly ok: false; readonly code: PasswordErrorCode }

/** The outcome of a proof by password. With `retryAfter` it says nothing about whether the password was right. */
export type Verified =
  | { readonly ok: true; readonly account: AccountView }
  | { readonly ok: false; readonly retryAfter?: number }
