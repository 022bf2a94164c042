/**
 * The rooms, wired: each gets exactly the functions it asks for. Read it top-down: a room is made after those it uses, and
 * what is made later (the engine) is reached through a function.
 */
import { ConfigError } from './config.ts'
import { enrolmentPolicy } from './enrolment_policy.ts'
import type { Feature } from './feature.ts'
import { createAbuse } from './features/abuse/index.ts'
import type { IsKnownDevice } from './features/abuse/types.ts'
import { createAccounts } from './features/accounts/index.ts'
import { accountRepository } from './features/accounts/repository.ts'
import { type BrandsFeature, createBrands } from './features/brands/index.ts'
import { createClients } from './features/clients/index.ts'
import { createConsents } from './features/consents/index.ts'
import { consentRepository } from './features/consents/repository.ts'
import { createDevices } from './features/devices/index.ts'
import { deviceRepository } from './features/devices/repository.ts'
import { createEmailCodes } from './features/email_codes/index.ts'
import { createEnrolment } from './features/enrolment/index.ts'
import { enrolmentRepository } from './features/enrolment/repository.ts'
import { createIdentifiers } from './features/identifiers/index.ts'
import type { ReadEmail } from './features/identifiers/types.ts'
import { createKeys } from './features/keys/index.ts'
import { createLostFactors } from './features/lost_factors/index.ts'
import { removalRepository } from './features/lost_factors/repository.ts'
import type { RemoveFactors } from './features/lost_factors/types.ts'
import { createMails } from './features/mails/index.ts'
import { createNotices } from './features/notices/index.ts'
import { noticeRepository } from './features/notices/repository.ts'
import { createPasswords } from './features/passwords/index.ts'
import { passwordRepository } from './features/passwords/repository.ts'
import { createRecoveryCodes } from './features/recovery_codes/index.ts'
import { recoveryCodeRepository } from './features/recovery_codes/repository.ts'
import { createSessions } from './features/sessions/index.ts'
import { sessionRepository } from './features/sessions/repository.ts'
import { createTotp } from './features/totp/index.ts'
import { totpRepository } from './features/totp/repository.ts'
import type { Foundation } from './foundation.ts'
import { SCOPES } from './oidc/claims.ts'
import type { EngineInteractions } from './oidc/interactions.ts'
import { deliverLogout, type Engine } from './oidc/provider.ts'
import { createBreachedPasswords, problemOfList } from './platform/breached_passwords.ts'
import { createChallenges } from './platform/challenge.ts'
import { CHANGE_MAC } from './platform/changes.ts'
import { createHttpClient } from './platform/http_client.ts'
import { digits, newId, newToken } from './platform/ids.ts'
import type { Tx } from './platform/postgres.ts'
import { createTryLimits } from './platform/try_limits.ts'

/** An ID token may come back as a hint as long as a session can last. */
const VERIFY_GRACE_SECONDS = 86_400

export type Rooms = ReturnType<typeof createRooms>

/** Builds every room that others use; those that only serve pages are in `conversation.ts`. */
export function createRooms(foundation: Foundation, engine: EngineInteractions, provider: () => Engine) {
  const { config, database, outbox, clock, invalidation, secretBox, keyValue, oidcStore, logger } = foundation
  const { db, transaction } = database
  const warn = (error: unknown, message: string) => logger.warn({ err: error }, message)
  const mac = (value: string) => secretBox.mac(value, CHANGE_MAC)
  const shared = { database, transaction, outbox, clock, newId, warn, mac }

  const brands = createBrands({ ...shared, invalidation, wording: foundation.views })
  const clients = createClients({
    ...shared,
    invalidation,
    brandExists: brands.service.exists,
    issuer: config.issuer,
    accountPages: config.modules.accountPages,
    scopes: SCOPES,
    locales: foundation.views.locales,
    resources: config.resources,
    acrs: config.levels.map(({ acr }) => acr),
  })
  const keys = createKeys({
    ...shared,
    invalidation,
    secretBox,
    verifySeconds: config.sessions.absoluteSeconds + VERIFY_GRACE_SECONDS,
  })
  const consents = createConsents({
    ...shared,
    repository: consentRepository(db),
    grantFor: (consent) => engine.grantFor(consent),
    accounts: { view: (accountId) => accounts.service.view(accountId) },
  })
  const sessions = createSessions({
    ...shared,
    repository: sessionRepository(db),
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
    repository: accountRepository(db),
    kv: keyValue,
    endSessions: sessions.service.endAll,
    retention: config.retention,
  })
  const isKnownDevice: IsKnownDevice = (email, token) => safety.devices.service.isKnown(email, token)
  const keepFactors = (accountId: string, tx: Tx) => safety.lostFactors.service.cancel(accountId, 'refused', tx)
  const { mails, ...credentials } = createCredentials(foundation, accounts, readEmail, brands.service, isKnownDevice)
  const notices = noticesOf(foundation, accounts, sessions, keepFactors)
  const factors = createFactors(foundation, accounts, sessions, brands.service, notices)
  const safety = createSafety(foundation, accounts, sessions, notices, [factors.totp.service.removeLost])
  const rooms = { brands, clients, keys, consents, sessions, identifiers, accounts, ...credentials, ...factors }
  const { devices, lostFactors } = safety
  // Without recovery nobody gets past a factor but the operator.
  const optional = config.modules.recovery ? [lostFactors] : []
  const all: readonly Feature[] = [...Object.values(rooms), notices, devices, ...optional, mails]
  return { ...rooms, notices, devices, all }
}

/** The mails that tell an account's owner what was done. */
function noticesOf(
  { config, database, outbox, clock, keyValue, views }: Foundation,
  accounts: ReturnType<typeof createAccounts>,
  sessions: ReturnType<typeof createSessions>,
  keepFactors: (accountId: string, tx: Tx) => Promise<void>,
) {
  return createNotices({
    ...{ transaction: database.transaction, outbox, clock, newToken, kv: keyValue, keepFactors },
    ...{ issuer: config.issuer, home: config.home, locale: views.pickLocale([]) },
    repository: noticeRepository(database.db),
    accounts: accounts.service,
    sessions: sessions.service,
  })
}

/** What keeps an account its owner's: browsers that are known, and the way back after a factor was lost. */
function createSafety(
  { config, database, outbox, clock, keyValue, views }: Foundation,
  accounts: ReturnType<typeof createAccounts>,
  sessions: ReturnType<typeof createSessions>,
  notices: ReturnType<typeof createNotices>,
  removeFactors: readonly RemoveFactors[],
) {
  const { db, transaction } = database
  const shared = {
    ...{ transaction, outbox, clock, newId, kv: keyValue, locale: views.pickLocale([]) },
    ...{ accounts: accounts.service, notices: notices.service, sessions: sessions.service },
  }
  const devices = createDevices({ ...shared, repository: deviceRepository(db) })
  const { waitingHours } = config.recovery
  const lostFactors = createLostFactors({ ...shared, repository: removalRepository(db), removeFactors, waitingHours })
  return { devices, lostFactors }
}

/** What an account may set up beside its password and its mailbox. */
function createFactors(
  { config, database, outbox, clock, keyValue, secretBox }: Foundation,
  accounts: ReturnType<typeof createAccounts>,
  sessions: ReturnType<typeof createSessions>,
  brands: BrandsFeature['service'],
  notices: ReturnType<typeof createNotices>,
) {
  const { db, transaction } = database
  const shared = {
    ...{ transaction, outbox, clock, newId, secretBox, kv: keyValue, tries: createTryLimits(keyValue) },
    ...{ accounts: accounts.service, notices: notices.service },
  }
  const policy = enrolmentPolicy(config.secondFactor)
  const enrolment = createEnrolment({
    ...shared,
    repository: enrolmentRepository(db),
    isRequired: (account) => policy({}, account).policy === 'required',
    sessions: sessions.service,
    dropStandIns: (accountId, tx) => recoveryCodes.service.clear(accountId, tx),
  })
  const { setFactor, changeFactor } = enrolment.service
  const recoveryCodes = createRecoveryCodes({ ...shared, repository: recoveryCodeRepository(db), setFactor })
  const totp = createTotp({
    ...shared,
    repository: totpRepository(db),
    changeFactor,
    setFactor,
    issuerName: async (brandId) => (await brands.page(brandId)).name,
  })
  return { enrolment, recoveryCodes, totp }
}

/** Whoever tries without having proven anything. */
function abuseOf({ config, keyValue, clock, secretBox, metrics }: Foundation, isKnownDevice: IsKnownDevice) {
  const challenges = createChallenges({
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
    isKnownDevice,
    limited: metrics.limited,
  })
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
) {
  const { config, database, outbox, clock, keyValue, secretBox } = foundation
  const { db, transaction } = database
  const shared = { transaction, outbox, clock, newId }
  const abuse = abuseOf(foundation, isKnownDevice)
  const passwords = createPasswords({
    ...shared,
    repository: passwordRepository(db),
    passwordHash: foundation.passwordHash,
    guard: abuse.service.signIn,
    mac: (value) => secretBox.mac(value, 'identifier'),
    settings: {
      minLength: config.passwords.minLength,
      brandWords: async () => ['genkan', ...(await brands.page()).name.split(/\s+/)],
      perIdentifier: config.limits.signIn.identifier,
    },
    isBreached: breachedOf(foundation).isBreached,
    signIn: foundation.metrics.signIn,
  })
  const emailCodes = createEmailCodes({
    ...shared,
    kv: keyValue,
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
