/** The feature's closed list of expected failures, with the status of the page that shows them. */
import type { PasswordProblem } from './types.ts'

export const PASSWORD_CODES = {
  login_failed: 400,
  too_many_requests: 429,
  password_too_short: 400,
  password_too_long: 400,
  password_too_common: 400,
  password_contains_own_words: 400,
} as const satisfies Record<PasswordProblem | 'login_failed' | 'too_many_requests', number>

export type PasswordErrorCode = keyof typeof PASSWORD_CODES
