/**
 * Records whose payload is sealed under their own id. The store holds the id as a hash only, so a copy of it opens nothing
 * (A110): only who brings the id, as the browser's cookie does, reads what belongs to it. No key of ours is involved, so
 * none has to be rotated.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto'
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { type Payload, withoutId } from './store.ts'

const IV_BYTES = 12
const TAG_BYTES = 16

/**
 * What a conversation begins with holds all that the client asked for, with the addresses of people in its hints, and ids in
 * clear (an Interaction its own in `returnTo`, the conversation's `cid`, that of a pushed request): sealed under its own id.
 */
export function sealedAdapter(base: Adapter): Adapter {
  return {
    ...base,
    async upsert(id, payload, expiresIn) {
      await base.upsert(id, sealPayload(id, withoutId(payload as Payload), ['kind']) as AdapterPayload, expiresIn)
    },
    async find(id) {
      const found = await base.find(id)
      if (!found) return undefined
      const { consumed } = found as Payload
      return { ...openPayload(id, found as Payload), ...(consumed === undefined ? {} : { consumed }), jti: id }
    },
  }
}

/** An Interaction, without the session's bearer id. */
export function interactionAdapter(base: Adapter): Adapter {
  const sealed = sealedAdapter(base)
  return {
    ...sealed,
    async upsert(id, payload, expiresIn) {
      // The engine keeps the session's bearer id here and never reads it: not in our store.
      const { cookie: _bearer, ...session } = (payload.session ?? {}) as Payload
      await sealed.upsert(id, { ...payload, ...(payload.session ? { session } : {}) } as AdapterPayload, expiresIn)
    },
  }
}

/** A payload that shows nothing of `payload` but the members in `clear`. */
export function sealPayload(id: string, payload: Payload, clear: readonly string[]): Payload {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', keyOf(id), iv)
  const sealed = Buffer.concat([iv, cipher.update(JSON.stringify(payload)), cipher.final(), cipher.getAuthTag()])
  const shown = clear.flatMap((name) => (payload[name] === undefined ? [] : [[name, payload[name]]]))
  return { ...Object.fromEntries(shown), sealed: sealed.toString('base64url') }
}

/** The payload as it was sealed. Throws Error when it was changed or belongs to another id. */
export function openPayload(id: string, { sealed }: Payload): Payload {
  const bytes = Buffer.from(String(sealed), 'base64url')
  const decipher = createDecipheriv('aes-256-gcm', keyOf(id), bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
  const plain = [decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]
  return JSON.parse(Buffer.concat(plain).toString()) as Payload
}

/** Ids are random, so a hash stretches them well enough; its prefix keeps it apart from the one that names the record. */
function keyOf(id: string): KeyObject {
  // Given the bytes themselves, Node would make and throw away an error first: three times the cost of the cipher.
  return createSecretKey(hash('sha256', `genkan sealed payload\0${id}`, 'buffer'))
}
