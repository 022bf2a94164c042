/** The one spelling of a JWS (RFC 7515 §2 and §3.1, RFC 4648 §3.5). */

/**
 * Whether `text` is a compact JWS as its signer wrote it. The engine's decoder also takes padding, blanks and loose bits in
 * the last letter, so that one signature would have many spellings: whoever compares or counts tokens would be fooled (A68).
 */
export function isCompactJws(text: unknown): boolean {
  if (typeof text !== 'string') return false
  const parts = text.split('.')
  return parts.length === 3 && parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)
}
