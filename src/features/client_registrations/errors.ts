/** How registering fails (RFC 7591 §3.2.2, RFC 7592 §2, RFC 6750 §3.1). Programs and their operators read it; people never do. */

const CODES = {
  invalid_redirect_uri: 400,
  invalid_client_metadata: 400,
  invalid_software_statement: 400,
  unapproved_software_statement: 400,
  invalid_token: 401,
  access_denied: 403,
} as const

export type RegistrationErrorCode = keyof typeof CODES

/** What the endpoint answers with. */
export class RegistrationError extends Error {
  readonly code: RegistrationErrorCode
  readonly status: number
  constructor(code: RegistrationErrorCode, description: string) {
    super(description)
    this.name = 'RegistrationError'
    this.code = code
    this.status = CODES[code]
  }
}
