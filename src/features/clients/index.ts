/**
 * Clients (OpenID Connect Dynamic Registration 1.0 §2 metadata, RFC 7591, RFC 8252 redirect URIs, RFC 9700): declared in the
 * configuration file or made by commands, their overlapping secrets, and the cache the engine reads them through.
 * Owns the tables `clients` and `client_secrets`. Hands off: authenticating a request and redirect matching to the engine
 * (`oidc/`), consent to `consents`, what a disabled client's grants may do to the engine, which finds no client any more.
 */
import type { Feature } from '../../feature.ts'
import type { Abilities } from '../../platform/client_protocol.ts'
import { equal, newId, newToken, sha256 } from '../../platform/ids.ts'
import { createLastUses } from '../../platform/last_uses.ts'
import type { Database, Tx } from '../../platform/postgres.ts'
import { clientError } from './errors.ts'
import { clientRepository } from './repository.ts'
import type { Declaration } from './rules.ts'
import { type ClientsDeps, type ClientsService, createClientsService } from './service.ts'
import { ACCOUNT_CLIENT_ID } from './types.ts'

export interface ClientsFeature extends Feature {
  readonly service: ClientsService
}

export type ClientsFeatureDeps = Pick<ClientsDeps, 'outbox' | 'invalidation' | 'clock' | 'mac'> & {
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
  /** Configured resource servers; their scopes are known too. */
  readonly resources: readonly { readonly identifier: string; readonly scopes: readonly string[] }[]
}

/** How precise the last use of a secret is. */
const USES_SECONDS = 30
/** How long a secret that has ended is known as one. */
const ENDED_DAYS = 14

/** Builds the feature. Its jobs remove ended secrets and write when secrets were last used. */
export function createClients(deps: ClientsFeatureDeps): ClientsFeature {
  const { database, outbox, invalidation, clock, mac, scopes, resources, locales, acrs, brandExists } = deps
  const repository = clientRepository(database.db)
  const uses = createLastUses((noted) =>
    database.transaction(async (tx) => {
      // Two instances that update the same rows in different orders would wait for each other.
      await repository.lock(tx)
      await repository.updateSecretUses(noted, tx)
    }),
  )
  const service = createClientsService({
    repository,
    transaction: database.transaction,
    outbox,
    invalidation,
    clock,
    mac,
    // Brands are rows, so this is asked in the transaction of the write: one that the same start declares is there.
    async requireBrand({ brand }, prefix, tx) {
      if (brand === undefined || (await brandExists(brand, tx))) return
      throw clientError('invalid_client_metadata', `${prefix}brand: ${JSON.stringify(brand)} is not a brand`)
    },
    ownClients: deps.accountPages ? [accountClient(deps.issuer)] : [],
    known: {
      scopes: new Set([...scopes, ...resources.flatMap((resource) => resource.scopes)]),
      resources: new Set(resources.map((resource) => resource.identifier)),
      locales: new Set(locales),
      acrs: new Set(acrs),
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
    jobs: [
      { name: 'clients.secret_uses', everySeconds: USES_SECONDS, atStop: true, run: uses.flush },
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
