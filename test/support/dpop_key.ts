/** A key that a client proves to hold (RFC 9449). */
import { generateKeyPairSync, hash, randomUUID } from 'node:crypto'
import { es256With, jws } from './forged_jwts.ts'

export interface DpopKey {
  /** RFC 7638. */
  readonly jkt: string
  /** The header of one request to the token endpoint. */
  proof(): { readonly dpop: string }
}

export function dpopKey(issuer: string): DpopKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = publicKey.export({ format: 'jwk' })
  const { crv, kty, x, y } = jwk
  return {
    jkt: hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url'),
    proof() {
      const claims = { jti: randomUUID(), htm: 'POST', htu: `${issuer}/token`, iat: Math.floor(Date.now() / 1000) }
      return { dpop: jws({ alg: 'ES256', typ: 'dpop+jwt', jwk }, claims, es256With(privateKey)) }
    },
  }
}
