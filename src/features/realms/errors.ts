/** The feature's closed list of expected failures; operators read them. */
import { AppError } from '../../errors.ts'

const CODES = { invalid_realm: 400, realm_exists: 409, realm_managed_by_file: 409 } as const

export type RealmErrorCode = keyof typeof CODES

export function realmError(code: RealmErrorCode, detail: string): AppError<RealmErrorCode> {
  return new AppError(code, { status: CODES[code], detail, expose: true })
}
