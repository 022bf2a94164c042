/**
 * The registration of clients by themselves (RFC 7591, RFC 7592, OpenID Connect Dynamic Registration 1.0): closed until the
 * settings have `client_registration`, and then for holders of an initial access token, each under the policy of its token. Owns
 * /reg and the tables `initial_access_tokens` and `client_registrations`. The clients themselves, their secrets and what makes
 * metadata acceptable are of the room of clients; what people gave a client that ends is of sessions.
 */
import type { Feature } from '../../feature.ts'
import { createRegistrationRouter, type RegistrationRoutes } from './routes.ts'
import { createRegistrationService, type RegistrationDeps, type RegistrationService } from './service.ts'

const BATCH = 100

export type ClientRegistrationsDeps = RegistrationDeps & Pick<RegistrationRoutes, 'kv' | 'perAddress'>

/** The feature and its service: `service.tokens` is what commands get. */
export function createClientRegistrations(
  deps: ClientRegistrationsDeps,
): Feature & { readonly service: RegistrationService } {
  const service = createRegistrationService(deps)
  return {
    name: 'client_registrations',
    service,
    router: createRegistrationRouter({ service, kv: deps.kv, perAddress: deps.perAddress }),
    jobs: [{ name: 'client_registrations_end', everySeconds: 60, run: (now) => service.expire(now, BATCH) }],
  }
}
