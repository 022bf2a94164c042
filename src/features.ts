/**
 * The rooms, wired: each gets exactly the functions it asks for. Read it top-down: a room is made after those it uses, and
 * what is made later (the engine) is reached through a function.
 */
import { enrolmentPolicy } from './enrolment_policy.ts'
import type { Feature } from './feature.ts'
import { createAccounts } from './features/accounts/index.ts'
import { accountRepository } from './features/accounts/repository.ts'
import { type BrandsFeature, createBrands } from './features/brands/index.ts'
import { createClients } from './features/clients/index.ts'
import { createConsents } from './features/consents/index.ts'
import { consentRepository } from './features/consents/repository.ts'
import { createEmailCodes } from './features/email_codes/index.ts'
import { createEnrolment } from './features/enrolment/index.ts'
import { enrolmentRepository } from './features/enrolment/repository.ts'
import { createIdentifiers } from './features/identifiers/index.ts'
import type { ReadEmail } from './features/identifiers/types.ts'
import { createKeys } from './features/keys/index.ts'
import { createMails } from './features/mails/index.ts'
import { createPasskeys } from './features/passkeys/index.ts'
import { passkeyRepository } from './features/passkeys/repository.ts'
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
import { CHANGE_MAC } from './platform/changes.ts'
import { digits, newId } from './platform/ids.ts'
import { createTryLimits } from './platform/try_limits.ts'
import { createWebAuthn } from './platform/webauthn.ts'

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
  const { passwords, emailCodes, mails } = createCredentials(foundation, accounts, readEmail, brands.service)
  const factors = createFactors(foundation, { accounts, sessions, passwords, brands: brands.service })
  const rooms = { brands, clients, keys, consents, sessions, identifiers, accounts, passwords, emailCodes, ...factors }
  const all: readonly Feature[] = [...Object.values(rooms), mails]
  return { ...rooms, all }
}

interface FactorDeps {
  readonly accounts: ReturnType<typeof createAccounts>
  readonly sessions: ReturnType<typeof createSessions>
  readonly passwords: ReturnType<typeof createPasswords>
  readonly brands: BrandsFeature['service']
}

/** What an account may set up beside its password and its mailbox. */
function createFactors(foundation: Foundation, { accounts, sessions, passwords, brands }: FactorDeps) {
  const { config, database, outbox, clock, keyValue, secretBox, metrics } = foundation
  const { db, transaction } = database
  const shared = {
    ...{ transaction, outbox, clock, newId, secretBox, kv: keyValue, tries: createTryLimits(keyValue) },
    ...{ issuer: config.issuer, home: config.home, accounts: accounts.service },
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
  const issuerName = async (brandId: string | undefined) => (await brands.page(brandId)).name
  const totp = createTotp({ ...shared, repository: totpRepository(db), changeFactor, issuerName })
  const { relatedOrigins } = config.passkeys
  const passkeys = createPasskeys({
    ...shared,
    repository: passkeyRepository(db),
    webauthn: createWebAuthn({ issuer: config.issuer, relatedOrigins }),
    passwords: passwords.service,
    changeFactor,
    enrolment: enrolment.service,
    rpName: issuerName,
    signsIn: (methods) => config.levels.some((level) => level.methods.some((set) => isWithin(set, methods))),
    limit: { perAddress: config.limits.signInPerAddress, windowSeconds: config.limits.windowSeconds },
    signIn: metrics.signIn,
    offered: metrics.passkeyOffered,
    relatedOrigins,
    pages: config.modules.accountPages,
  })
  return { enrolment, recoveryCodes, totp, passkeys }
}

function isWithin(set: readonly string[], all: readonly string[]): boolean {
  return set.every((item) => all.includes(item))
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

/** What a person shows: a password, a code from the mailbox. Mail goes out here too, since sending starts a code's time. */
function createCredentials(
  foundation: Foundation,
  accounts: ReturnType<typeof createAccounts>,
  readEmail: ReadEmail,
  brands: BrandsFeature['service'],
) {
  const { config, database, outbox, clock, keyValue, secretBox } = foundation
  const { db, transaction } = database
  const shared = { transaction, outbox, clock, newId }
  const passwords = createPasswords({
    ...shared,
    repository: passwordRepository(db),
    passwordHash: foundation.passwordHash,
    kv: keyValue,
    mac: (value) => secretBox.mac(value, 'identifier'),
    settings: {
      minLength: config.passwords.minLength,
      brandWords: async () => ['genkan', ...(await brands.page()).name.split(/\s+/)],
      perAddress: config.limits.signInPerAddress,
      perIdentifier: config.limits.signInPerIdentifier,
      windowSeconds: config.limits.windowSeconds,
    },
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
  return { passwords, emailCodes, mails }
}
