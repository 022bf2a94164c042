/** Keys of clients, and what they sign with them: assertions, request objects and proofs, the good ones and the bad ones. */
import { createHash, generateKeyPairSync, type JsonWebKey, type KeyObject, randomUUID, sign } from 'node:crypto'
import { jws } from './forged_jwts.ts'

export type Alg = 'ES256' | 'RS256' | 'PS256' | 'EdDSA'
export type Claims = { readonly [claim: string]: unknown }

export interface ClientKey {
  readonly alg: Alg
  readonly privateKey: KeyObject
  /** The public key, as it stands in `jwks`. */
  readonly jwk: JsonWebKey & { readonly kid: string }
  sign(claims: Claims, header?: Claims): string
}

/** A new key; RSA keys take half a second, so a file makes few. */
export function createKey(kid: string, alg: Alg = 'ES256'): ClientKey {
  const { privateKey, publicKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : alg === 'EdDSA'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid }
  return { alg, privateKey, jwk, sign: (claims, header) => signJwt(privateKey, claims, { alg, kid, ...header }) }
}

/** Signs by the `alg` of the header, whatever else it says. */
export function signJwt(key: KeyObject, claims: Claims, header: Claims & { readonly alg: unknown }): string {
  return jws(header, claims, (data) => {
    if (header.alg === 'EdDSA') return sign(null, data, key)
    if (header.alg === 'PS256') return sign('sha256', data, { key, padding: 6, saltLength: 32 })
    return sign('sha256', data, header.alg === 'ES256' ? { key, dsaEncoding: 'ieee-p1363' } : key)
  })
}

export const seconds = () => Math.floor(Date.now() / 1000)

/** What a client assertion says (RFC 7523 §3, FAPI 2.0 Security Profile §5.3.3). */
export function assertionClaims(issuer: string, clientId: string): Claims {
  const now = seconds()
  return { iss: clientId, sub: clientId, aud: issuer, jti: randomUUID(), iat: now, nbf: now, exp: now + 60 }
}

/** A proof of possession (RFC 9449 §4.2) of an EC key. */
export function dpopProof(key: ClientKey, htm: string, htu: string, more: Claims = {}, header: Claims = {}): string {
  const { kty, crv, x, y } = key.jwk
  const claims = { jti: randomUUID(), htm, htu, iat: seconds(), ...more }
  return key.sign(claims, { typ: 'dpop+jwt', kid: undefined, jwk: { kty, crv, x, y }, ...header })
}

export const accessTokenHash = (token: string) => createHash('sha256').update(token).digest('base64url')

/** The thumbprint of an EC key (RFC 7638). */
export function thumbprint({ jwk: { crv, kty, x, y } }: ClientKey): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
}
