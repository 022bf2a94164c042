/** Keys between us and an OpenID provider: its public ones, fetched and kept, and our own, named to it. */
import { createPublicKey } from 'node:crypto'
import { type CryptoKey, createLocalJWKSet, errors, importPKCS8, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import type { Clock } from './clock.ts'
import { UpstreamError } from './upstream.ts'
import { jsonObject, type UpstreamRequests } from './upstream_exchange.ts'

/** Asymmetric only: with HS256 and the like everybody who knows the client secret could name anybody. */
export const SIGNING_ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
] as const
/** Key management of encrypted ID tokens. Without RSA1_5, whose padding is an oracle. */
export const DECRYPTION_ALGORITHMS = [
  'RSA-OAEP',
  'RSA-OAEP-256',
  'ECDH-ES',
  'ECDH-ES+A128KW',
  'ECDH-ES+A256KW',
] as const

/** A private key of ours at a provider. */
export interface UpstreamKey {
  /** PKCS #8 in PEM. */
  readonly privateKey: string
  readonly keyId: string
  /** JWA name: of `SIGNING_ALGORITHMS`, or of `DECRYPTION_ALGORITHMS`. */
  readonly algorithm: string
}

export interface ReadyKey {
  readonly key: CryptoKey
  readonly kid: string
  readonly alg: string
}

/** @throws {UpstreamError} `misconfigured` when the text is no key of the algorithm. */
export async function readyKey({ privateKey, keyId, algorithm }: UpstreamKey): Promise<ReadyKey> {
  const key = await importPKCS8(privateKey, algorithm).catch((cause: unknown) => {
    throw new UpstreamError('misconfigured', 'key_unusable', { cause })
  })
  return { key, kid: keyId, alg: algorithm }
}

/** The public halves, as the provider is told them. */
export async function publicKeySet(
  signing: readonly UpstreamKey[],
  decryption: readonly UpstreamKey[],
): Promise<JSONWebKeySet> {
  const publicJwk = async (key: UpstreamKey, use: 'sig' | 'enc') => {
    const { kid, alg } = await readyKey(key)
    const { kty = '', ...members } = createPublicKey(key.privateKey).export({ format: 'jwk' })
    return { kty, ...members, kid, alg, use }
  }
  const named = [...signing.map((key) => publicJwk(key, 'sig')), ...decryption.map((key) => publicJwk(key, 'enc'))]
  return { keys: await Promise.all(named) }
}

export interface ProviderKeys {
  /** For jose: the key that a header names. */
  readonly find: JWTVerifyGetKey
  /** Fetches them now. */
  load(): Promise<void>
}

const KEEP_MS = 10 * 60_000
/** An unknown `kid` fetches the keys anew, but not more often: logout tokens come from anybody. */
const REFETCH_MS = 10_000

/** The keys at a `jwks_uri`. A key that appeared a moment ago is found, also while somebody is on the way (rotation). */
export function createProviderKeys(jwksUri: string, requests: UpstreamRequests, clock: Clock): ProviderKeys {
  let held: { readonly find: JWTVerifyGetKey; readonly at: number } | undefined
  let loading: Promise<void> | undefined

  const fetchKeys = async (): Promise<void> => {
    const response = await requests.fetch(jwksUri, { headers: { accept: 'application/json' } })
    const keySet = await jsonObject(response)
    if (response.status !== 200 || !Array.isArray(keySet.keys))
      throw new UpstreamError('answer_refused', 'jwks_invalid')
    held = { find: await localKeys(keySet.keys), at: clock.now().getTime() }
  }
  const load = (): Promise<void> => {
    loading ??= fetchKeys().finally(() => {
      loading = undefined
    })
    return loading
  }
  const age = () => (held === undefined ? Number.POSITIVE_INFINITY : clock.now().getTime() - held.at)
  return {
    load,
    async find(header, token) {
      if (age() >= KEEP_MS) await load()
      try {
        return await found(held, header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey) || age() < REFETCH_MS) throw error
        await load()
        return await found(held, header, token)
      }
    },
  }
}

function found(held: { readonly find: JWTVerifyGetKey } | undefined, ...asked: Parameters<JWTVerifyGetKey>) {
  if (held === undefined) throw new UpstreamError('unavailable', 'keys_missing')
  return held.find(...asked)
}

async function localKeys(keys: JSONWebKeySet['keys']): Promise<JWTVerifyGetKey> {
  const made = Promise.resolve({ keys }).then(createLocalJWKSet)
  return made.catch((cause: unknown) => {
    throw new UpstreamError('answer_refused', 'jwks_invalid', { cause })
  })
}
