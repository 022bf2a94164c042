/** Whom people may come from, wired: the providers, what accounts are called there, and signing in by one. */
import { ConfigError } from './config/config.ts'
import type { RequestGuard } from './features/abuse/types.ts'
import type { createAccounts } from './features/accounts/index.ts'
import { createIdentifications } from './features/identifications/index.ts'
import { identificationRepository } from './features/identifications/repository.ts'
import type { ReadEmail } from './features/identifiers/types.ts'
import { createIdentities } from './features/identities/index.ts'
import { identityRepository } from './features/identities/repository.ts'
import type { createNotices } from './features/notices/index.ts'
import type { createPasswords } from './features/passwords/index.ts'
import { createProofings } from './features/proofings/index.ts'
import { proofingRepository } from './features/proofings/repository.ts'
import { readProofings } from './features/proofings/schema.ts'
import { createRealms } from './features/realms/index.ts'
import type { createSessions } from './features/sessions/index.ts'
import { createUpstreamLogout } from './features/upstream_logout/index.ts'
import { upstreamLogoutRepository } from './features/upstream_logout/repository.ts'
import { createUpstreamSignIn } from './features/upstream_sign_in/index.ts'
import { createUpstreams } from './features/upstreams/index.ts'
import type { UpstreamsDeps } from './features/upstreams/service.ts'
import type { Foundation } from './foundation.ts'
import type { FlowState, RequestFacts } from './interaction/step.ts'
import { readAssertionIssuers } from './platform/assertion_issuers.ts'
import { canonicalEmail } from './platform/email_address.ts'
import { newId, newToken } from './platform/ids.ts'
import { createTxtLookUp } from './platform/txt_records.ts'
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
  const providers = proofingProviders(config)
  const upstreams = createUpstreams({
    ...{ database, personal, outbox, clock, invalidation },
    kv: foundation.keyValue,
    acrs: config.levels.map(({ acr }) => acr),
    reserved: [...providers.keys()],
    connect: connector(foundation),
  })
  const realms = createRealms({
    ...{ database, outbox, clock, invalidation, newToken, locale: views.pickLocale([]) },
    lookUp: createTxtLookUp(config.dnsServers),
    upstreams: upstreams.service,
    title: upstreams.service.title,
    accounts: accounts.service,
    tell: notices.service.tell,
    findAccount: async (who) => (await accounts.service.view(who)) ?? (await provenAccount(passwords, who)),
  })
  const identities = createIdentities({
    ...{ transaction, outbox, clock, newId, repository: identityRepository(database.db, personal) },
    ...{ accounts: accounts.service, passwords: passwords.service, sessions: sessions.service },
    tell: notices.service.tell,
    title: upstreams.service.title,
    signsIn: (methods) =>
      config.levels.some((level) => level.methods.some((set) => set.every((method) => methods.includes(method)))),
  })
  const repository = identificationRepository(database.db, personal)
  const identifications = createIdentifications({
    ...{ repository, outbox, clock, newId },
    title: async (name) => providers.get(name)?.title ?? upstreams.service.titled(name),
  })
  const proofings = createProofings({
    ...{ transaction, outbox, clock, newId, newToken, providers, issuer: config.issuer, kv: foundation.keyValue },
    ...{ repository: proofingRepository(database.db, personal), identifications: identifications.service },
    async tell(accountId, title, tx) {
      const account = await accounts.service.view(accountId, tx)
      const page = { locale: views.pickLocale([]) }
      if (account !== undefined) await notices.service.tell('identified', account, page, tx, { upstream: title })
    },
    warn: (error, message) => logger.warn({ err: error }, message),
  })
  const upstreamSignIn = createUpstreamSignIn({
    ...{ issuer: config.issuer, transaction, outbox, clock, locales: views.locales, kv: foundation.sealedKeyValue },
    ...{ upstreams: upstreams.service, identities: identities.service, identifications: identifications.service },
    realms: realms.service,
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
  return { upstreams, realms, identities, identifications, proofings, upstreamSignIn, upstreamLogout }
}

/** Those who check persons. @throws ConfigError with all that is wrong: a misspelt one must not leave people waiting */
function proofingProviders({ proofings, upstreams }: Foundation['config']) {
  const read = readProofings(
    proofings,
    upstreams.map(({ name }) => name),
  )
  if ('problems' in read) throw new ConfigError(read.problems)
  return read.providers
}

/** Whose signed word is taken as a grant. @throws ConfigError with all that is wrong */
export function trustedIssuers({ assertionIssuers, issuer }: Foundation['config']) {
  const read = readAssertionIssuers(assertionIssuers, issuer)
  if ('problems' in read) throw new ConfigError(read.problems)
  return read.issuers
}

async function provenAccount({ service }: UpstreamRoomDeps['passwords'], typed: string) {
  const email = canonicalEmail(typed)
  return email === undefined ? undefined : (await service.findProven(email))?.account
}

/** Whoever types an address of a domain that is led to its provider is sent there at once; where that fails, a page says so. */
export function leadingAway({ realms, upstreamSignIn }: ReturnType<typeof createUpstreamRooms>) {
  return async (email: string, state: FlowState, request: RequestFacts): Promise<string | undefined> => {
    const realm = await realms.service.of(email)
    if (realm === undefined || realm.policy === 'offer') return undefined
    return upstreamSignIn.lead(realm.upstream, email, state, request)
  }
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

type Verifying = Pick<ReturnType<typeof createUpstreamRooms>, 'proofings' | 'upstreams'>

/** What is verified here, by sign-ins and by proofings, as the discovery document says it; undefined when nothing is. */
export async function verifiedMetadata({ upstreams, proofings }: Verifying) {
  const offered = await upstreams.service.offered()
  const found = [...offered.flatMap(({ identification }) => identification ?? []), ...proofings.identifying]
  if (found.length === 0) return undefined
  return {
    trust_frameworks_supported: [...new Set(found.map(({ framework }) => framework))],
    evidence_supported: [...new Set(found.map(({ evidence }) => evidence))],
    claims_in_verified_claims_supported: [...new Set(found.flatMap(({ claims }) => claims))],
  }
}
