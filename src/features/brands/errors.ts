/** The feature's closed list of failures. They reach operators, not end-users. */
import { AppError } from '../../errors.ts'

const CODES = {
  invalid_brand: 400,
  brand_exists: 409,
  brand_managed_by_file: 409,
} as const

export type BrandErrorCode = keyof typeof CODES

/** Builds a failure whose detail an operator may read. */
export function brandError(code: BrandErrorCode, detail: string): AppError<BrandErrorCode> {
  return new AppError(code, { status: CODES[code], detail, expose: true })
}
