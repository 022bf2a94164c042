/**
 * Clients (OpenID Connect Dynamic Registration 1.0 §2 metadata, RFC 7591, RFC 8252 redirect URIs, RFC 9700): declared in the
 * configuration file, made by commands or registered by themselves, their overlapping secrets, and the cache the engine reads them
 * through.
 * Owns the tables `clients` and `client_secrets`. Hands off: who may register, and how, to `client_registrations`; authenticating
 * a request and redirect matching to the engine (`oidc/`), consent to `consents`, what a disabled client's grants may do to the engine, which finds no client any more.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Feature } from '../../feature.ts'
import type { Abilities } from '../../platform/client_protocol.ts'
import type { GrantTargets } from '../../platform/grant_policies.ts'
import { equal, newId, newToken, sha256 } from '../../platform/ids.ts'
import { createLastUses } from '../../platform/last_uses.ts'
import type { Database, Tx } from '../../platform/postgres.ts'
import { clientError } from './errors.ts'
import { clientRepository } from './repository.ts'
import { type Declaration, hasSecrets } from './rules.ts'
import { isClientId } from './schema.ts'
import { type ClientsDeps, type ClientsService, createClientsService } from './service.ts'
import {
  ACCOUNT_CLIENT_ID,
  CLIENTS_TOPIC,
  type ClientMetadata,
  changed,
  created,
  endedSecrets,
  fact,
  liveSecrets,
  newSecret,
  type RegisteredClients,
  switched,
  updated,
} from './types.ts'

export interface ClientsFeature extends Feature {
  readonly service: ClientsService
  /** Notes that a client was given a token, where its rights lapse without. */
  used(clientId: string): Promise<void>
  /** Whether `secret` was a secret of the client, and has ended: for its makers to know, not for the wire. */
  secretHasExpired(clientId: string, secret: string): Promise<boolean>
  readonly registered: RegisteredClients
}

export type ClientsFeatureDeps = Pick<ClientsDeps, 'outbox' | 'invalidation' | 'clock' | 'mac'> & {
  /** Whether an address lists all of these redirects. */
  readonly listsAll: (uri: string, redirects: readonly string[]) => Promise<boolean>
  /** Where the account pages' client returns to. */
  readonly issuer: string
  /** Whether there are account pages; without, nobody may use the id of their client either. */
  readonly accountPages: boolean
  readonly database: Pick<Database, 'db' | 'transaction'>
  readonly brandExists: (id: string, tx: Tx) => Promise<boolean>
  /** Scopes of identity: `openid`, `profile`, … */
  readonly scopes: readonly string[]
  /** Languages that the pages have. */
  readonly locales: readonly string[]
  /** Levels of authentication that there are. */
  readonly acrs: readonly string[]
  /** Whether there are clients of the `legacy` profile, and such that show certificates. */
  readonly abilities: Abilities
  /** Issuers whose assertions clients may be given tokens for. */
  readonly assertionIssuers?: GrantTargets['assertionIssuers']
  /** Configured resource servers; their scopes are known too. */
  readonly resources: readonly { readonly identifier: string; readonly scopes: readonly string[] }[]
  /** Types of authorization details that there are. */
  readonly detailTypes?: readonly { readonly type: string }[]
}

/** How precise last uses are. */
const USES_SECONDS = 30
/** How long a secret that has ended is known as one. */
const ENDED_DAYS = 14

/** Builds the feature. Its jobs remove ended secrets and write when secrets were last used. */
export function createClients(deps: ClientsFeatureDeps): ClientsFeature {
  const { database, outbox, invalidation, clock, mac, scopes, resources, locales, acrs, brandExists } = deps
  const repository = clientRepository(database.db)
  const usesOf = (table: 'clients' | 'client_secrets') =>
    createLastUses((noted) =>
      database.transaction(async (tx) => {
        // Two instances that update the same rows in different orders would wait for each other.
        await repository.lock(tx)
        await repository.updateUses(table, noted, tx)
      }),
    )
  const uses = usesOf('client_secrets')
  const agentUses = usesOf('clients')
  const service = createClientsService({
    repository,
    outbox,
    invalidation,
    clock,
    mac,
    write: createWriter(repository, database.transaction, invalidation),
    // Brands are rows, so this is asked in the transaction of the write: one that the same start declares is there.
    async requireBrand({ brand }, prefix, tx) {
      if (brand === undefined || (await brandExists(brand, tx))) return
      throw clientError('invalid_client_metadata', `${prefix}brand: ${JSON.stringify(brand)} is not a brand`)
    },
    // OpenID Connect Dynamic Registration 1.0 §5, when either is written: nobody's sign-in hangs on whether the address answers.
    async requireSector({ sector_identifier_uri: uri, redirect_uris: redirects }, before, prefix = '') {
      const isKnown = before?.sector_identifier_uri === uri && isDeepStrictEqual(before?.redirect_uris, redirects)
      if (uri === undefined || isKnown || (await deps.listsAll(uri, redirects))) return
      const problem = 'sector_identifier_uri: must answer with a JSON array that has all redirect_uris'
      throw clientError('invalid_client_metadata', `${prefix}${problem}`)
    },
    ownClients: deps.accountPages ? [accountClient(deps.issuer)] : [],
    known: {
      scopes: new Set([...scopes, ...resources.flatMap((resource) => resource.scopes)]),
      resources: new Set(resources.map((resource) => resource.identifier)),
      detailTypes: new Set(deps.detailTypes?.map(({ type }) => type)),
      locales: new Set(locales),
      acrs: new Set(acrs),
      scopesOf: new Map(resources.map((resource) => [resource.identifier, resource.scopes])),
      assertionIssuers: deps.assertionIssuers,
      ...deps.abilities,
    },
    newId,
    newToken,
    sha256,
    secretUsed: uses.note,
    equal,
  })
  return {
    name: 'clients',
    service,
    async used(clientId) {
      const record = await service.find(clientId)
      if (record?.metadata.agent?.idle_days !== undefined) agentUses.note(clientId, clock.now())
    },
    async secretHasExpired(clientId, secret) {
      const hash = sha256(secret)
      return endedSecrets(await service.find(clientId), clock.now()).some((known) => equal(hash, known.hash))
    },
    registered: ofRegistered({ repository, outbox, invalidation, clock, mac, newId, newToken, sha256 }, service.check),
    jobs: [
      { name: 'clients.secret_uses', everySeconds: USES_SECONDS, atStop: true, run: uses.flush },
      { name: 'clients.agent_uses', everySeconds: USES_SECONDS, atStop: true, run: agentUses.flush },
      {
        name: 'clients.purge_secrets',
        everySeconds: 3600,
        run: async (now) => {
          // Until then whoever still uses one can be told that it has ended.
          const ended = new Date(now.getTime() - ENDED_DAYS * 86_400_000)
          await database.transaction((tx) => repository.deleteExpiredSecrets(ended, 1000, tx))
        },
      },
    ],
  }
}

type RowDeps = Pick<ClientsDeps, 'repository' | 'outbox' | 'invalidation' | 'clock' | 'mac'> &
  Pick<ClientsDeps, 'newId' | 'newToken' | 'sha256'>

/** Clients that manage themselves. Each change names the client as who made it. */
function ofRegistered(deps: RowDeps, check: RegisteredClients['check']): RegisteredClients {
  const { repository, outbox, invalidation, clock } = deps
  const find = async (clientId: string, tx?: Tx) => {
    const record = isClientId(clientId) ? await repository.find(clientId, tx) : undefined
    return record?.managed === 'registered' ? record : undefined
  }
  const addSecret = async (metadata: ClientMetadata, expiresAt: Date | undefined, tx: Tx) => {
    if (!hasSecrets(metadata)) return undefined
    const secret = deps.newToken()
    await repository.insertSecret(metadata.client_id, { ...newSecret(deps, secret, 'registered'), expiresAt }, tx)
    return secret
  }
  return {
    check,
    find,
    async insert(metadata, expiresAt, tx) {
      await repository.insert({ metadata, managed: 'registered', now: clock.now() }, tx)
      await outbox.record([created(deps, metadata, `client:${metadata.client_id}`)], tx)
      return addSecret(metadata, expiresAt, tx)
    },
    async replace({ record, metadata, renews, expiresAt }, tx) {
      const { clientId, secrets } = record
      const isNew = !isDeepStrictEqual(record.metadata, metadata)
      if (isNew) await repository.updateMetadata(metadata, clock.now(), tx)
      const replaces = renews || !hasSecrets(metadata) || liveSecrets(record, clock.now()).length === 0
      const before = secrets.map(({ id }) => id)
      if (replaces) await repository.deleteSecrets(before, tx)
      const secret = replaces ? await addSecret(metadata, expiresAt, tx) : undefined
      const data = changed(deps, { secrets: before }, { secrets: [] })
      const facts = [
        ...(isNew ? [updated(deps, record.metadata, metadata, `client:${clientId}`)] : []),
        ...(replaces && before.length > 0 ? [fact('client.secret_rotated', clientId, `client:${clientId}`, data)] : []),
      ]
      if (facts.length > 0) await outbox.record(facts, tx)
      return secret
    },
    async remove({ clientId, metadata }, tx) {
      await repository.delete(clientId, tx)
      await outbox.record([fact('client.deleted', clientId, `client:${clientId}`, changed(deps, metadata, {}))], tx)
    },
    async expire(clientId, tx) {
      if (await repository.updateDisabled(clientId, true, clock.now(), tx)) {
        await outbox.record([switched(deps, clientId, true, 'system', 'registration_expired')], tx)
      }
    },
    async announce(clientIds) {
      for (const clientId of clientIds) await invalidation.publish(CLIENTS_TOPIC, clientId)
    },
  }
}

/** `/account` is a first-party client of the same provider: no second login path exists. */
function accountClient(issuer: string): Declaration {
  return {
    client_id: ACCOUNT_CLIENT_ID,
    client_name: 'Account',
    token_endpoint_auth_method: 'none',
    redirect_uris: [`${issuer}/account/callback`],
    post_logout_redirect_uris: [`${issuer}/account`],
    initiate_login_uri: `${issuer}/account`,
    // It keeps a session of its own and needs no refresh token.
    grant_types: ['authorization_code'],
    first_party: true,
  }
}

/** Commands change what commands made. Each change and its fact are one transaction; caches hear of it after the commit. */
function createWriter(
  repository: ClientsDeps['repository'],
  transaction: Database['transaction'],
  invalidation: ClientsDeps['invalidation'],
): ClientsDeps['write'] {
  return async (clientId, work) => {
    const result = await transaction(async (tx) => {
      await repository.lock(tx)
      const record = await repository.find(clientId, tx)
      if (record?.managed === 'file') {
        throw clientError('client_managed_by_file', `client ${clientId} is declared: change the configuration`)
      }
      return work(tx, record)
    })
    await invalidation.publish(CLIENTS_TOPIC, clientId)
    return result
  }
}
