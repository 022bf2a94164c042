/**
 * The defence of what anybody may try before the first proof: sign-in by password, registration, recovery (ASVS 6.1.1, 6.3.1).
 * Owns the layers of limits (identifier, device, address, subnet, client, everywhere) and the decision when a proof of work is
 * asked for. Counting belongs to the platform's key/value store, puzzles and tickets to `platform/challenge.ts`; what was
 * guessed how often at one password is known by passwords; tries of codes and further factors by their own rooms.
 */
import type { Feature } from '../../feature.ts'
import { type AbuseDeps, type AbuseService, createAbuseService } from './service.ts'

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createAbuse(deps: AbuseDeps): Feature & { readonly service: AbuseService } {
  return { name: 'abuse', service: createAbuseService(deps) }
}
