/** The feature's closed list of expected failures, with the status of the page that shows them. Texts are `error.<code>`. */
export const PASSWORD_CODES = {
  /** Unknown, disabled, unproven or wrong: the page does not tell which. */
  login_failed: 400,
  too_many_requests: 429,
  /** A proof of work is to be shown first, or a CAPTCHA, or one whose answer is accepted. */
  challenge: 429,
  captcha: 429,
  captcha_refused: 429,
  password_too_short: 400,
  password_too_long: 400,
  password_too_common: 400,
  password_contains_own_words: 400,
  /** It is known from a breach elsewhere (ASVS 6.2.12). */
  password_breached: 400,
  /** It has one by now: another page was faster. */
  password_set_already: 400,
} as const

export type PasswordErrorCode = keyof typeof PASSWORD_CODES
