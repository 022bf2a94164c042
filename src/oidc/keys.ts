/** Signing keys in the form the engine takes. */
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject, sign } from 'node:crypto'
import { ExternalSigningKey } from 'oidc-provider'

/** A signing key of the installation, private part opened. */
export interface SigningKey {
  readonly kid: string
  readonly alg: 'ES256' | 'RS256' | 'EdDSA'
  readonly privateJwk: JsonWebKey
}

/**
 * Elliptic keys sign on the calling thread: a signature takes 0.1 ms, while the thread pool that the engine would use is
 * shared with argon2, behind which a signature was seen to wait 43 ms. RSA costs ten times more and stays in the pool.
 */
export function toEngineKeys(keys: readonly SigningKey[]): (JsonWebKey | ExternalSigningKey)[] {
  return keys.map((key) =>
    key.alg === 'RS256'
      ? { ...key.privateJwk, kid: key.kid, alg: key.alg, use: 'sig' }
      : new SynchronousKey(key.kid, key.alg, createPrivateKey({ key: key.privateJwk, format: 'jwk' })),
  )
}

class SynchronousKey extends ExternalSigningKey {
  readonly #private: KeyObject
  readonly #public: KeyObject

  constructor(kid: string, alg: 'ES256' | 'EdDSA', key: KeyObject) {
    super()
    // The setters are there; the engine's types only name the getters.
    Object.assign(this, { kid, alg })
    this.#private = key
    this.#public = createPublicKey(key)
  }

  override keyObject(): KeyObject {
    return this.#public
  }

  override sign(data: Uint8Array): Buffer {
    return this.alg === 'EdDSA' ? sign(null, data, this.#private) : sideBySide(sign('sha256', data, this.#private))
  }
}

/** Bytes of each of the two integers of a P-256 signature. */
const INTEGER = 32

/**
 * JWS wants the two integers of an ES256 signature side by side (RFC 7518 §3.4). Node gives them so when asked by
 * `dsaEncoding`, but takes twice the time of the signature to look at such a request; so they are taken out of the DER:
 * `SEQUENCE { INTEGER r, INTEGER s }`, all of it short enough for lengths of one byte.
 */
export function sideBySide(der: Buffer): Buffer {
  const signature = Buffer.alloc(2 * INTEGER)
  let at = 2
  for (const end of [INTEGER, 2 * INTEGER]) {
    const length = der[at + 1] ?? 0
    // DER puts a zero in front of a high bit and leaves out leading zeros.
    const integer = der.subarray(at + 2 + Math.max(0, length - INTEGER), at + 2 + length)
    signature.set(integer, end - integer.length)
    at += 2 + length
  }
  return signature
}
