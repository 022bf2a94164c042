import { errors } from 'oidc-provider'
import { VERIFIED_CLAIMS } from '../interaction/verified_claims.ts'
import { isObject, requestIn } from './verified_claims.ts'

/**
 * `assertClaimsParameter` of the engine: a request that cannot be read is an error, never a release of something else. Members
 * are null or objects, as the engine's own check has it, whose place this takes: one request of verified claims, no list.
 */
export function assertClaims(
  _ctx: unknown,
  claims: { readonly userinfo?: unknown; readonly id_token?: unknown },
): void {
  for (const use of ['userinfo', 'id_token'] as const) {
    for (const [name, asked] of Object.entries(claims[use] ?? {})) {
      if (asked !== null && !isObject(asked)) {
        throw new errors.InvalidRequest(`claims.${use} members must be null or objects`)
      }
      if (name === VERIFIED_CLAIMS && requestIn(asked) === undefined) {
        throw new errors.InvalidRequest('verified_claims needs verification.trust_framework and at least one claim')
      }
    }
  }
}
