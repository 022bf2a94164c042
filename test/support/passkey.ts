/**
 * A software authenticator with a browser's part of WebAuthn, of another hand than the product's: node:crypto and CBOR written
 * out. Every part of a ceremony can be broken on its way.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

export interface Client {
  readonly origin: string
  readonly rpId: string
}

/** What a ceremony is made of, before it is signed, encoded and sent. */
export interface Ceremony {
  clientData: { [name: string]: unknown }
  rpId: string
  flags: number
  counter: number
  aaguid: Buffer
  credentialId: Buffer
  /** COSE key, encoded. */
  publicKey: Buffer
  fmt: string
  attStmt: Buffer
  userHandle: string | undefined
  key: KeyObject
  /** After everything else: the JSON that is sent. */
  sent: { id: string; rawId: string; type: string; response: { [name: string]: unknown }; [name: string]: unknown }
}

/** Changes a ceremony: `before` it is signed, or what is `sent` after. */
export interface Break {
  readonly before?: (ceremony: Ceremony) => void
  readonly sent?: (sent: Ceremony['sent']) => void
}

export const FLAGS = { UP: 1, UV: 4, BE: 8, BS: 16, AT: 64 } as const

interface Options {
  readonly challenge: string
  readonly user?: { readonly id: string }
}

/** One authenticator that holds one passkey: `create` makes it, `get` shows it. */
export function softAuthenticator({ origin, rpId }: Client, { counts = false, synced = false } = {}) {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const credentialId = randomBytes(32)
  const publicKey = coseOf(pair.publicKey)
  let uses = 0
  let userHandle: string | undefined

  function begin(type: string, challenge: string): Ceremony {
    if (counts) uses += 1
    const id = credentialId.toString('base64url')
    return {
      clientData: { type, challenge, origin, crossOrigin: false },
      ...{ rpId, counter: uses, credentialId, publicKey, userHandle, key: pair.privateKey },
      flags: FLAGS.UP | FLAGS.UV | (synced ? FLAGS.BE | FLAGS.BS : 0),
      aaguid: Buffer.alloc(16),
      ...{ fmt: 'none', attStmt: map() },
      sent: { id, rawId: id, type: 'public-key', response: {}, clientExtensionResults: {} },
    }
  }

  return {
    credentialId: credentialId.toString('base64url'),
    publicKey: publicKey.toString('base64url'),
    get uses() {
      return uses
    },
    set uses(count: number) {
      uses = count
    },

    /** RegistrationResponseJSON, as a form carries it. */
    create({ challenge, user }: Options, { before, sent }: Break = {}): string {
      userHandle = user?.id
      const ceremony = begin('webauthn.create', challenge)
      ceremony.flags |= FLAGS.AT
      before?.(ceremony)
      const length = Buffer.alloc(2)
      length.writeUInt16BE(ceremony.credentialId.length)
      const attested = Buffer.concat([ceremony.aaguid, length, ceremony.credentialId, ceremony.publicKey])
      const authData = Buffer.concat([headOf(ceremony), ceremony.flags & FLAGS.AT ? attested : Buffer.alloc(0)])
      const attestation = map(
        [text('fmt'), text(ceremony.fmt)],
        [text('attStmt'), ceremony.attStmt],
        [text('authData'), bytes(authData)],
      )
      ceremony.sent.response = {
        clientDataJSON: clientDataOf(ceremony).toString('base64url'),
        attestationObject: attestation.toString('base64url'),
        transports: ['internal'],
      }
      sent?.(ceremony.sent)
      return JSON.stringify(ceremony.sent)
    },

    /** AuthenticationResponseJSON, as a form carries it. */
    get({ challenge }: Options, { before, sent }: Break = {}): string {
      const ceremony = begin('webauthn.get', challenge)
      before?.(ceremony)
      const clientData = clientDataOf(ceremony)
      const authData = headOf(ceremony)
      const signed = Buffer.concat([authData, createHash('sha256').update(clientData).digest()])
      ceremony.sent.response = {
        clientDataJSON: clientData.toString('base64url'),
        authenticatorData: authData.toString('base64url'),
        signature: sign('sha256', signed, ceremony.key).toString('base64url'),
        ...(ceremony.userHandle !== undefined && { userHandle: ceremony.userHandle }),
      }
      sent?.(ceremony.sent)
      return JSON.stringify(ceremony.sent)
    },
  }
}

/** COSE_Key of an ES256 key (RFC 9053 §7.1.1). */
function coseOf(key: KeyObject): Buffer {
  const { x = '', y = '' } = key.export({ format: 'jwk' })
  return map(
    [int(1), int(2)],
    [int(3), int(-7)],
    [int(-1), int(1)],
    [int(-2), bytes(Buffer.from(x, 'base64url'))],
    [int(-3), bytes(Buffer.from(y, 'base64url'))],
  )
}

export type SoftAuthenticator = ReturnType<typeof softAuthenticator>

/** Up to the counter (WebAuthn L3 §6.1). */
function headOf({ rpId, flags, counter }: Ceremony): Buffer {
  const head = Buffer.alloc(37)
  createHash('sha256').update(rpId).digest().copy(head)
  head[32] = flags
  head.writeUInt32BE(counter, 33)
  return head
}

function clientDataOf({ clientData }: Ceremony): Buffer {
  return Buffer.from(JSON.stringify(clientData))
}

/** CBOR (RFC 8949): what CTAP2 makes of integers, byte strings, texts and maps. */
function head(major: number, value: number): Buffer {
  if (value < 24) return Buffer.from([(major << 5) | value])
  if (value < 256) return Buffer.from([(major << 5) | 24, value])
  const long = Buffer.from([(major << 5) | 25, 0, 0])
  long.writeUInt16BE(value, 1)
  return long
}

export const int = (value: number): Buffer => (value >= 0 ? head(0, value) : head(1, -1 - value))
export const bytes = (value: Buffer): Buffer => Buffer.concat([head(2, value.length), value])
const text = (value: string): Buffer => Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
export const map = (...entries: readonly (readonly [Buffer, Buffer])[]): Buffer =>
  Buffer.concat([head(5, entries.length), ...entries.flat()])
