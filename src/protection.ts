/**
 * What protects an account beside its password, wired: second factors, remembered browsers, notices, and the way back after a
 * factor was lost.
 */
import { enrolmentPolicy } from './enrolment_policy.ts'
import type { createAccounts } from './features/accounts/index.ts'
import type { BrandsFeature } from './features/brands/index.ts'
import { createDevices } from './features/devices/index.ts'
import { deviceRepository } from './features/devices/repository.ts'
import { createEnrolment } from './features/enrolment/index.ts'
import { enrolmentRepository } from './features/enrolment/repository.ts'
import { createLostFactors } from './features/lost_factors/index.ts'
import { removalRepository } from './features/lost_factors/repository.ts'
import { createNotices } from './features/notices/index.ts'
import { noticeRepository } from './features/notices/repository.ts'
import { createPasskeys } from './features/passkeys/index.ts'
import { passkeyRepository } from './features/passkeys/repository.ts'
import type { createPasswords } from './features/passwords/index.ts'
import { createRecoveryCodes } from './features/recovery_codes/index.ts'
import { recoveryCodeRepository } from './features/recovery_codes/repository.ts'
import type { createSessions } from './features/sessions/index.ts'
import { createSmsCodes } from './features/sms_codes/index.ts'
import { phoneRepository } from './features/sms_codes/repository.ts'
import { createTextMessages } from './features/text_messages/index.ts'
import { createTotp } from './features/totp/index.ts'
import { totpRepository } from './features/totp/repository.ts'
import type { Foundation } from './foundation.ts'
import { digits, newId, newToken } from './platform/ids.ts'
import type { Tx } from './platform/postgres.ts'
import { createTryLimits } from './platform/try_limits.ts'
import { createWebAuthn } from './platform/webauthn.ts'

/** The mails that tell an account's owner what was done. */
export function noticesOf(
  { config, database, personal, outbox, clock, keyValue, views }: Foundation,
  accounts: ReturnType<typeof createAccounts>,
  sessions: ReturnType<typeof createSessions>,
  keepFactors: (accountId: string, tx: Tx) => Promise<void>,
) {
  return createNotices({
    ...{ transaction: database.transaction, outbox, clock, newToken, kv: keyValue, keepFactors },
    ...{ issuer: config.issuer, home: config.home, locale: views.pickLocale([]) },
    repository: noticeRepository(database.db, personal),
    accounts: accounts.service,
    sessions: sessions.service,
  })
}

/** What keeps an account its owner's: browsers that are known, and the way back after a factor was lost. */
export function createSafety(
  { config, database, personal, outbox, clock, keyValue, views }: Foundation,
  accounts: ReturnType<typeof createAccounts>,
  sessions: ReturnType<typeof createSessions>,
  notices: ReturnType<typeof createNotices>,
  { passkeys, totp, smsCodes }: ReturnType<typeof createFactors>,
) {
  const { db, transaction } = database
  const shared = {
    ...{ transaction, outbox, clock, newId, kv: keyValue, locale: views.pickLocale([]) },
    ...{ accounts: accounts.service, notices: notices.service, sessions: sessions.service },
  }
  const devices = createDevices({ ...shared, repository: deviceRepository(db, personal) })
  const { waitingHours, support } = config.recovery
  const removeFactors = [passkeys, totp, ...(smsCodes === undefined ? [] : [smsCodes])].map(
    ({ service }) => service.removeLost,
  )
  const lostFactors = createLostFactors({
    ...shared,
    ...{ repository: removalRepository(db), removeFactors, waitingHours, support },
  })
  return { devices, lostFactors }
}

interface FactorDeps {
  readonly accounts: ReturnType<typeof createAccounts>
  readonly sessions: ReturnType<typeof createSessions>
  readonly passwords: ReturnType<typeof createPasswords>
  readonly brands: BrandsFeature
  readonly notices: ReturnType<typeof createNotices>
}

/** What an account may set up beside its password and its mailbox. */
export function createFactors(foundation: Foundation, { accounts, sessions, passwords, brands, notices }: FactorDeps) {
  const { config, database, outbox, clock, keyValue, secretBox } = foundation
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
  const issuerName = async (brandId: string | undefined) => (await brands.service.page(brandId)).name
  const own = { ...shared, changeFactor, setFactor }
  const totp = createTotp({ ...own, repository: totpRepository(db), issuerName })
  const passkeys = createPasskeys({
    ...{ ...own, ...settingsOf(foundation), enrolment: enrolment.service, passwords: passwords.service },
    repository: passkeyRepository(db, foundation.personal),
    rpName: issuerName,
  })
  const texts = createTexts(
    foundation,
    brands.service,
    (reference) => smsCodes?.service.sending(reference) ?? Promise.resolve(false),
  )
  const smsCodes =
    texts &&
    createSmsCodes({
      ...{ ...own, digits },
      repository: phoneRepository(db),
      mac: (value) => secretBox.mac(value, PHONE_MAC),
      macMatches: (value, mac) => secretBox.macMatches(value, PHONE_MAC, mac),
      texts: texts.service,
    })
  return { enrolment, recoveryCodes, passkeys, totp, texts, smsCodes }
}

/** What the settings say of passkeys. */
function settingsOf({ config, metrics }: Foundation) {
  const { issuer, levels, limits, modules } = config
  const { relatedOrigins } = config.passkeys
  return {
    ...{ issuer, relatedOrigins, pages: modules.accountPages },
    webauthn: createWebAuthn({ issuer, relatedOrigins }),
    limit: { perAddress: limits.signIn.address, windowSeconds: limits.windowSeconds },
    signsIn: (methods: readonly string[]) =>
      levels.some((level) => level.methods.some((set) => set.every((method) => methods.includes(method)))),
    signIn: metrics.signIn,
    offered: metrics.passkeyOffered,
  }
}

/** Numbers and codes of phones are hashed under it. */
const PHONE_MAC = 'phone'

/** Text messages, where the settings name somebody who sends them. */
function createTexts(
  { config, database, outbox, keyValue, secretBox, textSender, views, metrics }: Foundation,
  brands: BrandsFeature['service'],
  sending: (reference: string) => Promise<boolean>,
) {
  if (config.sms === undefined || textSender === undefined) return undefined
  return createTextMessages({
    ...{ transaction: database.transaction, outbox, kv: keyValue, rules: config.sms, sending },
    mac: (value) => secretBox.mac(value, PHONE_MAC),
    measure: metrics.textMessage,
    send: textSender.send,
    writeCode: async (code, locale, brand) =>
      views.t(locale, 'sms.code', { code, brand: (await brands.page(brand)).name }),
    host: new URL(config.issuer).hostname,
  })
}
