/** What other rooms may know about signing keys. */
import type { JsonWebKey, KeyObject } from 'node:crypto'
import type { Tx } from '../../platform/postgres.ts'

export const KEY_ALGS = ['ES256', 'RS256', 'EdDSA'] as const
export type KeyAlg = (typeof KEY_ALGS)[number]

/** A key as stored. */
export interface KeyRecord {
  /** RFC 7638 SHA-256 thumbprint of the public key: a changed public key no longer fits its name. */
  readonly kid: string
  readonly alg: KeyAlg
  readonly publicJwk: JsonWebKey
  readonly sealedPrivate: string
  readonly createdAt: Date
  /** Published before, used from then on. */
  readonly signsFrom: Date
  /** Published until then; undefined while no successor is known. */
  readonly retiresAt?: Date | undefined
}

export type KeyState = 'signing' | 'next' | 'retiring'

/** An opened key. `privateKey` and the JWKs are the same objects each time: importing a key costs more than signing. */
export interface SigningKey {
  readonly kid: string
  readonly alg: KeyAlg
  readonly state: KeyState
  readonly publicJwk: JsonWebKey
  readonly privateJwk: JsonWebKey
  readonly privateKey: KeyObject
  readonly createdAt: Date
  readonly signsFrom: Date
  readonly retiresAt?: Date | undefined
}

/** Cache topic of the invalidation channel. */
export const KEYS_TOPIC = 'signing_key'
/** Under which purpose private keys are sealed. */
export const KEY_PURPOSE = 'signing_key'

/** Re-seals what one room has sealed: calls `reseal` for each value and stores what it returns. @returns how many it stored */
export type Resealer = (reseal: (sealed: string, purpose: string) => string | undefined, tx: Tx) => Promise<number>
