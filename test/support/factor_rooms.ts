/** The rooms of second factors over real SQL, with a key/value store and a clock that the test moves. */
import type { Fact } from '../../src/events.ts'
import { createEnrolment } from '../../src/features/enrolment/index.ts'
import { enrolmentRepository } from '../../src/features/enrolment/repository.ts'
import { createPasskeys } from '../../src/features/passkeys/index.ts'
import { passkeyRepository } from '../../src/features/passkeys/repository.ts'
import { createRecoveryCodes } from '../../src/features/recovery_codes/index.ts'
import { recoveryCodeRepository } from '../../src/features/recovery_codes/repository.ts'
import { createSmsCodes } from '../../src/features/sms_codes/index.ts'
import { phoneRepository } from '../../src/features/sms_codes/repository.ts'
import { createTextMessages } from '../../src/features/text_messages/index.ts'
import { createTotp } from '../../src/features/totp/index.ts'
import { totpRepository } from '../../src/features/totp/repository.ts'
import type { AccountView } from '../../src/interaction/step.ts'
import { digits, newId } from '../../src/platform/ids.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { createTryLimits } from '../../src/platform/try_limits.ts'
import { createWebAuthn } from '../../src/platform/webauthn.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'
import { fakeNotices } from './notices.ts'
import { accountColumns, testPersonal } from './personal_columns.ts'

const OLD = Buffer.alloc(32, 1)
export const NEW = Buffer.alloc(32, 2)

export function createFactorRooms(database: Database, start: number) {
  const world = { time: start, required: false, emailCodes: true, password: false, active: true }
  const facts: Fact[] = []
  const ended: { accountId: string; reason: string; exceptUid: string | undefined }[] = []
  const clock = { now: () => new Date(world.time) }
  const kv = createModelKeyValue(clock)
  const secretBox = createSecretBox([OLD])
  const { db, transaction } = database
  const outbox = {
    record: async (stated: readonly Fact[]) => {
      facts.push(...stated)
    },
    wake: () => {},
  }
  const find = async (accountId: string) => (await db('accounts').where({ id: accountId }).first('factors'))?.factors
  const view = async (accountId: string): Promise<AccountView> => ({
    ...{ accountId, email: 'ada@example.com', emailVerified: true, active: world.active, epoch: 0 },
    factors: (await find(accountId)) ?? [],
  })
  const shared = {
    ...{ transaction, outbox, clock, newId, secretBox, kv, tries: createTryLimits(kv) },
    ...{ notices: fakeNotices(clock, facts), accounts: { view } },
  }
  const enrolment = createEnrolment({
    ...shared,
    repository: enrolmentRepository(db),
    isRequired: ({ secondFactorRequired }) => world.required || secondFactorRequired === true,
    sessions: {
      endAll: async (accountId, reason, { exceptUid }) => {
        ended.push({ accountId, reason, exceptUid })
        return async () => {}
      },
    },
    dropStandIns: (accountId, tx) => recoveryCodes.service.clear(accountId, tx),
  }).service
  const recoveryCodes = createRecoveryCodes({
    ...shared,
    repository: recoveryCodeRepository(db),
    setFactor: enrolment.setFactor,
  })
  const totp = createTotp({
    ...shared,
    repository: totpRepository(db),
    changeFactor: enrolment.changeFactor,
    setFactor: enrolment.setFactor,
    issuerName: async () => 'Genkan',
  })
  const own = { ...shared, changeFactor: enrolment.changeFactor, setFactor: enrolment.setFactor }
  const phones = phoneRooms(database, own, facts)
  return {
    ...{ world, facts, ended, kv, view, enrolment },
    ...phones,
    passkeys: passkeyRoom(database, { ...own, enrolment }, world),
    codes: recoveryCodes.service,
    totp: totp.service,
    /** An account without anything but its address. */
    async account(): Promise<string> {
      const id = newId()
      const times = { email_verified_at: clock.now(), created_at: clock.now(), updated_at: clock.now() }
      const email = `${id.toLowerCase()}@example.com`
      await db('accounts').insert({ id, ...accountColumns(id, email), state: 'active', ...times })
      return id
    },
    /** What `genkan keys reseal` does, from the old key to the new one. */
    reseal: (sealed: string, purpose: string): string | undefined => {
      const both = createSecretBox([NEW, OLD])
      return both.needsReseal(sealed) ? both.seal(both.open(sealed, purpose), purpose) : undefined
    },
  }
}

type PasskeyParts = Pick<
  Parameters<typeof createPasskeys>[0],
  ('transaction' | 'outbox' | 'clock' | 'newId' | 'kv') | ('accounts' | 'changeFactor' | 'setFactor' | 'enrolment')
>

/** Passkeys of one host, which a brand's own host shares. */
function passkeyRoom({ db }: Database, parts: PasskeyParts, world: { emailCodes: boolean; password: boolean }) {
  return createPasskeys({
    ...parts,
    ...{ issuer: 'https://id.example', relatedOrigins: [], pages: true },
    repository: passkeyRepository(db, testPersonal),
    webauthn: createWebAuthn({ issuer: 'https://id.example', relatedOrigins: ['https://brand.example'] }),
    passwords: { isSet: async () => world.password },
    rpName: async () => 'Genkan',
    signsIn: (methods) => methods.some((method) => method !== 'email_code' || world.emailCodes),
    limit: { perAddress: 100, windowSeconds: 600 },
  }).service
}

type PhoneParts = Omit<Parameters<typeof createSmsCodes>[0], 'repository' | 'texts' | 'digits' | 'mac' | 'macMatches'>

/** Phones in Finland, at no cost: what messages may cost has tests of its own. */
function phoneRooms({ db }: Database, parts: PhoneParts, facts: readonly Fact[]) {
  const secretBox = createSecretBox([OLD])
  const macs = {
    mac: (value: string) => secretBox.mac(value, 'phone'),
    macMatches: (value: string, mac: string) => secretBox.macMatches(value, 'phone', mac),
  }
  const outbox = { ...parts.outbox, wake: () => {} }
  const texts = createTextMessages({
    ...{ ...parts, ...macs, outbox, measure: () => {}, host: 'id.example', sending: async () => true },
    rules: {
      countries: ['FI'],
      budget: { prefixPerHour: 1000, prefixPerDay: 1000, countryPerHour: 1000, countryPerDay: 1000 },
      conversion: { sample: 1000, least: 0 },
    },
    send: async () => {},
    writeCode: async (code) => code,
  })
  const sms = createSmsCodes({
    ...parts,
    ...macs,
    digits,
    texts: texts.service,
    repository: phoneRepository(db),
  }).service
  return {
    sms,
    /** The newest code that was asked for, as it is sent: its ten minutes begin. */
    async sentCode(): Promise<{ to: string; code: string }> {
      const sealed = facts.findLast(({ type }) => type === 'sms.requested')?.sealed
      await sms.sending(String(sealed?.reference))
      return { to: String(sealed?.to), code: String(sealed?.code) }
    },
  }
}
