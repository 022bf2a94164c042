/** Random identifiers and secrets, hashes of them, and comparison in constant time. */
import { hash, randomBytes, randomFillSync, randomInt, timingSafeEqual } from 'node:crypto'

/** Digits that one draw of `randomInt` (below 2^48) can give without bias. */
const DIGITS_PER_DRAW = 14

const ID_BYTES = 16
/** Drawn for many ids at once, since the call into the generator costs more than the bytes. Secrets are never drawn ahead. */
const drawn = Buffer.alloc(256 * ID_BYTES)
let used = drawn.length

/**
 * A fresh identifier: 128 random bits, base64url (22 characters). Not a secret. Never begins with a hyphen, which command
 * lines would take for an option.
 */
export function newId(): string {
  if (used === drawn.length) {
    randomFillSync(drawn)
    used = 0
  }
  used += ID_BYTES
  const id = drawn.toString('base64url', used - ID_BYTES, used)
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
  const some = String(randomInt(10 ** now)).padStart(now, '0')
  return count > now ? some + digits(count - now) : some
}

/**
 * SHA-256 of the UTF-8 bytes, base64url (43 characters). Enough for values of high entropy (tokens, client secrets);
 * passwords go to `password_hash`, short codes are keyed by `secretBox.mac`.
 */
export function sha256(value: string): string {
  return hash('sha256', value, 'base64url')
}

/**
 * Whether two strings are equal, in time that depends on neither where they differ nor how long the expected one is:
 * digests are compared, so an attacker learns nothing by timing guesses.
 */
export function equal(a: string, b: string): boolean {
  const digest = (value: string) => hash('sha256', value, 'buffer')
  return timingSafeEqual(digest(a), digest(b))
}
