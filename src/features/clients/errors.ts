/** The feature's closed list of failures. They reach operators, not end-users. */
import { AppError } from '../../errors.ts'

const CODES = {
  invalid_client_metadata: 400,
  client_exists: 409,
  client_managed_by_file: 409,
  client_has_no_secret: 400,
  too_many_secrets: 409,
} as const

export type ClientErrorCode = keyof typeof CODES

/** Builds a failure whose detail an operator may read. */
export function clientError(code: ClientErrorCode, detail: string): AppError<ClientErrorCode> {
  return new AppError(code, { status: CODES[code], detail, expose: true })
}
