/** The feature's closed list of expected failures, with the status of the page that shows them. Texts are `error.<code>`. */
export const REGISTRATION_CODES = {
  email_invalid: 400,
  claim_required: 400,
  claim_too_long: 400,
  claim_invalid: 400,
  birthdate_invalid: 400,
  zoneinfo_invalid: 400,
  phone_number_invalid: 400,
  website_invalid: 400,
} as const

export type RegistrationErrorCode = keyof typeof REGISTRATION_CODES
