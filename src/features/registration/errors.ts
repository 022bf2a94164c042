/** The feature's closed list of expected failures, with the status of the page. Those of passwords come through as they are. */
export const REGISTRATION_CODES = { email_invalid: 400, too_many_requests: 429 } as const

export type RegistrationErrorCode = keyof typeof REGISTRATION_CODES
