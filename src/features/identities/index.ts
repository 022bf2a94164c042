/**
 * Identities: who an account is at upstream providers, by issuer and subject. Owns the rows of `identities` and what becomes of
 * them when their owner says that a thief was in. Signing in by one belongs to upstream_sign_in, the providers to upstreams.
 */
import type { Feature } from '../../feature.ts'
import { createIdentityService, type IdentityDeps } from './service.ts'
import { type Identities, SEALED_IDENTITY, SEALED_TOKENS } from './types.ts'

/** The feature and its service: `service` is what signing in and the account pages get. */
export function createIdentities(deps: IdentityDeps): Feature & { readonly service: Identities } {
  const service = createIdentityService(deps)
  return {
    name: 'identities',
    service,
    personal: [SEALED_IDENTITY, SEALED_TOKENS],
    reacts: [
      {
        types: ['account.disowned'],
        handle: async ({ accountId }, tx) => {
          if (accountId !== undefined) await service.disown(accountId, tx)
        },
      },
    ],
  }
}
