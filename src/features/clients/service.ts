/** The rules of clients: who may change them, what is cached, when a secret counts. */
import { isDeepStrictEqual } from 'node:util'
import type { Fact } from '../../events.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Invalidation } from '../../platform/invalidation.ts'
import type { Outbox } from '../../platform/outbox.ts'
import { databaseUnavailable, type Tx } from '../../platform/postgres.ts'
import { createRowCache } from '../../platform/row_cache.ts'
import { clientError } from './errors.ts'
import type { ClientRepository } from './repository.ts'
import {
  changedMetadata,
  checkedMetadata,
  type Declaration,
  type Declared,
  hasSecrets,
  type Known,
  parseDeclarations,
} from './rules.ts'
import { isClientId } from './schema.ts'
import {
  ACCOUNT_CLIENT_ID,
  CLIENTS_TOPIC,
  type ClientMetadata,
  type ClientRecord,
  type ClientSecret,
  changed,
  created,
  fact,
  isThere,
  limitTo,
  liveSecrets,
  newSecret,
  switched,
  updated,
  withoutUses,
} from './types.ts'

const MAX_LIVE_SECRETS = 5
/** Its hash is as long as a digest and equal to none: base64url has no dots. */
const NO_SECRET = { id: '', hash: '.'.repeat(43) }

type Write = <T>(clientId: string, work: (tx: Tx, record: ClientRecord | undefined) => Promise<T>) => Promise<T>

export interface ClientsDeps {
  readonly repository: ClientRepository
  /** One change to one client, and its fact, by a command. */
  readonly write: Write
  readonly outbox: Pick<Outbox, 'record'>
  readonly invalidation: Invalidation
  readonly clock: Clock
  readonly known: Known
  /** Throws when the metadata name a brand that is not there. */
  readonly requireBrand: (metadata: ClientMetadata, prefix: string, tx: Tx) => Promise<void>
  /** Throws when the sector identifier of the metadata, or of what has changed in them, does not answer for the redirects. */
  readonly requireSector: (
    metadata: ClientMetadata,
    before: ClientMetadata | undefined,
    prefix?: string,
  ) => Promise<void>
  /** The account pages' client, declared by the provider itself. */
  readonly ownClients: readonly Declaration[]
  readonly newId: () => string
  /** Names a value of a person in facts without showing it. */
  readonly mac: (value: string) => string
  /** 256 random bits, base64url. */
  readonly newToken: () => string
  readonly sha256: (value: string) => string
  /** Notes a use of a secret without a statement: it is written later. */
  readonly secretUsed: (secretId: string, at: Date) => void
  /** Constant-time comparison. */
  readonly equal: (a: string, b: string) => boolean
}

export type ClientsService = ReturnType<typeof createClientsService>

export function createClientsService(deps: ClientsDeps) {
  const check = (given: Declaration): ClientMetadata => checkedMetadata(given, deps.known)
  return {
    ...lookups(deps),
    ...registrations(deps, deps.write),
    ...switches(deps, deps.write),
    ...declarations(deps),
    check,
  }
}

/** Reads on the path of requests. */
function lookups(deps: ClientsDeps) {
  const { repository, invalidation, known } = deps
  const clients = createRowCache<ClientRecord>({
    load: async (id) => {
      const record = await repository.find(id)
      return record === undefined || record.disabledAt !== undefined ? undefined : limitTo(record, known)
    },
    fingerprint: (record) => JSON.stringify(record, withoutUses),
    ...{ invalidation, topic: CLIENTS_TOPIC, away: databaseUnavailable },
  })
  // What can be no client id, such as a NUL or 60 kB, is neither asked of SQL, which would fail, nor remembered (A104).
  const find = async (id: string): Promise<ClientRecord | undefined> => {
    const record = isClientId(id) ? await clients.get(id) : undefined
    return record && (await isThere(record, deps.clock.now(), repository.find)) ? record : undefined
  }
  const origins = createRowCache<ReadonlySet<string>>({
    load: async () => new Set(await repository.listOrigins()),
    fingerprint: (set) => [...set].join(' '),
    // Any client may add or remove an origin.
    invalidation: {
      ...invalidation,
      subscribe: (topic, listener) => invalidation.subscribe(topic, () => listener(undefined)),
    },
    topic: CLIENTS_TOPIC,
  })
  return {
    /** The enabled client, the same object while it is unchanged. A change acts at once here, elsewhere within a second. */
    find,

    /** CORS origins of all enabled clients, for preflights (they do not name their client). */
    origins: async (): Promise<ReadonlySet<string>> => (await origins.get('')) ?? new Set(),

    /** Where the client hears of logouts, read in the caller's transaction: the cache reads outside of it. */
    async backchannelUri(clientId: string, tx: Tx): Promise<string | undefined> {
      const record = await repository.find(clientId, tx)
      return record?.disabledAt === undefined ? record?.metadata.backchannel_logout_uri : undefined
    },

    /**
     * Whether `secret` is a live secret of the client (RFC 6749 §2.3.1). Does the same work for unknown clients, so that
     * time tells neither whether a client exists nor how much of a secret was right.
     */
    async secretMatches(clientId: string, secret: string): Promise<boolean> {
      const record = await find(clientId)
      const now = deps.clock.now()
      const hash = deps.sha256(secret)
      const live = record === undefined || !hasSecrets(record.metadata) ? [] : liveSecrets(record, now)
      const candidates = live.length === 0 ? [NO_SECRET] : live
      const matching = candidates.filter((known) => deps.equal(hash, known.hash))
      for (const { id } of matching) deps.secretUsed(id, now)
      return matching.length > 0
    },
  }
}

/** Registering and changing. */
function registrations(deps: ClientsDeps, write: ClientsDeps['write']) {
  const { repository, outbox, clock } = deps
  const addSecret = async (clientId: string, tx: Tx, lifeSeconds = 0): Promise<{ id: string; secret: string }> => {
    const secret = deps.newToken()
    const expiresAt = lifeSeconds === 0 ? undefined : new Date(clock.now().getTime() + lifeSeconds * 1000)
    const made = { ...newSecret(deps, secret, 'command'), expiresAt }
    await repository.insertSecret(clientId, made, tx)
    return { id: made.id, secret }
  }
  return {
    /**
     * Registers a client. @returns its id and, when it authenticates with a secret, that secret: the only time it is seen.
     * @throws AppError invalid_client_metadata with every problem, one a line; client_exists
     */
    async create(given: Declaration): Promise<{ clientId: string; secret?: string | undefined }> {
      const metadata = checkedMetadata(given, deps.known)
      const clientId = metadata.client_id
      await deps.requireSector(metadata, undefined)
      return write(clientId, async (tx, record) => {
        if (record !== undefined || clientId === ACCOUNT_CLIENT_ID) {
          throw clientError('client_exists', `client ${clientId} exists already`)
        }
        await deps.requireBrand(metadata, '', tx)
        await repository.insert({ metadata, managed: 'command', now: clock.now() }, tx)
        const added = hasSecrets(metadata) ? await addSecret(clientId, tx) : undefined
        await outbox.record([created(deps, metadata, 'operator')], tx)
        return { clientId, secret: added?.secret }
      })
    },

    /** Changes members of the metadata; `null` takes one back to its default. @returns undefined when there is no such client */
    async update(clientId: string, changes: Readonly<Record<string, unknown>>): Promise<true | undefined> {
      // Before the transaction, which waits for nobody else's server.
      const found = await repository.find(clientId)
      if (found !== undefined && found.managed !== 'file') {
        await deps.requireSector(changedMetadata(found.metadata, changes, deps.known), found.metadata)
      }
      return write(clientId, async (tx, record) => {
        if (record === undefined) return undefined
        const metadata = changedMetadata(record.metadata, changes, deps.known)
        if (isDeepStrictEqual(record.metadata, metadata)) return true
        await deps.requireBrand(metadata, '', tx)
        await repository.updateMetadata(metadata, clock.now(), tx)
        await outbox.record([updated(deps, record.metadata, metadata, 'operator')], tx)
        return true
      })
    },

    /**
     * Adds a secret, for so many seconds or for good, and lets the others end after `overlapSeconds` (0: at once).
     * @returns the new secret, seen only now; undefined when there is no such client
     */
    rotateSecret(clientId: string, overlapSeconds: number, lifeSeconds?: number): Promise<string | undefined> {
      return write(clientId, async (tx, record) => {
        if (record === undefined) return undefined
        if (!hasSecrets(record.metadata)) {
          const method = record.metadata.token_endpoint_auth_method
          throw clientError('client_has_no_secret', `client ${clientId} authenticates by ${method}`)
        }
        const now = clock.now()
        const live = liveSecrets(record, now)
        if (overlapSeconds > 0 && live.length >= MAX_LIVE_SECRETS) {
          throw clientError('too_many_secrets', `${clientId} has ${live.length} live secrets: rotate without overlap`)
        }
        const ids = live.map(({ id }) => id)
        await repository.updateSecretExpiry(ids, new Date(now.getTime() + overlapSeconds * 1000), tx)
        const added = await addSecret(clientId, tx, lifeSeconds)
        const secrets = [...(overlapSeconds > 0 ? ids : []), added.id]
        const data = { overlapSeconds, lifeSeconds, ...changed(deps, { secrets: ids }, { secrets }) }
        await outbox.record([fact('client.secret_rotated', clientId, 'operator', data)], tx)
        return added.secret
      })
    },
  }
}

/** Looking and switching. */
function switches(deps: ClientsDeps, write: ClientsDeps['write']) {
  const { repository, outbox, clock } = deps
  const setDisabled = (clientId: string, disabled: boolean, reason: string | undefined) =>
    write(clientId, async (tx, record) => {
      if (record === undefined) return undefined
      const did = await repository.updateDisabled(clientId, disabled, clock.now(), tx)
      if (did) await outbox.record([switched(deps, clientId, disabled, 'operator', reason)], tx)
      return did
    })
  return {
    /** All clients, as stored. */
    list: (): Promise<ClientRecord[]> => repository.list(),
    /** One client as stored, disabled or not, past the cache. */
    show: (clientId: string): Promise<ClientRecord | undefined> => repository.find(clientId),

    /** Ends every use of the client within a second. @returns whether it changed; undefined when there is no such client */
    disable: (clientId: string, reason?: string) => setDisabled(clientId, true, reason),
    enable: (clientId: string, reason?: string) => setDisabled(clientId, false, reason),
  }
}

/** What the configuration file and the provider itself declare. */
function declarations(deps: ClientsDeps) {
  const { repository } = deps
  const sync = async (wanted: Declared, current: ClientRecord | undefined, tx: Tx): Promise<Fact[]> => {
    const { metadata } = wanted
    const clientId = metadata.client_id
    const now = deps.clock.now()
    await deps.requireBrand(metadata, `clients.${clientId}.`, tx)
    if (current?.managed === 'command') {
      throw clientError('client_exists', `clients.${clientId}: was created by a command; choose another client_id`)
    }
    await deps.requireSector(metadata, current?.metadata, `clients.${clientId}.`)
    const facts: Fact[] = []
    if (current === undefined) {
      await repository.insert({ metadata, managed: 'file', now }, tx)
      facts.push(created(deps, metadata, 'system'))
    } else if (!isDeepStrictEqual(current.metadata, metadata)) {
      await repository.updateMetadata(metadata, now, tx)
      facts.push(updated(deps, current.metadata, metadata, 'system'))
    }
    if (current?.disabledAt !== undefined) {
      await repository.updateDisabled(clientId, false, now, tx)
      facts.push(switched(deps, clientId, false, 'system', 'in_file'))
    }
    const hashes = wanted.secrets.map(deps.sha256)
    const held = current?.secrets ?? []
    const gone = held.filter((secret) => !hashes.includes(secret.hash))
    const added = wanted.secrets.filter((secret) => !held.some(({ hash }) => hash === deps.sha256(secret)))
    const goneIds = gone.map(({ id }) => id)
    await repository.deleteSecrets(goneIds, tx)
    const made = added.map((secret) => newSecret(deps, secret, 'file'))
    for (const secret of made) await repository.insertSecret(clientId, secret, tx)
    if (current !== undefined && gone.length + made.length > 0) {
      const ids = (secrets: readonly ClientSecret[]) => secrets.map(({ id }) => id)
      const kept = held.filter((secret) => !gone.includes(secret))
      const data = changed(deps, { secrets: ids(held) }, { secrets: ids([...kept, ...made]) })
      facts.push(fact('client.secret_rotated', clientId, 'system', data))
    }
    return facts
  }

  return {
    /**
     * Brings the declared clients into the database, at start and under the migration lock: new and changed ones are
     * written, those which left the file are disabled. An unchanged file writes nothing.
     * @returns the ids that changed, to `announce` after the commit
     * @throws AppError invalid_client_metadata with every problem of every declaration, one a line
     */
    async syncDeclared(declarations: readonly Declaration[], tx: Tx): Promise<string[]> {
      const { wanted, problems } = parseDeclarations([...declarations, ...deps.ownClients], deps.known)
      if (problems.length > 0) throw clientError('invalid_client_metadata', problems.join('\n'))
      await repository.lock(tx)
      const current = new Map((await repository.list(tx)).map((record) => [record.clientId, record]))
      const facts: Fact[] = []
      for (const declared of wanted) facts.push(...(await sync(declared, current.get(declared.metadata.client_id), tx)))
      const declaredIds = new Set(wanted.map(({ metadata }) => metadata.client_id))
      for (const record of current.values()) {
        if (record.managed !== 'file' || record.disabledAt !== undefined || declaredIds.has(record.clientId)) continue
        await repository.updateDisabled(record.clientId, true, deps.clock.now(), tx)
        facts.push(switched(deps, record.clientId, true, 'system', 'left_file'))
      }
      if (facts.length > 0) await deps.outbox.record(facts, tx)
      return [...new Set(facts.map((stated) => String(stated.clientId)))]
    },

    /** Tells all instances that these clients have changed. */
    async announce(clientIds: readonly string[]): Promise<void> {
      for (const clientId of clientIds) await deps.invalidation.publish(CLIENTS_TOPIC, clientId)
    },
  }
}
