/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const EMAIL_CODE_CODES = {
  /** Wrong, expired, replaced by a newer one, or of another conversation: the page does not tell which. */
  code_invalid: 400,
  code_used_up: 400,
  code_resend_too_soon: 429,
  email_invalid: 400,
} as const

export type EmailCodeErrorCode = keyof typeof EMAIL_CODE_CODES
