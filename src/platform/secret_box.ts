/**
 * Secrets at rest: AES-256-GCM and HMAC-SHA256 under keys derived for one purpose each (HKDF, RFC 5869), so that a value
 * sealed for one place opens in no other. A sealed value is `v1.<key id>.<iv>.<ciphertext and tag>`, base64url.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { equal } from './ids.ts'

export interface SecretBox {
  /** Encrypts under the newest key. `purpose` is a constant of the caller, such as `signing_key`. */
  seal(plaintext: string, purpose: string): string
  /** Decrypts. Throws Error when the value is malformed, tampered with, of another purpose, or its key is not listed. */
  open(sealed: string, purpose: string): string
  /** Whether the value is sealed under another key than the newest. */
  needsReseal(sealed: string): boolean
  /** HMAC-SHA256 under the newest key, base64url. */
  mac(value: string, purpose: string): string
  /** Whether `mac` belongs to the value under any listed key; compared in constant time. */
  macMatches(value: string, purpose: string, mac: string): boolean
  /** `bytes` of key material for a purpose, from the newest key: stable until the keys are rotated. */
  derive(purpose: string, bytes: number): Buffer
  /** Ids of the listed keys, newest first. An id tells nothing about its key. */
  keyIds(): string[]
}

const KEY_BYTES = 32
/** NIST SP 800-38D §8.2.2: a random IV of 96 bits; at most 2^32 values per key, which no installation reaches. */
const IV_BYTES = 12
const TAG_BYTES = 16
/** Purposes are constants; a caller that puts ids into them must not fill the memory. */
const CACHED_KEYS = 512

/** Opens with any of `keys` (newest first, at least 32 bytes each), seals with the first. Throws Error without a good key. */
export function createSecretBox(keys: readonly Buffer[]): SecretBox {
  const [newest, ...older] = keys.map(createRing)
  if (newest === undefined) throw new Error('secret keys: at least one is needed')
  const rings = [newest, ...older]

  return {
    seal(plaintext, purpose) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', newest.key('seal', purpose), iv)
      cipher.setAAD(associated(newest.id, purpose))
      const body = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return ['v1', newest.id, iv.toString('base64url'), body.toString('base64url')].join('.')
    },
    open(sealed, purpose) {
      const { keyId, iv, body } = parse(sealed)
      const ring = rings.find(({ id }) => id === keyId)
      if (ring === undefined) throw new Error(`sealed value: its key ${keyId} is not among the secret keys`)
      return decrypt(ring.key('seal', purpose), iv, body, associated(keyId, purpose))
    },
    needsReseal: (sealed) => parse(sealed).keyId !== newest.id,
    mac: (value, purpose) => newest.mac(value, purpose),
    macMatches(value, purpose, mac) {
      // No early exit: how long it takes must not tell which key matched.
      return rings.map((ring) => equal(ring.mac(value, purpose), mac)).includes(true)
    },
    derive: (purpose, bytes) => newest.derive('derive', purpose, bytes),
    keyIds: () => [...new Set(rings.map(({ id }) => id))],
  }
}

interface Ring {
  readonly id: string
  key(use: 'seal' | 'mac', purpose: string): KeyObject
  derive(use: string, purpose: string, bytes: number): Buffer
  mac(value: string, purpose: string): string
}

/** One listed key with its id and the keys derived from it. */
function createRing(secret: Buffer): Ring {
  if (secret.length < KEY_BYTES) throw new Error(`secret keys: each has at least ${KEY_BYTES} bytes`)
  const id = createHash('sha256').update('genkan secret key id\0').update(secret).digest('base64url').slice(0, 8)
  // As key objects: from a Buffer, Node would make one for each use, which costs five times the HMAC itself.
  const cache = new Map<string, KeyObject>()

  function derive(use: string, purpose: string, bytes: number): Buffer {
    return Buffer.from(hkdfSync('sha256', secret, '', `genkan ${use}\0${purpose}`, bytes))
  }

  function key(use: 'seal' | 'mac', purpose: string): KeyObject {
    const name = `${use}\0${purpose}`
    const cached = cache.get(name)
    if (cached !== undefined) return cached
    if (cache.size >= CACHED_KEYS) cache.clear()
    const derived = createSecretKey(derive(use, purpose, KEY_BYTES))
    cache.set(name, derived)
    return derived
  }

  return {
    id,
    key,
    derive,
    mac: (value, purpose) => createHmac('sha256', key('mac', purpose)).update(value).digest('base64url'),
  }
}

/** Version, key and purpose are authenticated: none can be exchanged for another. */
function associated(keyId: string, purpose: string): Buffer {
  return Buffer.from(`v1.${keyId}.${purpose}`)
}

function parse(sealed: string): { keyId: string; iv: Buffer; body: Buffer } {
  const parts = /^v1\.([\w-]{8})\.([\w-]{16})\.([\w-]{22,})$/.exec(sealed)
  const [, keyId = '', iv = '', body = ''] = parts ?? []
  const value = { keyId, iv: Buffer.from(iv, 'base64url'), body: Buffer.from(body, 'base64url') }
  // One spelling per value: spare bits of base64url would make a changed text open all the same.
  if (parts === null || value.body.toString('base64url') !== body) throw new Error('sealed value: malformed')
  return value
}

function decrypt(key: KeyObject, iv: Buffer, body: Buffer, aad: Buffer): string {
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
  decipher.setAAD(aad)
  decipher.setAuthTag(body.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(body.subarray(0, -TAG_BYTES)), decipher.final()]).toString('utf8')
  } catch (cause) {
    throw new Error('sealed value: changed, or sealed for another purpose', { cause })
  }
}
