/**
 * Signing keys (RFC 7517, RFC 7518): ES256 by default, RS256 and EdDSA published for compatibility. Made at the first start,
 * sealed in the database, shared by all instances, rotated by command: published before use, kept after it.
 * Owns the table `signing_keys`. Hands off: signing and the key set document to the engine (`oidc/`), sealing to
 * `platform/secret_box`.
 */
import type { Feature } from '../../feature.ts'
import type { Database } from '../../platform/postgres.ts'
import { keyRepository } from './repository.ts'
import { createKeysService, type KeysDeps, type KeysService } from './service.ts'

export interface KeysFeature extends Feature {
  readonly service: KeysService
}

export type KeysFeatureDeps = Omit<KeysDeps, 'repository' | 'transaction'> & {
  readonly database: Pick<Database, 'db' | 'transaction'>
}

/** Builds the feature. Its jobs notice changed sets and forget retired keys. */
export function createKeys(deps: KeysFeatureDeps): KeysFeature {
  const { database, ...rest } = deps
  const service = createKeysService({
    ...rest,
    repository: keyRepository(database.db),
    transaction: database.transaction,
  })
  return {
    name: 'keys',
    service,
    secrets: [{ table: 'signing_keys', key: 'kid', column: 'sealed_private' }],
    jobs: [
      { name: 'keys.refresh', everySeconds: 15, run: service.refresh },
      {
        name: 'keys.purge',
        everySeconds: 3600,
        run: async (now) => {
          await service.purge(now)
        },
      },
    ],
  }
}
