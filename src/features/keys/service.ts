/** The rules of signing keys: made once, published before use, kept until nothing they signed is shown any more. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type JsonWebKey } from 'node:crypto'
import { promisify } from 'node:util'
import type { Clock } from '../../platform/clock.ts'
import type { Invalidation } from '../../platform/invalidation.ts'
import type { Outbox } from '../../platform/outbox.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { SecretBox } from '../../platform/secret_box.ts'
import { keyError } from './errors.ts'
import type { KeyRepository } from './repository.ts'
import {
  KEY_ALGS,
  KEY_PURPOSE,
  KEYS_TOPIC,
  type KeyAlg,
  type KeyRecord,
  type KeyState,
  type Resealer,
  type SigningKey,
} from './types.ts'

const generate = promisify(generateKeyPair)
const DEFAULT_PUBLISH_SECONDS = 86_400
const DAY_MS = 86_400_000

export interface KeysDeps {
  readonly repository: KeyRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: Pick<Outbox, 'record'>
  readonly invalidation: Pick<Invalidation, 'publish' | 'subscribe'>
  readonly secretBox: Pick<SecretBox, 'seal' | 'open' | 'needsReseal'>
  readonly clock: Clock
  /** How long something signed may still be shown to somebody: an ID token comes back as `id_token_hint` at logout. */
  readonly verifySeconds: number
}

export interface Rotation {
  readonly alg: KeyAlg
  /** How long the new key is published before it signs; other parties cache the key set. 86,400 by default. */
  readonly publishSeconds?: number | undefined
  /** The present key is known to others: replace it now and stop publishing it. */
  readonly compromised?: boolean | undefined
  readonly now: Date
}

export type KeysService = ReturnType<typeof createKeysService>

export function createKeysService(deps: KeysDeps) {
  const read = createReader(deps)
  return { ...views(deps, read), ...changes(deps, read) }
}

type Read = ReturnType<typeof createReader>

/** Reads the published keys, each opened once: key objects stay alive. */
function createReader({ repository, secretBox }: KeysDeps) {
  const opened = new Map<string, ReturnType<typeof open>>()
  return async (now: Date, tx?: Tx): Promise<SigningKey[]> => {
    const keys = arrange(await repository.list(tx), now).map(({ record, state }) => {
      const key = opened.get(record.kid) ?? open(record, secretBox)
      opened.set(record.kid, key)
      return { ...key, state, signsFrom: record.signsFrom, retiresAt: record.retiresAt }
    })
    for (const alg of KEY_ALGS) {
      if (keys.some((key) => key.alg === alg && key.state === 'signing')) continue
      throw keyError('key_missing', `signing keys: none for ${alg} is in the database; restore it from a backup`)
    }
    return keys
  }
}

function views(deps: KeysDeps, read: Read) {
  const { repository, outbox, secretBox, clock, invalidation } = deps
  const listeners: (() => void)[] = []
  let shown = ''
  const showing = async (now: Date, tx?: Tx) => (await read(now, tx)).map(({ kid, state }) => `${kid} ${state}`).join()
  const refresh = async (now: Date): Promise<void> => {
    const present = await showing(now)
    const changed = shown !== '' && shown !== present
    shown = present
    if (changed) for (const listener of listeners) listener()
  }
  invalidation.subscribe(KEYS_TOPIC, () => {
    // A failure is met again, and reported, by the job that refreshes.
    refresh(clock.now()).catch(() => {})
  })
  return {
    /**
     * At start, under the migration lock: makes one key for each algorithm when there is none at all, then opens every key.
     * @throws AppError key_corrupt naming the `kid`, or key_missing naming the algorithm: refuse to start
     */
    async ensure(tx: Tx): Promise<void> {
      await repository.lock(tx)
      const now = clock.now()
      if ((await repository.list(tx)).length === 0) {
        const made = await Promise.all(KEY_ALGS.map((alg) => make(alg, now, now, secretBox)))
        for (const key of made) await repository.insert(key, tx)
        await outbox.record([{ type: 'key.created', actor: 'system', data: { kids: made.map(({ kid }) => kid) } }], tx)
      }
      // What the engine is built with: a change that comes before the first refresh is one too.
      shown = await showing(now, tx)
    },

    /**
     * The key set for the engine: for each algorithm (ES256 first, the default) the signing key, then the published next
     * ones, then the retiring ones.
     * @throws AppError key_corrupt, key_missing
     */
    current: (now: Date): Promise<SigningKey[]> => read(now),

    /** Registers who must be told that the set returned by `current` has changed. */
    onChange(listener: () => void): void {
      listeners.push(listener)
    },

    /** Job: notices a key whose time to sign has come, and rotations made by other instances; then tells the listeners. */
    refresh,
  }
}

function changes(deps: KeysDeps, read: Read) {
  const { repository, outbox, secretBox } = deps
  return {
    /**
     * Publishes a new key that signs later; the present one goes on until then and stays published while something it
     * signed may be shown.
     * @throws AppError key_rotation_pending when a next key is published already (unless compromised)
     */
    async rotate(rotation: Rotation): Promise<SigningKey> {
      const { alg, now, compromised = false } = rotation
      const publishSeconds = compromised ? 0 : (rotation.publishSeconds ?? DEFAULT_PUBLISH_SECONDS)
      const signsFrom = new Date(now.getTime() + publishSeconds * 1000)
      const made = await make(alg, now, signsFrom, secretBox)
      await deps.transaction(async (tx) => {
        await repository.lock(tx)
        const others = (await repository.list(tx)).filter((key) => key.alg === alg && !retired(key, now))
        const next = others.find((key) => key.signsFrom > now)
        if (next !== undefined && !compromised) throw pending(next)
        const retiresAt = compromised ? now : new Date(signsFrom.getTime() + deps.verifySeconds * 1000)
        const kids = others.map(({ kid }) => kid)
        await repository.updateRetirement(kids, retiresAt, tx)
        await repository.insert(made, tx)
        const signing = others.filter((key) => key.signsFrom <= now).at(-1)?.kid
        const data = {
          ...{ alg, kid: made.kid, signsFrom: signsFrom.toISOString(), compromised },
          ...{ retired: kids, retiresAt: retiresAt.toISOString() },
          changes: { signing_key: { old: signing, new: made.kid } },
        }
        await outbox.record([{ type: 'key.rotated', actor: 'operator', data }], tx)
      })
      await deps.invalidation.publish(KEYS_TOPIC, made.kid)
      const key = (await read(now)).find(({ kid }) => kid === made.kid)
      if (key === undefined) throw keyError('key_missing', `signing key ${made.kid} vanished`)
      return key
    },

    /**
     * Seals everything again under the newest secret key, in one transaction, so that older ones can be taken out of the
     * configuration. @returns how many values changed
     */
    async reseal(others: readonly Resealer[] = []): Promise<number> {
      const again = (sealed: string, purpose: string) =>
        secretBox.needsReseal(sealed) ? secretBox.seal(secretBox.open(sealed, purpose), purpose) : undefined
      return deps.transaction(async (tx) => {
        await repository.lock(tx)
        let count = 0
        for (const resealer of [signingKeys(repository), ...others]) count += await resealer(again, tx)
        if (count > 0) await outbox.record([{ type: 'key.resealed', actor: 'operator', data: { count } }], tx)
        return count
      })
    },

    /** Job: forgets keys that retired a day ago. @returns how many */
    purge: (now: Date): Promise<number> =>
      deps.transaction((tx) => repository.deleteRetired(new Date(now.getTime() - DAY_MS), tx)),
  }
}

function signingKeys(repository: KeyRepository): Resealer {
  return async (reseal, tx) => {
    let count = 0
    for (const key of await repository.list(tx)) {
      const sealed = reseal(key.sealedPrivate, KEY_PURPOSE)
      if (sealed !== undefined && (await repository.updateSealed(key.kid, key.sealedPrivate, sealed, tx))) count++
    }
    return count
  }
}

function pending({ alg, kid, signsFrom }: KeyRecord) {
  const detail = `${alg} key ${kid} is published already and signs from ${signsFrom.toISOString()}`
  return keyError('key_rotation_pending', detail)
}

function retired(key: KeyRecord, now: Date): boolean {
  return key.retiresAt !== undefined && key.retiresAt <= now
}

/** Which key signs: of each algorithm the one that began last. */
function arrange(records: readonly KeyRecord[], now: Date): { record: KeyRecord; state: KeyState }[] {
  const published = records.filter((record) => !retired(record, now))
  return KEY_ALGS.flatMap((alg) => {
    const ofAlg = published.filter((record) => record.alg === alg)
    const begun = ofAlg.filter((record) => record.signsFrom <= now)
    const states = ofAlg.map((record) => {
      const state: KeyState = record.signsFrom > now ? 'next' : record === begun.at(-1) ? 'signing' : 'retiring'
      return { record, state }
    })
    return (['signing', 'next', 'retiring'] as const).flatMap((state) => states.filter((key) => key.state === state))
  })
}

async function make(alg: KeyAlg, now: Date, signsFrom: Date, box: Pick<SecretBox, 'seal'>): Promise<KeyRecord> {
  const { publicKey, privateKey } = await pair(alg)
  const bare = publicKey.export({ format: 'jwk' })
  const kid = thumbprint(bare)
  const sealedPrivate = box.seal(JSON.stringify(privateKey.export({ format: 'jwk' })), KEY_PURPOSE)
  return { kid, alg, publicJwk: { ...bare, kid, alg, use: 'sig' }, sealedPrivate, createdAt: now, signsFrom }
}

function pair(alg: KeyAlg) {
  if (alg === 'ES256') return generate('ec', { namedCurve: 'P-256' })
  if (alg === 'RS256') return generate('rsa', { modulusLength: 2048 })
  return generate('ed25519')
}

/** Opens a stored key and proves that private part, public part and name belong together. */
function open(record: KeyRecord, box: Pick<SecretBox, 'open'>): Omit<SigningKey, 'state' | 'signsFrom' | 'retiresAt'> {
  const { kid, alg, publicJwk, createdAt } = record
  try {
    const jwk = JSON.parse(box.open(record.sealedPrivate, KEY_PURPOSE)) as JsonWebKey
    const privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
    const derived = thumbprint(createPublicKey(privateKey).export({ format: 'jwk' }))
    if (derived !== kid || thumbprint(publicJwk) !== kid) throw new Error('its parts do not belong together')
    return { kid, alg, publicJwk, privateJwk: { ...jwk, kid, alg, use: 'sig' }, privateKey, createdAt }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw keyError('key_corrupt', `signing key ${kid} (${alg}) cannot be opened: ${reason}`, cause)
  }
}

/** RFC 7638 §3. */
function thumbprint(jwk: JsonWebKey): string {
  const members =
    jwk.kty === 'RSA'
      ? { e: jwk.e, kty: jwk.kty, n: jwk.n }
      : jwk.kty === 'EC'
        ? { crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y }
        : { crv: jwk.crv, kty: jwk.kty, x: jwk.x }
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}
