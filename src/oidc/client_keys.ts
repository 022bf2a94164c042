/**
 * Keys that a client publishes at its `jwks_uri` (RFC 7517 §5, OpenID Connect Core 1.0 §10.1.1). The engine would believe a
 * cached key for as long as no other is named, and fetch anew for each request while the address fails. Here a set is believed
 * for as long as its answer allows, an hour at the most; a key that is not in it has it fetched again, but never more often
 * than the pause, whoever asks (nobody makes us knock at another's door); and while the address fails, the last set serves on
 * for a day.
 */
import { hash, type X509Certificate } from 'node:crypto'
import Provider, { errors, type KoaContextWithOIDC } from 'oidc-provider'

/** Between two fetches of one set. Names of keys come from whoever asks, proven or not. */
const PAUSE_SECONDS = 10
const MOST_FRESH_SECONDS = 3600
/** How long a set that cannot be renewed is still believed. */
const OUTAGE_SECONDS = 86_400
const KEYS_UNAVAILABLE = 'client JSON Web Key Set failed to be refreshed'

interface Key {
  readonly 'x5t#S256'?: string
}

/** The engine's store of a client's keys. */
interface ClientKeyStore extends Iterable<Key> {
  freshUntil?: number
  fresh(): boolean
  refresh(): Promise<void>
  clear(): void
  add(key: Key): void
  selectForVerify(options: object): readonly Key[]
}

/** What is known of one set. It lives as long as the client's record stays as it is, also when the engine is built anew. */
interface Known {
  keys: readonly Key[]
  /** Undefined until it was. */
  fetchedAt: number | undefined
  freshUntil: number
  triedAt: number
}

const sets = new WeakMap<object, Known>()

export interface KeyedClient {
  readonly jwksUri?: string | undefined
  readonly clientAuthMethod?: string | undefined
  readonly asymmetricKeyStore: unknown
}

/** What a fetch needs to know beside the client. */
export interface ClientKeysDeps {
  readonly now: () => Date
  /** The certificate that this request shows. */
  readonly certificateOf: (ctx: KoaContextWithOIDC) => X509Certificate | undefined
}

/** Changes how one client's keys are kept. `record` is what its metadata are cached by. */
export function keepClientKeys(client: KeyedClient, record: object, { now, certificateOf }: ClientKeysDeps): void {
  if (client.jwksUri === undefined) return
  const store = client.asymmetricKeyStore as ClientKeyStore
  const known = sets.get(record) ?? { keys: [], fetchedAt: undefined, freshUntil: 0, triedAt: 0 }
  sets.set(record, known)
  for (const key of known.keys) store.add(key)
  const seconds = () => Math.floor(now().getTime() / 1000)
  const isUsable = () => known.fetchedAt !== undefined && seconds() < known.fetchedAt + OUTAGE_SECONDS
  const isDue = () => seconds() >= known.freshUntil || !isUsable()
  const fetching = createFetching(store, known, seconds)
  const mayFetch = () => fetching.isUnderWay() || seconds() >= known.triedAt + PAUSE_SECONDS
  const select = store.selectForVerify.bind(store)
  let isUnknown = false

  Object.assign(store, {
    // What verifies looks here first: nothing is named while the set is to be renewed, or can no longer be believed.
    selectForVerify(options: object) {
      if (isDue() && mayFetch()) return []
      if (!isUsable()) throw new Error(KEYS_UNAVAILABLE)
      return select(options)
    },
    // Asked when no key has fitted: only what is not fresh is fetched, to look once more.
    fresh() {
      const isFetched = mayFetch()
      isUnknown ||= isFetched
      return !isFetched
    },
    async refresh() {
      const isWanted = isUnknown || isDue() || !knowsCertificate(client, store, certificateOf)
      const failure = isWanted && mayFetch() ? await fetching.done() : undefined
      isUnknown = false
      if (!isUsable()) throw refusal(client, failure)
    },
  } satisfies Partial<ClientKeyStore>)
}

/** The engine's own fetch, once at a time; what it has spoilt is put back. */
function createFetching(store: ClientKeyStore, known: Known, seconds: () => number) {
  const fetchKeys = Object.getPrototypeOf(store).refresh as () => Promise<void>
  let underWay: Promise<unknown> | undefined
  const fetched = async () => {
    const before = [...store]
    try {
      const fetching = fetchKeys.call(store)
      known.triedAt = seconds()
      await fetching
      const fetchedAt = seconds()
      const freshUntil = Math.min(store.freshUntil ?? 0, fetchedAt + MOST_FRESH_SECONDS)
      Object.assign(known, { keys: [...store], fetchedAt, freshUntil })
      return undefined
    } catch (error) {
      store.clear()
      for (const key of before) store.add(key)
      return error
    } finally {
      underWay = undefined
    }
  }
  return {
    isUnderWay: () => underWay !== undefined,
    /** @returns why the set could not be fetched; undefined when it was */
    done(): Promise<unknown> {
      underWay ??= fetched()
      return underWay
    },
  }
}

/** Whether the request shows a certificate of this client's keys. */
export async function hasKnownCertificate(
  client: KeyedClient,
  certificate: X509Certificate | undefined,
): Promise<boolean> {
  if (certificate === undefined) return false
  const store = client.asymmetricKeyStore as ClientKeyStore
  await store.refresh()
  return holds(store, certificate)
}

/** A certificate that the set does not hold is a key that is not known (RFC 8705 §2.2). */
function knowsCertificate(
  { clientAuthMethod }: KeyedClient,
  store: ClientKeyStore,
  certificateOf: ClientKeysDeps['certificateOf'],
): boolean {
  const { ctx } = Provider
  if (clientAuthMethod !== 'self_signed_tls_client_auth' || ctx === undefined) return true
  const certificate = certificateOf(ctx)
  return certificate === undefined || holds(store, certificate)
}

function holds(store: ClientKeyStore, { raw }: X509Certificate): boolean {
  const thumbprint = hash('sha256', raw, 'base64url')
  return [...store].some((key) => key['x5t#S256'] === thumbprint)
}

/** Who cannot be told from another is not let in; the address that failed is the client's own. */
function refusal({ clientAuthMethod }: KeyedClient, failure: unknown): Error {
  const cause = failure instanceof Error ? failure : undefined
  return clientAuthMethod === 'self_signed_tls_client_auth'
    ? new errors.InvalidClientAuth(KEYS_UNAVAILABLE)
    : (cause ?? new errors.InvalidClientMetadata(KEYS_UNAVAILABLE))
}
