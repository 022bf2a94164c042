/**
 * The relying party's side of WebAuthn (Level 3 §7.1, §7.2), over @simplewebauthn/server and with what that leaves to its user:
 * frames are refused, the credential of a registration is the one that was signed for, the backup flags make sense. User
 * verification is always required, since a passkey counts alone. The library is loaded when the first challenge is asked for.
 */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'

export type WebAuthn = ReturnType<typeof createWebAuthn>

/** What is kept of a credential. */
export interface Credential {
  /** base64url. */
  readonly credentialId: string
  /** COSE key, base64url. */
  readonly publicKey: string
  /** 0 when the authenticator does not count. */
  readonly counter: number
  readonly transports: readonly string[]
  readonly aaguid: string
  /** May be copied to other devices; never changes (§6.1.3). */
  readonly backupEligible: boolean
  readonly backedUp: boolean
}

/** What an assertion said, once it was found right. */
export interface Assertion {
  readonly counter: number
  readonly backedUp: boolean
}

export type Creation = z.output<typeof creationSchema>
export type Answer = z.output<typeof answerSchema>

/** EdDSA, ES256, RS256: offered at registration, and nothing else is taken. */
const ALGORITHMS = [-8, -7, -257] as const
/** None is asked for; browsers still hand on what an authenticator signs with the credential itself. */
const FORMATS = ['none', 'packed']
const CHALLENGE_BYTES = 32
const UP = 1
const UV = 4
const BACKUP_ELIGIBLE = 8
const BACKED_UP = 16
const FLAGS_AT = 32

const bytes = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .regex(/^[\w-]+$/)
const TRANSPORTS = ['ble', 'cable', 'hybrid', 'internal', 'nfc', 'smart-card', 'usb'] as const
const id = bytes(1364)
const shared = { id, rawId: id, type: z.literal('public-key') }

/** RegistrationResponseJSON (§5.1.8.1). */
const creationSchema = z.object({
  ...shared,
  response: z.object({
    clientDataJSON: bytes(8192),
    attestationObject: bytes(24_576),
    transports: z
      .array(z.string())
      .max(20)
      .default([])
      .transform((names) => TRANSPORTS.filter((known) => names.includes(known))),
  }),
})

/** AuthenticationResponseJSON (§5.1.8.2). */
const answerSchema = z.object({
  ...shared,
  response: z.object({
    clientDataJSON: bytes(8192),
    authenticatorData: bytes(8192),
    signature: bytes(4096),
    userHandle: bytes(128).nullish(),
  }),
})

const clientDataSchema = z.object({
  type: z.string(),
  challenge: bytes(256),
  origin: z.string(),
  crossOrigin: z.boolean().optional(),
  topOrigin: z.string().optional(),
})

/** The answer of an authenticator as a form carries it; undefined when it is none. */
export const readCreation = (text: string): Creation | undefined => read(creationSchema, text)
export const readAnswer = (text: string): Answer | undefined => read(answerSchema, text)

/** The challenge that an answer is to; undefined when it says none. */
export function challengeOf({ response }: Creation | Answer): string | undefined {
  return clientDataOf(response.clientDataJSON)?.challenge
}

/** A fresh challenge, base64url (§13.4.3). */
export function newChallenge(): string {
  return randomBytes(CHALLENGE_BYTES).toString('base64url')
}

/** `relatedOrigins`: other origins that may use this host's passkeys (§5.11). */
export function createWebAuthn({ issuer, relatedOrigins }: { issuer: string; relatedOrigins: readonly string[] }) {
  const rpId = new URL(issuer).hostname
  const origins = [issuer, ...relatedOrigins]
  const expected = { expectedOrigin: origins, expectedRPID: rpId, requireUserVerification: true }

  const fits = (clientDataJSON: string, type: string): boolean => {
    const data = clientDataOf(clientDataJSON)
    return data?.type === type && origins.includes(data.origin) && !data.crossOrigin && data.topOrigin === undefined
  }

  return {
    rpId,
    origins,
    algorithms: ALGORITHMS,

    /** To be awaited by nobody: verifying needs it a moment later. */
    warmUp(): void {
      library().catch(() => {})
    },

    /** The credential that was made in answer to the challenge; undefined when anything about it is wrong. */
    async created(creation: Creation, challenge: string): Promise<Credential | undefined> {
      if (!fits(creation.response.clientDataJSON, 'webauthn.create')) return undefined
      const { verifyRegistrationResponse } = await library()
      const response = { ...creation, clientExtensionResults: {}, response: { ...creation.response } }
      const { verified, registrationInfo } = await verifyRegistrationResponse({
        ...{ response, expectedChallenge: challenge, supportedAlgorithmIDs: [...ALGORITHMS] },
        ...expected,
      }).catch(() => ({ verified: false, registrationInfo: undefined }))
      if (!verified || registrationInfo === undefined || !FORMATS.includes(registrationInfo.fmt)) return undefined
      const { credential, aaguid, credentialDeviceType, credentialBackedUp } = registrationInfo
      // The library compares `id` with `rawId`, which are both the browser's word; this one is the authenticator's.
      if (credential.id !== creation.id) return undefined
      return {
        credentialId: credential.id,
        publicKey: Buffer.from(credential.publicKey).toString('base64url'),
        counter: credential.counter,
        transports: creation.response.transports,
        aaguid,
        backupEligible: credentialDeviceType === 'multiDevice',
        backedUp: credentialBackedUp,
      }
    },

    /** What the assertion says; undefined when anything about it is wrong. The counter is for the caller to compare. */
    async asserted(answer: Answer, challenge: string, credential: Credential): Promise<Assertion | undefined> {
      if (!fits(answer.response.clientDataJSON, 'webauthn.get') || !plausible(answer, credential)) return undefined
      const { verifyAuthenticationResponse } = await library()
      const { userHandle: _, ...response } = answer.response
      const { verified, authenticationInfo } = await verifyAuthenticationResponse({
        ...{ response: { ...answer, clientExtensionResults: {}, response }, expectedChallenge: challenge },
        ...expected,
        credential: {
          id: credential.credentialId,
          publicKey: new Uint8Array(Buffer.from(credential.publicKey, 'base64url')),
          counter: 0,
        },
      }).catch(() => ({ verified: false, authenticationInfo: undefined }))
      if (!verified || authenticationInfo === undefined) return undefined
      return { counter: authenticationInfo.newCounter, backedUp: authenticationInfo.credentialBackedUp }
    },
  }
}

/** Flags before the signature: whoever is here and verified, and a backup only of what may be backed up (§7.2 steps 16 to 19). */
function plausible({ id: answered, response }: Answer, { credentialId, backupEligible }: Credential): boolean {
  const flags = Buffer.from(response.authenticatorData, 'base64url')[FLAGS_AT] ?? 0
  const has = (flag: number) => (flags & flag) !== 0
  if (!has(UP) || !has(UV) || answered !== credentialId) return false
  return has(BACKUP_ELIGIBLE) === backupEligible && (backupEligible || !has(BACKED_UP))
}

function clientDataOf(base64url: string) {
  return read(clientDataSchema, Buffer.from(base64url, 'base64url').toString('utf8'))
}

function read<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

let loaded: Promise<typeof import('@simplewebauthn/server')> | undefined

function library() {
  loaded ??= import('@simplewebauthn/server')
  return loaded
}
