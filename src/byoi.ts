/** Whom people may come from, wired: the providers, what accounts are called there, and signing in by one. */
import type { RequestGuard } from './features/abuse/types.ts'
import type { createAccounts } from './features/accounts/index.ts'
import type { ReadEmail } from './features/identifiers/types.ts'
import { createIdentities } from './features/identities/index.ts'
import { identityRepository } from './features/identities/repository.ts'
import type { createNotices } from './features/notices/index.ts'
import type { createPasswords } from './features/passwords/index.ts'
import type { createSessions } from './features/sessions/index.ts'
import { createUpstreamLogout } from './features/upstream_logout/index.ts'
import { upstreamLogoutRepository } from './features/upstream_logout/repository.ts'
import { createUpstreamSignIn } from './features/upstream_sign_in/index.ts'
import { createUpstreams } from './features/upstreams/index.ts'
import type { UpstreamsDeps } from './features/upstreams/service.ts'
import type { Foundation } from './foundation.ts'
import { newId } from './platform/ids.ts'
import { createOAuth2Upstream } from './platform/upstream_oauth2.ts'
import { createOidcUpstream } from './platform/upstream_oidc.ts'
import { createSamlUpstream } from './platform/upstream_saml.ts'

export interface UpstreamRoomDeps {
  readonly accounts: ReturnType<typeof createAccounts>
  readonly passwords: ReturnType<typeof createPasswords>
  readonly sessions: ReturnType<typeof createSessions>
  readonly notices: ReturnType<typeof createNotices>
  readonly abuse: { readonly service: { readonly request: RequestGuard } }
  readonly readEmail: ReadEmail
}

export function createUpstreamRooms(foundation: Foundation, rooms: UpstreamRoomDeps) {
  const { config, database, personal, outbox, clock, invalidation, views, metrics, logger } = foundation
  const { accounts, passwords, sessions, notices } = rooms
  const { transaction } = database
  const upstreams = createUpstreams({
    ...{ database, personal, outbox, clock, invalidation },
    kv: foundation.keyValue,
    acrs: config.levels.map(({ acr }) => acr),
    connect: connector(foundation),
  })
  const identities = createIdentities({
    ...{ transaction, outbox, clock, newId, repository: identityRepository(database.db, personal) },
    ...{ accounts: accounts.service, passwords: passwords.service, sessions: sessions.service },
    tell: notices.service.tell,
    title: upstreams.service.title,
    signsIn: (methods) =>
      config.levels.some((level) => level.methods.some((set) => set.every((method) => methods.includes(method)))),
  })
  const upstreamSignIn = createUpstreamSignIn({
    ...{ issuer: config.issuer, transaction, outbox, clock, locales: views.locales, kv: foundation.sealedKeyValue },
    ...{ upstreams: upstreams.service, identities: identities.service },
    ...{
      accounts: accounts.service,
      passwords: passwords.service,
      guard: rooms.abuse.service.request,
      readEmail: rooms.readEmail,
    },
    signIn: metrics.signIn,
    warn: (error, message) => logger.warn({ err: error }, message),
  })
  const upstreamLogout = createUpstreamLogout({
    ...{ transaction, outbox, clock, kv: foundation.keyValue, repository: upstreamLogoutRepository(database.db) },
    ...{ upstreams: upstreams.service, identities: identities.service, sessions: sessions.service },
    warn: (error, message) => logger.warn({ err: error }, message),
  })
  return { upstreams, identities, upstreamSignIn, upstreamLogout }
}

/** Each provider has a driver of its own, and with it a breaker: a slow one delays nobody who comes from another. */
function connector({ config, http, clock, keyValue }: Foundation): UpstreamsDeps['connect'] {
  const once = (id: string, until: Date) =>
    keyValue.add(`upstream_once:${id}`, '1', Math.ceil((until.getTime() - clock.now().getTime()) / 1000) + 1)
  return (name, connection) => {
    const url = `${config.issuer}/upstream/${name}`
    if (connection.protocol === 'oidc') return createOidcUpstream(connection.settings, { http, clock })
    if (connection.protocol === 'oauth2') return createOAuth2Upstream(connection.settings, { http, clock })
    const own = { entityId: `${url}/metadata`, redirectUri: `${url}/callback` }
    return createSamlUpstream({ ...connection.settings, ...own }, { clock, once })
  }
}
