/**
 * Signatures of webhooks that come in (Standard Webhooks, standardwebhooks.com): HMAC-SHA256 over id, timestamp and body. What
 * is done with an id that comes twice is the receiver's to say.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** As the headers `webhook-id`, `webhook-timestamp` and `webhook-signature` have it. */
export interface SignedWebhook {
  readonly id: string
  readonly timestamp: string
  readonly signature: string
  readonly body: string
}

const PREFIX = 'whsec_'
const LEAST_BYTES = 24
/** Of clocks that differ, and of a delivery that was recorded to be sent again (Standard Webhooks, "Verifying timestamps"). */
const TOLERANCE_SECONDS = 300
/** Neither a dot nor a brace: what was signed is split in one way only. */
const ID = /^[\w:-]{1,200}$/
const TIMESTAMP = /^\d{1,12}$/
/** One for each secret of a sender who rotates, and a few of kinds that we do not know. */
const MOST_SIGNATURES = 10

/** The key of a secret as it is written: `whsec_` and base64 of 24 bytes or more. Undefined when it is none. */
export function webhookKey(secret: string): Buffer | undefined {
  const text = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : ''
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined
  const key = Buffer.from(text, 'base64')
  return key.length < LEAST_BYTES ? undefined : key
}

/** Whether any of the keys has signed this, a moment ago. Every comparison is made, each in constant time. */
export function isSigned(
  { id, timestamp, signature, body }: SignedWebhook,
  keys: readonly Buffer[],
  now: Date,
): boolean {
  if (!ID.test(id) || !TIMESTAMP.test(timestamp)) return false
  if (Math.abs(now.getTime() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) return false
  const given = signature.split(' ').slice(0, MOST_SIGNATURES).flatMap(readSignature)
  const wanted = keys.map((key) => createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest())
  let matches = false
  for (const one of given) for (const other of wanted) matches = timingSafeEqual(one, other) || matches
  return matches
}

const SHA256_BYTES = 32

/** `v1,<base64>`; other versions are not for us (`v1a` is asymmetric). */
function readSignature(text: string): Buffer[] {
  if (!text.startsWith('v1,')) return []
  const bytes = Buffer.from(text.slice('v1,'.length), 'base64')
  return bytes.length === SHA256_BYTES ? [bytes] : []
}
