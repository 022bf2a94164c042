/** What may be told about values and errors in logs: secrets are recognised by the name of their key and by their form. */

const REDACTED = '[redacted]'
const DEPTH = 4
const ITEMS = 50
const TEXT = 4_000

/** Compared after lower-casing and dropping `_` and `-`. */
const SECRET_KEYS = new Set(
  `authorization proxyauthorization cookie cookies setcookie code codeverifier usercode devicecode otp totp pin
  assertion clientassertion samlresponse xsrf csrf hash sealed sealedprivate dpop proof privatekey privatejwk secretkeys
  loginhint idtokenhint bindings parameters passphrase seed salt`.split(/\s+/),
)
const SECRET_SUFFIX = /(password|secret|secrets|token|tokens|credential|credentials|apikey)$/

function secretKey(key: string): boolean {
  const plain = key.toLowerCase().replace(/[_-]/g, '')
  return SECRET_KEYS.has(plain) || SECRET_SUFFIX.test(plain)
}

/** A copy of the fields of a log line that is safe to write. */
export function redact(fields: object): Record<string, unknown> {
  return walkObject(fields, DEPTH)
}

/** Hides query values, credentials of URLs, bearer tokens and JWTs inside free text. */
export function redactText(text: string): string {
  const short = text.length > TEXT ? `${text.slice(0, TEXT)}…` : text
  return short
    .replace(/([?&#;][\w.~%[\]-]{1,64}=)[^&#;\s"'<>]+/g, `$1${REDACTED}`)
    .replace(/(:\/\/)[^/\s@"']+@/g, `$1${REDACTED}@`)
    .replace(/\b(Bearer|Basic|DPoP)\s+[\w.~+/=-]{6,}/gi, `$1 ${REDACTED}`)
    .replace(/\beyJ[\w-]{8,}\.[\w-]*\.[\w-]*/g, REDACTED)
}

function walk(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint') return value.toString()
  if (value === null || typeof value !== 'object') return typeof value === 'function' ? undefined : value
  if (value instanceof Error) return describeError(value, depth)
  if (value instanceof Date) return value
  if (value instanceof URL) return redactText(value.href)
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth === 0) return '[nested]'
  if (Array.isArray(value)) return value.slice(0, ITEMS).map((item) => walk(item, depth - 1))
  return walkObject(value, depth - 1)
}

function walkObject(value: object, depth: number): Record<string, unknown> {
  const safe: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value).slice(0, ITEMS)) {
    safe[key] = secretKey(key) && item !== undefined && item !== null ? REDACTED : walk(item, depth)
  }
  return safe
}

/**
 * An error for the log. Drivers attach the SQL, its parameters, whole rows (`detail: Key (email)=(…)`) and sockets to
 * their errors, so nothing is copied but a short list of properties.
 */
function describeError(error: Error, depth: number): Record<string, unknown> {
  const fields = error as Error & { code?: unknown; status?: unknown; constraint?: unknown; table?: unknown }
  return {
    type: error.name,
    message: errorMessage(error),
    ...(typeof fields.code === 'string' || typeof fields.code === 'number' ? { code: fields.code } : {}),
    ...(typeof fields.status === 'number' ? { status: fields.status } : {}),
    ...(typeof fields.constraint === 'string' ? { constraint: fields.constraint } : {}),
    ...(typeof fields.table === 'string' ? { table: fields.table } : {}),
    stack: frames(error),
    ...(error.cause instanceof Error && depth > 0 ? { cause: describeError(error.cause, depth - 1) } : {}),
  }
}

const STATEMENT = /\b(select|insert into|update|delete from|with|begin|create|alter)\b[\s\S]* - /i

/** The message without statement and values. */
export function errorMessage(error: Error): string {
  const { code } = error as { code?: unknown }
  const fromDatabase = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)
  const message = error.message.replace(STATEMENT, '')
  return redactText(fromDatabase ? message.replace(/"[^"]*"|'[^']*'/g, '…') : message)
}

/** The places only: the first lines of a stack repeat the message. */
function frames(error: Error): string[] {
  const lines = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  return lines.slice(0, 12).map((line) => line.trim())
}
