/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const RECOVERY_CODES_CODES = {
  recovery_code_invalid: 400,
  /** The codes were shown too long ago to be taken; the page shows new ones. */
  recovery_codes_gone: 400,
} as const
