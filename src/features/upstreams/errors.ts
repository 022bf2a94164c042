/** The feature's closed list of expected failures; operators read them. */
import { AppError } from '../../errors.ts'

const CODES = { invalid_upstream: 400, upstream_exists: 409, upstream_managed_by_file: 409 } as const

export type UpstreamErrorCode = keyof typeof CODES

export function upstreamError(code: UpstreamErrorCode, detail: string): AppError<UpstreamErrorCode> {
  return new AppError(code, { status: CODES[code], detail, expose: true })
}
