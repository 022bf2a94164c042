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
    if (this.alg === 'EdDSA') return sign(null, data, this.#private)
    // JWS wants the two integers side by side (RFC 7518 §3.4), not DER.
    return sign('sha256', data, { key: this.#private, dsaEncoding: 'ieee-p1363' })
  }
}
