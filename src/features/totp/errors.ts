/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const TOTP_CODES = {
  totp_invalid: 400,
  /** The code was right but has been used: the next one will do. */
  totp_used: 400,
  totp_setup_gone: 400,
  /** The account must have a second factor, and this is its last. */
  last_factor: 409,
} as const
