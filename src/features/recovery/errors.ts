/** The feature's closed list of expected failures, with the status of the page. Codes' and passwords' own come through. */
export const RECOVERY_CODES = { email_invalid: 400 } as const

export type RecoveryErrorCode = keyof typeof RECOVERY_CODES
