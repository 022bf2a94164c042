/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const SMS_CODES = {
  sms_code_invalid: 400,
  sms_resend_too_soon: 429,
  /** The number was typed too long ago. */
  sms_setup_gone: 400,
  /** The number protects as many accounts as one person may have. */
  phone_in_use: 409,
  /** The account must have a second factor, and this is its last. */
  last_factor: 409,
} as const
