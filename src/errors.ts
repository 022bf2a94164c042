/**
 * The one kind of error that is thrown on purpose, and the codes every room may use.
 * A feature adds its own closed union of codes in its `errors.ts`; `http/error_handler.ts` renders them all.
 */

/** HTTP status by shared code. */
export const SHARED_CODES = {
  invalid_request: 400,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  already_exists: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  too_many_requests: 429,
  internal_error: 500,
  temporarily_unavailable: 503,
  read_only: 503,
} as const

export type SharedCode = keyof typeof SHARED_CODES

/**
 * A failure with a stable code. `expose` tells whether `detail` may be shown to the requester;
 * the text a person reads always comes from `views/messages` by `error.<code>`.
 */
export class AppError<Code extends string = SharedCode> extends Error {
  readonly code: Code
  readonly status: number
  readonly expose: boolean
  /** Seconds after which the requester may try again (429 and 503). */
  readonly retryAfter: number | undefined

  constructor(
    code: Code,
    options: { status?: number; detail?: string; expose?: boolean; cause?: unknown; retryAfter?: number } = {},
  ) {
    super(options.detail ?? code, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.status = options.status ?? (SHARED_CODES as Record<string, number>)[code] ?? 500
    this.expose = options.expose ?? this.status < 500
    this.retryAfter = options.retryAfter
  }
}
