/** The engine with the rooms behind it, and what completes its answers. */
import { enrolmentPolicy } from './enrolment_policy.ts'
import { deviceOf } from './features/sessions/types.ts'
import type { createRooms } from './features.ts'
import type { Foundation } from './foundation.ts'
import { createGlobalRevocation } from './oidc/global_revocation.ts'
import { createJwtIntrospection } from './oidc/jwt_introspection.ts'
import { createPairwise } from './oidc/pairwise.ts'
import type { createProvider, Engine } from './oidc/provider.ts'
import { refusalOf } from './oidc/refusals.ts'
import { onceARequest } from './platform/request_scope.ts'

type Rooms = ReturnType<typeof createRooms>

/** The middleware that answers for JWT access tokens at introspection. */
export function introspectionOf({ config, clock, personal }: Foundation, { keys, clients, accounts, refusals }: Rooms) {
  return createJwtIntrospection({
    pairwise: createPairwise(personal),
    issuer: config.issuer,
    now: () => clock.now(),
    publicKeys: () => keys.service.current(clock.now()),
    findClient: clients.service.find,
    accountState: accounts.service.state,
    introspectionDenied: (ctx) => refusals.service.note(refusalOf(ctx, '', 'wrong_audience')),
  })
}

/** The endpoint by which a client ends everything of an account. */
export function globalRevocationOf({ config, personal }: Foundation, { accounts, sessions, refusals }: Rooms) {
  return createGlobalRevocation({
    issuer: config.issuer,
    pairwise: createPairwise(personal),
    noteRefusal: refusals.service.note,
    async revokeAll(subject, clientId) {
      const { find, findByIdentifier, publish } = accounts.service
      const account = 'email' in subject ? await findByIdentifier(subject.email) : await find(subject.accountId)
      if (account === undefined) return
      await sessions.service.endAll(account.id, 'revoked_by_client', { actor: `client:${clientId}` })
      await publish(account.id)
    },
  })
}

type EngineParts = Pick<
  Parameters<typeof createProvider>[0],
  'keys' | 'levels' | 'interactionOpened' | 'renderError' | 'renderLogout' | 'renderLoggedOut'
>

/** The engine's modules are imported here: no command needs them. */
export async function createEngine(foundation: Foundation, rooms: Rooms, parts: EngineParts): Promise<Engine> {
  const { createProvider } = await import('./oidc/provider.ts')
  const { config, clock, oidcStore, secretBox, personal, unavailable, http, metrics, keyValue } = foundation
  const { clients, accounts, sessions, consents, realms } = rooms
  const metadata = async (clientId: string) => (await clients.service.find(clientId))?.metadata
  const provider = createProvider({
    ...parts,
    pairwise: createPairwise(personal),
    config,
    locales: foundation.views.locales,
    clock,
    store: oidcStore,
    unavailable,
    hit: keyValue.hit,
    fetch: http.fetch,
    dpopNonceSecret: secretBox.derive('dpop_nonce', 32),
    findClient: metadata,
    secretMatches: clients.service.secretMatches,
    secretHasExpired: clients.service.secretHasExpired,
    noteRefusal: rooms.refusals.service.note,
    accountState: onceARequest(accounts.service.state),
    confinedTo: async (accountId) => {
      if (!(await realms.service.closesAny())) return undefined
      const account = await accounts.service.view(accountId)
      if (account === undefined || !(await realms.service.closes(account))) return undefined
      return (await realms.service.of(account.email))?.upstream
    },
    wantsSecondFactor: (ofClient) =>
      enrolmentPolicy(config.secondFactor)({ secondFactor: ofClient }, undefined).policy === 'required',
    accountClaims: accounts.service.claims,
    verifiedOf: rooms.identifications.service.current,
    findConsent: consents.service.find,
    linkClient: sessions.service.linkClient,
    grantRevoked: async (grantId, reason) => {
      await sessions.service.revokeGrant(grantId, reason)
    },
    sessionEnded: async (uid) => {
      await sessions.service.end(uid, 'logout')
    },
    deviceSignal: (userAgent) => {
      const { browser, system } = deviceOf(userAgent)
      return browser === '' || system === '' ? '' : `${browser} ${system}`
    },
    deviceChanged: ({ accountId, clientId, grantId }) => {
      const fact = { type: 'grant.device_changed', accountId, clientId, data: { grantId } } as const
      return foundation.database.transaction((tx) => foundation.outbox.record([fact], tx))
    },
    sessionSeen: (uid) => sessions.service.touch(uid, clock.now()),
    absoluteSessionSeconds: config.sessions.absoluteSeconds,
    graceSeconds: async (clientId) =>
      (clientId === undefined ? undefined : (await metadata(clientId))?.refresh_grace_seconds) ??
      config.tokens.refreshGraceSeconds,
    successorOf: (token) => secretBox.mac(token, 'refresh_successor'),
  })
  provider.on('grant.success', (ctx) => metrics.token(String((ctx.oidc.params as { grant_type?: string }).grant_type)))
  provider.on('server_error', (ctx, error) => foundation.logger.error({ err: error, path: ctx.path }, 'engine failed'))
  return provider
}
