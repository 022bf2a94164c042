/**
 * Identifications: what providers of strong identification (banks, mobile operators, authorities, vendors and operators who look
 * at documents) have verified of the person behind an account. Owns the rows of `identifications`. Hands off: the sign-in that
 * brings them to upstream_sign_in, the check that does to proofings, their release to clients (OpenID Connect for Identity
 * Assurance 1.0) to `oidc/verified_claims.ts`, agreeing to that to consents.
 */
import type { Feature } from '../../feature.ts'
import { createIdentificationService, type IdentificationDeps, type IdentificationService } from './service.ts'
import { SEALED_CLAIMS } from './types.ts'

/** The feature and its service: `service` is what signing in, the account pages and the engine get. */
export function createIdentifications(deps: IdentificationDeps): Feature & { readonly service: IdentificationService } {
  const service = createIdentificationService(deps)
  return {
    name: 'identifications',
    service,
    personal: [SEALED_CLAIMS],
    reacts: [
      {
        types: ['identity.unlinked'],
        handle: async ({ accountId, data }, tx) => {
          const { upstream } = data ?? {}
          if (accountId !== undefined && typeof upstream === 'string') await service.forget(accountId, upstream, tx)
        },
      },
    ],
  }
}
