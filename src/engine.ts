/** The engine with the rooms behind it, and what completes its answers. */
import { detailTypesOf } from './admission.ts'
import { trustedIssuers } from './byoi.ts'
import { enrolmentPolicy } from './enrolment_policy.ts'
import type { Fact } from './events.ts'
import { deviceOf } from './features/sessions/types.ts'
import type { createRooms } from './features.ts'
import type { Foundation } from './foundation.ts'
import type { DeviceAnswer } from './oidc/adapter/single_use.ts'
import { createGlobalRevocation } from './oidc/global_revocation.ts'
import { createJwtIntrospection } from './oidc/jwt_introspection.ts'
import { createPairwise } from './oidc/pairwise.ts'
import type { createProvider, Engine } from './oidc/provider.ts'
import { refusalOf } from './oidc/refusals.ts'
import { keysOf } from './platform/assertion_issuers.ts'
import { sha256 } from './platform/ids.ts'
import { onceARequest } from './platform/request_scope.ts'

type Rooms = ReturnType<typeof createRooms>

/** The middleware that answers for JWT access tokens at introspection. */
export function introspectionOf(
  { config, clock, personal }: Foundation,
  { keys, accounts, consents, findClient, refusals, agents }: Rooms,
) {
  return createJwtIntrospection({
    pairwise: createPairwise(personal),
    issuer: config.issuer,
    now: () => clock.now(),
    publicKeys: () => keys.service.current(clock.now()),
    findClient,
    accountState: accounts.service.state,
    isTakenBack: agents.service.isTakenBack,
    introspectionDenied: (ctx) => refusals.service.note(refusalOf(ctx, '', 'wrong_audience')),
    ...{ detailTypes: detailTypesOf(config), findDetails: consents.service.liveDetails },
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
  'keys' | 'levels' | 'deviceFlow' | 'interactionOpened' | 'renderError' | 'renderLogout' | 'renderLoggedOut'
>

/** RFC 8628 §3.5: the interval is five seconds; clocks and networks are not exact. */
const POLL_SECONDS = 4
const DEVICE_CODE_SECONDS = 600

/** The first answer to a device's request, and how often it, or a client by the back channel, may ask for the answer. */
function deviceAnswers({ keyValue, database, outbox }: Foundation) {
  return {
    async deviceDecided({ userCode, clientId, accountId, grantId, error }: DeviceAnswer): Promise<boolean> {
      const key = `device_answer:${sha256(userCode)}`
      if (!(await keyValue.add(key, '1', DEVICE_CODE_SECONDS))) return false
      const type = accountId === undefined ? 'device.refused' : 'device.connected'
      try {
        await database.transaction((tx) => outbox.record([{ type, accountId, clientId, data: { grantId, error } }], tx))
      } catch (failure) {
        // Nothing was said yet: the person may say it again.
        await keyValue.delete(key)
        throw failure
      }
      return true
    },
    async mayPoll(deviceCode: string): Promise<boolean> {
      const limit = { key: `device_polls:${sha256(deviceCode)}`, limit: 1, windowSeconds: POLL_SECONDS }
      return (await keyValue.hit([limit])).allowed
    },
  }
}

/** What is to be known of each token that was given: by which grant, to whom, and whether an agent acts. */
function noteUses(provider: Engine, { logger, metrics, clock }: Foundation, { clients, agents }: Rooms): void {
  provider.on('grant.success', ({ oidc }) => {
    const { AccessToken } = oidc.entities
    if (oidc.client === undefined) return
    const { clientId, agent } = oidc.client
    clients.used(clientId).catch((error: unknown) => logger.warn({ err: error }, 'the use of a client was not noted'))
    if (agent !== undefined && AccessToken?.accountId !== undefined) {
      agents.service.used(AccessToken.accountId, clientId, clock.now())
    }
  })
  provider.on('grant.success', (ctx) => metrics.token(String((ctx.oidc.params as { grant_type?: string }).grant_type)))
}

/** The engine's modules are imported here: no command needs them. */
export async function createEngine(foundation: Foundation, rooms: Rooms, parts: EngineParts): Promise<Engine> {
  const { createProvider } = await import('./oidc/provider.ts')
  const { config, clock, oidcStore, secretBox, personal, unavailable, http, keyValue } = foundation
  const { clients, accounts, sessions, consents, realms } = rooms
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
    findClient: rooms.findClient,
    secretMatches: clients.service.secretMatches,
    secretHasExpired: clients.secretHasExpired,
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
    ...{ detailTypes: detailTypesOf(config), findDetails: consents.service.liveDetails },
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
    ...deviceAnswers(foundation),
    accountNamed: async (email) => (await accounts.service.findByIdentifier(email))?.id,
    backchannelAsked: rooms.approvals.service.ask,
    ...doubtParts(foundation, rooms),
    sessionSeen: (uid) => sessions.service.touch(uid, clock.now()),
    absoluteSessionSeconds: config.sessions.absoluteSeconds,
    graceSeconds: async (clientId) =>
      Number(
        (clientId === undefined ? undefined : (await rooms.findClient(clientId))?.refresh_grace_seconds) ??
          config.tokens.refreshGraceSeconds,
      ),
    successorOf: (token) => secretBox.mac(token, 'refresh_successor'),
    publicKeys: () => rooms.keys.service.current(clock.now()),
    ...grantParts(foundation, rooms),
  })
  noteUses(provider, foundation, rooms)
  provider.on('server_error', (ctx, error) => foundation.logger.error({ err: error, path: ctx.path }, 'engine failed'))
  return provider
}

/** What SQL says where the store may have lost something. */
function doubtParts({ once, revocations }: Foundation, { sessions }: Rooms) {
  const keyOf = (token: string) => `revoked_token:${sha256(token)}`
  return {
    useOnce: once.use,
    sessionStands: async (uid: string) => (await sessions.service.findLive(uid)) !== undefined,
    grantStands: sessions.service.grantStands,
    revokedTokens: revocations && {
      state: (token: string, seconds: number) => revocations.set(keyOf(token), '1', seconds),
      has: async (token: string) => (await revocations.get(keyOf(token))) !== undefined,
    },
  }
}

/** What the custom grants ask the rooms. */
function grantParts({ config, http, clock, database, outbox }: Foundation, rooms: Rooms) {
  const { sessions, upstreams, identities, agents } = rooms
  const entries = [...trustedIssuers(config)].map(
    ([issuer, trusted]) => [issuer, { trusted, keys: keysOf(trusted, { http, clock }) }] as const,
  )
  return {
    assertionIssuers: new Map(entries),
    signInOf: (of: { accountId: string; clientId: string; sid: string }) =>
      sessions.service.signInOf(of.accountId, of.clientId, of.sid),
    // A provider that was switched off vouches for nobody, here as on the sign-in page.
    personOf: async (of: { upstream: string; issuer: string; subject: string; acr: string | undefined }) => {
      const upstream = await upstreams.service.find(of.upstream)
      const identity = upstream && (await identities.service.find({ issuer: of.issuer, subject: of.subject }))
      if (identity?.upstream !== of.upstream) return undefined
      return { accountId: identity.accountId, acr: upstream?.levelOf(of.acr) }
    },
    ...{ delegate: agents.service.delegate, isTakenBack: agents.service.isTakenBack },
    state: (fact: Fact) => database.transaction((tx) => outbox.record([fact], tx)),
  }
}
