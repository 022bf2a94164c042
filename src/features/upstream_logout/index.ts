/**
 * Logouts at upstream providers (OpenID Connect Back-Channel Logout 1.0, as a relying party): a signed logout token ends the
 * sessions here that it names. Owns which tokens were taken. The token is checked by the provider's driver, sessions are
 * ended, and clients told, by sessions. SAML's single logout is not spoken.
 */
import type { Feature } from '../../feature.ts'
import { createUpstreamLogoutRouter } from './routes.ts'
import { createUpstreamLogoutService, type UpstreamLogoutDeps, type UpstreamLogoutService } from './service.ts'

const BATCH = 500

export function createUpstreamLogout(
  deps: UpstreamLogoutDeps,
): Feature & { readonly service: Pick<UpstreamLogoutService, 'tookBack'> } {
  const service = createUpstreamLogoutService(deps)
  return {
    name: 'upstream_logout',
    service,
    router: createUpstreamLogoutRouter(service),
    jobs: [
      {
        name: 'upstream_logouts_purge',
        everySeconds: 600,
        run: async (now) => {
          await service.purge(now, BATCH)
        },
      },
    ],
  }
}
