/** Random identifiers and secrets, hashes of them, and comparison in constant time. */
import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto'

/** Digits that one draw of `randomInt` (below 2^48) can give without bias. */
const DIGITS_PER_DRAW = 14

/**
 * A fresh identifier: 128 random bits, base64url (22 characters). Not a secret. Never begins with a hyphen, which command
 * lines would take for an option.
 */
export function newId(): string {
  const id = randomBytes(16).toString('base64url')
  return id.startsWith('-') ? newId() : id
}

/** A fresh bearer secret: 256 random bits, base64url (43 characters). Store only its `sha256`. */
export function newToken(): string {
  return randomBytes(32).toString('base64url')
}

/** `count` decimal digits, each uniform, leading zeros kept. Throws RangeError below one digit. */
export function digits(count: number): string {
  if (!Number.isInteger(count) || count < 1) throw new RangeError('digits: at least one')
  const now = Math.min(count, DIGITS_PER_DRAW)
  const drawn = String(randomInt(10 ** now)).padStart(now, '0')
  return count > now ? drawn + digits(count - now) : drawn
}

/**
 * SHA-256 of the UTF-8 bytes, base64url (43 characters). Enough for values of high entropy (tokens, client secrets);
 * passwords go to `password_hash`, short codes are keyed by `secretBox.mac`.
 */
export function sha256(value: string): string {
  return createHash('sha256').update(value).digest('base64url')
}

/**
 * Whether two strings are equal, in time that depends on neither where they differ nor how long the expected one is:
 * digests are compared, so an attacker learns nothing by timing guesses.
 */
export function equal(a: string, b: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest()
  return timingSafeEqual(digest(a), digest(b))
}
