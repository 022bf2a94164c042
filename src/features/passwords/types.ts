/** What other rooms may know of passwords. */
import type { AccountView } from '../../interaction/step.ts'
import type { Challenge } from '../../platform/challenge.ts'
import type { Refused } from '../abuse/types.ts'
import type { PasswordErrorCode } from './errors.ts'

/** The account that an address names, with its password's hash: what a sign-in or a recovery looks up in one statement. */
export interface Credential {
  readonly account: AccountView
  readonly hash: string | undefined
  readonly changedAt: Date | undefined
  /** When it was last compared with passwords known from breaches. */
  readonly breachCheckedAt?: Date | undefined
}

/** What must not change between a code and its use: the account, its epoch, its address, its password (A24). */
export function stampOf(credential: Credential | undefined): string {
  if (credential === undefined) return 'none'
  const { account, changedAt } = credential
  return `${account.accountId} ${account.epoch} ${account.email} ${changedAt?.getTime() ?? 0}`
}

/** Words that must not make up a password: the account's own, its address first, and the product's. */
export type OwnWords = readonly (string | undefined)[]

/** A new password that may be stored. */
export type Prepared =
  | { readonly ok: true; readonly hash: string }
  | { readonly ok: false; readonly code: PasswordProblem }

export type PasswordProblem = Exclude<Extract<PasswordErrorCode, `password_${string}`>, 'password_set_already'>

/** Whether the first password was set. */
export type FirstSet = { readonly ok: true } | { readonly ok: false; readonly code: PasswordErrorCode }

/** What a try at an address meets: an account or none, and how often in a row the password was wrong. */
export interface Tried {
  readonly credential: Credential | undefined
  readonly failures: number
}

/**
 * The outcome of a proof by password. `rejected`: it was looked at, and the next try may want a proof of work. Otherwise it
 * was not looked at, for want of that proof or before `retryAfter` seconds have passed.
 */
export type Verified =
  | { readonly ok: true; readonly account: AccountView }
  | { readonly ok: false; readonly rejected: true; readonly challenge?: Challenge }
  | (Refused & { readonly rejected?: undefined })
