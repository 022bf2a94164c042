/** What may be told of credentials of clients that end. */
import { hash, X509Certificate } from 'node:crypto'
import { type ClientRecord, liveSecrets } from '../clients/types.ts'

export interface Credential {
  readonly kind: 'secret' | 'certificate' | 'key'
  /** A secret's id, a certificate's thumbprint (`x5t#S256`), a key's `kid`. */
  readonly id: string
  readonly expiresAt: Date
}

/** By what the client shows who it is and that ends: live secrets, certificates in `jwks`, keys with `exp`. */
export function expiringOf(record: ClientRecord, now: Date): Credential[] {
  const secrets = liveSecrets(record, now).flatMap(({ id, expiresAt }): Credential[] =>
    expiresAt === undefined ? [] : [{ kind: 'secret', id, expiresAt }],
  )
  const keys = (record.metadata.jwks?.keys ?? []).flatMap((key, place) => [
    ...certificateOf(key.x5c),
    ...(typeof key.exp === 'number' && key.exp > 0 && key.exp < LAST
      ? [{ kind: 'key', id: key.kid ?? String(place), expiresAt: new Date(key.exp * 1000) } as const]
      : []),
  ])
  return [...secrets, ...keys]
}

/** The last second that a `Date` can tell. */
const LAST = 8.64e12

/** Of a chain the first one is the client's (RFC 7517 §4.7). What is none was never looked at before, and expires never. */
function certificateOf(chain: unknown): Credential[] {
  if (!Array.isArray(chain) || typeof chain[0] !== 'string') return []
  try {
    const { raw, validTo } = new X509Certificate(Buffer.from(chain[0], 'base64'))
    return [{ kind: 'certificate', id: hash('sha256', raw, 'base64url'), expiresAt: new Date(validTo) }]
  } catch {
    return []
  }
}
