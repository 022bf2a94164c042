/** The feature's closed list of failures. They reach operators, not end-users. */
import { AppError } from '../../errors.ts'

const CODES = {
  key_corrupt: 500,
  key_missing: 500,
  key_rotation_pending: 409,
  key_alg_unknown: 400,
} as const

export type KeyErrorCode = keyof typeof CODES

/** Builds a failure whose detail an operator may read. */
export function keyError(code: KeyErrorCode, detail: string, cause?: unknown): AppError<KeyErrorCode> {
  return new AppError(code, { status: CODES[code], detail, cause })
}
