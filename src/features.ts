/**
 * The rooms, wired: each gets exactly the functions it asks for. Read it top-down: a room is made after those it uses, and
 * what is made later (the engine) is reached through a function.
 */
import { admissionOf, detailTypesOf } from './admission.ts'
import { approvalsOf } from './backchannel.ts'
import { createUpstreamRooms, leadingAway, trustedIssuers } from './byoi.ts'
import { ConfigError } from './config/config.ts'
import type { Feature } from './feature.ts'
import { createAbuse } from './features/abuse/index.ts'
import type { IsKnownDevice } from './features/abuse/types.ts'
import { createAccounts } from './features/accounts/index.ts'
import { accountRepository } from './features/accounts/repository.ts'
import { createAgents } from './features/agents/index.ts'
import { agentRepository } from './features/agents/repository.ts'
import { type BrandsFeature, createBrands } from './features/brands/index.ts'
import { createClientExpiries } from './features/client_expiries/index.ts'
import { createClients } from './features/clients/index.ts'
import { createConsents } from './features/consents/index.ts'
import { consentRepository } from './features/consents/repository.ts'
import { createEmailCodes } from './features/email_codes/index.ts'
import { createIdentifiers } from './features/identifiers/index.ts'
import type { ReadEmail } from './features/identifiers/types.ts'
import { createKeys } from './features/keys/index.ts'
import { createMails } from './features/mails/index.ts'
import { createPasswords } from './features/passwords/index.ts'
import { passwordRepository } from './features/passwords/repository.ts'
import { createRefusals } from './features/refusals/index.ts'
import { createSessions } from './features/sessions/index.ts'
import { sessionRepository } from './features/sessions/repository.ts'
import type { Foundation } from './foundation.ts'
import type { AccountView } from './interaction/step.ts'
import { SCOPES } from './oidc/claims.ts'
import type { EngineInteractions } from './oidc/interactions.ts'
import { deliverLogout } from './oidc/logout_delivery.ts'
import type { Engine } from './oidc/provider.ts'
import { createBreachedPasswords, problemOfList } from './platform/breached_passwords.ts'
import { createCaptcha } from './platform/captcha.ts'
import { createChallenges } from './platform/challenge.ts'
import { CHANGE_MAC } from './platform/changes.ts'
import { createHttpClient } from './platform/http_client.ts'
import { digits, newId } from './platform/ids.ts'
import type { Tx } from './platform/postgres.ts'
import { currentRequest } from './platform/request_scope.ts'
import { listsAll } from './platform/sector_identifier.ts'
import { createFactors, createSafety, noticesOf } from './protection.ts'

/** An ID token may come back as a hint as long as a session can last. */
const VERIFY_GRACE_SECONDS = 86_400

export type Rooms = ReturnType<typeof createRooms>

/** Builds every room that others use; those that only serve pages are in `conversation.ts`. */
export function createRooms(foundation: Foundation, engine: EngineInteractions, provider: () => Engine) {
  const { config, database, outbox, clock, invalidation, secretBox, personal, keyValue, oidcStore, logger } = foundation
  const { db, transaction } = database
  const warn = (error: unknown, message: string) => logger.warn({ err: error }, message)
  const shared = { database, transaction, outbox, clock, newId, warn, mac: macOf(foundation) }

  const brands = createBrands({ ...shared, invalidation, wording: foundation.views })
  const { clients, clientRegistrations, findClient } = clientsOf(foundation, shared, brands.service)
  const verifySeconds = config.sessions.absoluteSeconds + VERIFY_GRACE_SECONDS
  const keys = createKeys({ ...shared, invalidation, secretBox, verifySeconds })
  const consents = createConsents({
    ...shared,
    ...{ repository: consentRepository(db, personal), detailTypes: detailTypesOf(config) },
    grantFor: (consent) => engine.grantFor(consent),
    accounts: { view: (accountId) => accounts.service.view(accountId) },
  })
  const sessions = createSessions({
    ...shared,
    repository: sessionRepository(db, personal),
    accounts: {
      advanceEpoch: (accountId, reason, tx) => accounts.service.advanceEpoch(accountId, reason, tx),
      publish: (accountId) => accounts.service.publish(accountId),
    },
    clients: clients.service,
    consents: consents.service,
    engine: {
      destroySession: (uid) => oidcStore.destroySession(uid),
      destroyGrant: (grantId) => oidcStore.destroy('Grant', grantId),
    },
    limits: config.sessions,
    deliverLogout: (clientId, sub, sid) => deliverLogout(provider(), clientId, sub, sid),
    retention: { ipDays: config.retention.ipDays, offlineGrantSeconds: config.tokens.refreshAbsoluteSeconds },
  })
  const identifiers = identifiersOf(foundation)
  const { readEmail } = identifiers.service
  const accounts = createAccounts({
    ...shared,
    readEmail,
    leadAway: (...typed) => leadingAway(byoi)(...typed),
    repository: accountRepository(db, personal),
    kv: keyValue,
    endSessions: sessions.service.endAll,
    // Only asked for when there is a number to confirm.
    provenNumber: async ({ id, profile }) =>
      profile.phone_number === undefined ? undefined : factors.smsCodes?.service.provenNumber(id),
    retention: config.retention,
  })
  const isKnownDevice: IsKnownDevice = (email, token) => safety.devices.service.isKnown(email, token)
  const keepFactors = (accountId: string, tx: Tx) => safety.lostFactors.service.cancel(accountId, 'refused', tx)
  const { mails, ...credentials } = createCredentials(
    ...([foundation, accounts, readEmail, brands.service, isKnownDevice] as const),
    (account, tx) =>
      notices.service.tell('password_breached', account, { locale: foundation.views.pickLocale([]) }, tx),
    (account) => byoi.realms.service.closes(account),
  )
  const notices = noticesOf(foundation, accounts, sessions, keepFactors)
  const factors = createFactors(foundation, { ...credentials, accounts, sessions, brands, notices })
  const safety = createSafety(foundation, accounts, sessions, notices, factors)
  const byoi = createUpstreamRooms(foundation, { ...credentials, accounts, sessions, notices, readEmail })
  const first = { brands, clients, clientRegistrations, keys, consents, sessions, identifiers, accounts }
  const approvals = approvalsOf(foundation, { ...first, ...byoi, notices }, engine, provider)
  const rooms = { ...first, ...credentials, ...factors, ...byoi, ...behindOf(foundation, sessions), approvals }
  // Without recovery nobody gets past a factor but the operator.
  const optional = config.modules.recovery ? [safety.lostFactors] : []
  const all: readonly Feature[] = [
    ...Object.values(rooms).filter((room) => room !== undefined),
    ...[notices, safety.devices, ...optional, mails, expiriesOf(foundation, clients)],
  ]
  return { ...rooms, ...safety, notices, findClient, all }
}

function expiriesOf({ database, outbox, views }: Foundation, { service }: ReturnType<typeof createClients>) {
  const { transaction } = database
  return createClientExpiries({ transaction, outbox, clients: service, locale: views.pickLocale([]) })
}

function refusalsOf({ database, clock, logger }: Foundation) {
  return createRefusals({
    ...{ database, clock, requestId: () => currentRequest()?.requestId },
    log: (fields, message) => logger.info(fields, message),
  })
}
const macOf =
  ({ secretBox }: Foundation) =>
  (value: string) =>
    secretBox.mac(value, CHANGE_MAC)

/** A person waits for it. */
const CAPTCHA_MS = 2500
const CAPTCHA_BYTES = 16 * 1024

/** The CAPTCHA of a vendor, where the settings name one. */
export function captchaOf({ config, clock, logger }: Pick<Foundation, 'config' | 'clock' | 'logger'>) {
  const { captcha: settings, outboundPrivateNetworks: allowedNetworks, issuer } = config
  if (settings === undefined) return undefined
  return createCaptcha({
    ...{ settings, clock, hostname: new URL(issuer).hostname },
    http: createHttpClient({ allowedNetworks, timeoutMs: CAPTCHA_MS, maxBytes: CAPTCHA_BYTES }),
    warn: (details, message) => logger.warn(details, message),
  })
}

/** Whoever tries without having proven anything. */
function abuseOf(foundation: Foundation, isKnownDevice: IsKnownDevice) {
  const { config, keyValue, clock, secretBox, metrics } = foundation
  const challenges = createChallenges({
    captcha: captchaOf(foundation),
    kv: keyValue,
    clock,
    mac: (value) => secretBox.mac(value, 'challenge'),
    macMatches: (value, mac) => secretBox.macMatches(value, 'challenge', mac),
    measure: metrics.challenge,
  })
  return createAbuse({
    kv: keyValue,
    challenges,
    mac: (value) => secretBox.mac(value, 'identifier'),
    settings: config.limits,
    asn: () => currentRequest()?.asn,
    isKnownDevice,
    limited: metrics.limited,
  })
}

function clientsOf(
  foundation: Foundation,
  shared: Pick<Parameters<typeof createClients>[0], 'database' | 'outbox' | 'clock' | 'mac'>,
  brands: BrandsFeature['service'],
) {
  const { config, invalidation, views } = foundation
  const { accountPages } = config.modules
  const clients = createClients({
    ...shared,
    invalidation,
    listsAll: (uri, redirects) => listsAll(foundation.http.fetch, uri, redirects),
    brandExists: brands.exists,
    issuer: config.issuer,
    accountPages,
    scopes: SCOPES,
    locales: views.locales,
    ...{ resources: config.resources, detailTypes: detailTypesOf(config) },
    acrs: config.levels.map(({ acr }) => acr),
    abilities: {
      legacy: config.legacyProfile,
      mtls: config.mtls !== undefined,
      trustedCa: (config.mtls?.trustedCa.length ?? 0) > 0,
      approvals: accountPages,
    },
    assertionIssuers: trustedIssuers(config),
  })
  return { clients, ...admissionOf(foundation, clients) }
}

/** What goes on behind the others. */
function behindOf(foundation: Foundation, sessions: ReturnType<typeof createSessions>) {
  const { config, database, outbox } = foundation
  const agents = createAgents({
    ...{ repository: agentRepository(database.db), transaction: database.transaction, outbox },
    revokeClient: sessions.service.revokeClient,
    clock: foundation.clock,
    idleDays: config.agents.idleDays,
  })
  return { refusals: refusalsOf(foundation), agents }
}

function identifiersOf({ database, outbox, keyValue, secretBox, metrics }: Foundation) {
  return createIdentifiers({
    transaction: database.transaction,
    outbox,
    kv: keyValue,
    mac: (value) => secretBox.mac(value, 'identifier'),
    refused: metrics.identifierRefused,
  })
}

/** Longer than the answer for any range, padding included. */
const RANGE_BYTES = 256 * 1024

/** A list that cannot be searched is said at start: later it would let every password pass. */
function breachedOf({ config, metrics, logger }: Foundation) {
  const { breachedFile: file, breachedApi: api } = config.passwords
  if (file === undefined && api === undefined) return undefined
  const problem = file === undefined ? undefined : problemOfList(file)
  if (problem !== undefined) throw new ConfigError([`passwords.breached_file: ${file} ${problem}`])
  const http = createHttpClient({
    allowedNetworks: config.outboundPrivateNetworks,
    ...{ timeoutMs: 1000, maxBytes: RANGE_BYTES },
  })
  return createBreachedPasswords({
    ...{ file, api, fetch: http.fetch, checked: metrics.breachCheck },
    warn: (error, message) => logger.warn({ err: error }, message),
  })
}

/** What a person shows, and what holds back who tries: a password, a code from the mailbox. Mail goes out here too, since sending starts a code's time. */
function createCredentials(
  foundation: Foundation,
  accounts: ReturnType<typeof createAccounts>,
  readEmail: ReadEmail,
  brands: BrandsFeature['service'],
  isKnownDevice: IsKnownDevice,
  tellBreached: (account: AccountView, tx: Tx) => Promise<void>,
  isClosed: (account: AccountView) => Promise<boolean>,
) {
  const { config, database, outbox, clock, sealedKeyValue, secretBox } = foundation
  const { db, transaction } = database
  const shared = { transaction, outbox, clock, newId }
  const abuse = abuseOf(foundation, isKnownDevice)
  const passwords = createPasswords({
    ...shared,
    repository: passwordRepository(db, foundation.personal),
    passwordHash: foundation.passwordHash,
    weaknessOf: foundation.judgePassword,
    guard: abuse.service.signIn,
    mac: (value) => secretBox.mac(value, 'identifier'),
    settings: {
      minLength: config.passwords.minLength,
      brandWords: async () => ['genkan', ...(await brands.page()).name.split(/\s+/)],
      perIdentifier: config.limits.signIn.identifier,
    },
    isBreached: breachedOf(foundation)?.isBreached,
    tellBreached,
    isClosed,
    signIn: foundation.metrics.signIn,
  })
  const emailCodes = createEmailCodes({
    ...shared,
    kv: sealedKeyValue,
    digits,
    mac: (value) => secretBox.mac(value, 'email_code'),
    macMatches: (value, mac) => secretBox.macMatches(value, 'email_code', mac),
    accounts: accounts.service,
    readEmail,
    passwords: passwords.service,
    issuer: config.issuer,
    home: config.home,
  })
  const mails = createMails({
    send: foundation.mailer.send,
    renderMail: async (template, locale, values, brand) =>
      foundation.views.mail(template, locale, values, await brands.page(brand)),
    sending: emailCodes.service.sending,
  })
  return { abuse, passwords, emailCodes, mails }
}
