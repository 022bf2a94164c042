/** What may be told about values and errors in logs: secrets are recognised by the name of their key and by their form. */

import { isNativeError } from 'node:util/types'

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

/** JSON escapes C0 only; viewers break lines at some of these and turn text around at others. */
const INVISIBLE = /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** Most texts of a log are single words, which none of the rules below concerns. */
const SUSPECT = /[=:.\s\u007f-\uffff]|^.{256}/

/** Hides query values, credentials of URLs, bearer tokens and JWTs inside free text; makes odd controls visible. */
export function redactText(text: string): string {
  if (!SUSPECT.test(text)) return text
  const short = text.length > TEXT ? `${text.slice(0, TEXT)}…` : text
  return short
    .replace(/([?&#;][\w.~%[\]-]{1,64}=)[^&#;\s"'<>]+/g, `$1${REDACTED}`)
    .replace(/(:\/\/)[^/\s@"']+@/g, `$1${REDACTED}@`)
    .replace(/\b(Bearer|Basic|DPoP)\s+[\w.~+/=-]{6,}/gi, `$1 ${REDACTED}`)
    .replace(/\beyJ[\w-]{8,}\.[\w-]*\.[\w-]*/g, REDACTED)
    .replace(INVISIBLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function walk(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint') return value.toString()
  if (value === null || typeof value !== 'object') return typeof value === 'function' ? undefined : value
  if (isError(value)) return describeError(value, depth)
  if (value instanceof Date) return value
  if (value instanceof URL) return redactText(value.href)
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth === 0) return '[nested]'
  if (Array.isArray(value)) return value.slice(0, ITEMS).map((item) => walk(item, depth - 1))
  return walkObject(value, depth - 1)
}

function walkObject(value: object, depth: number): Record<string, unknown> {
  const safe: Record<string, unknown> = {}
  for (const key of Object.keys(value).slice(0, ITEMS)) {
    const item = secretKey(key) ? REDACTED : read(value, key)
    safe[redactText(key)] = walk(item, depth)
  }
  return safe
}

/** A log line must not fail on a getter that does. */
function read(value: object, key: string): unknown {
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return '[unreadable]'
  }
}

/** Also for errors of another realm, which `instanceof` does not know. */
export function isError(value: unknown): value is Error {
  return isNativeError(value) || value instanceof Error
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
    ...(isError(error.cause) && depth > 0 ? { cause: describeError(error.cause, depth - 1) } : {}),
  }
}

/** The message without statement and values: query builders put the one before, drivers the other into quotes. */
export function errorMessage(error: Error): string {
  const { code } = error as { code?: unknown }
  if (typeof code !== 'string' || !SQLSTATE.test(code)) return redactText(error.message.replace(STATEMENT, ''))
  const said = error.message.slice(error.message.lastIndexOf(' - ')).replace(/^ - /, '')
  return redactText(said.replace(/"[^"]*"|'[^']*'/g, '…'))
}

const SQLSTATE = /^[0-9A-Z]{5}$/
const STATEMENT = /\b(select|insert into|update|delete from|with|begin|create|alter)\b[\s\S]* - /i

/** The places only: the first lines of a stack repeat the message. */
function frames(error: Error): string[] {
  const lines = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  return lines.slice(0, 12).map((line) => line.trim())
}
