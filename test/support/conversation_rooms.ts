/** The rooms behind the conversation with real SQL and a key/value store in memory; hashing costs a count, not time. */
import type { Feature } from '../../src/feature.ts'
import { createAccounts } from '../../src/features/accounts/index.ts'
import { accountRepository } from '../../src/features/accounts/repository.ts'
import { createEmailCodes } from '../../src/features/email_codes/index.ts'
import { createIdentifiers } from '../../src/features/identifiers/index.ts'
import { createPasswords } from '../../src/features/passwords/index.ts'
import { passwordRepository } from '../../src/features/passwords/repository.ts'
import { createRecovery } from '../../src/features/recovery/index.ts'
import { createRegistration } from '../../src/features/registration/index.ts'
import { createSessions } from '../../src/features/sessions/index.ts'
import { sessionRepository } from '../../src/features/sessions/repository.ts'
import type { Step } from '../../src/interaction/step.ts'
import { digits, newId } from '../../src/platform/ids.ts'
import type { KeyValue } from '../../src/platform/key_value.ts'
import { createOutbox } from '../../src/platform/outbox.ts'
import { weaknessOf } from '../../src/platform/password_strength.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'
import { createTestAbuse } from './abuse.ts'
import { createFakeEngine } from './conversation_engine.ts'
import { testPersonal } from './personal_columns.ts'
import { createSafetyRooms } from './safety_rooms.ts'

export const ISSUER = 'https://id.example'

/** What one request cost. Outbox rows are counted by who compares. */
export interface Cost {
  hashes: number
  statements: number
  commands: number
}

export type ConversationRooms = ReturnType<typeof createConversationRooms>

export function createConversationRooms(database: Database, start: number) {
  const world = { time: start }
  const clock = { now: () => new Date(world.time) }
  const cost: Cost = { hashes: 0, statements: 0, commands: 0 }
  database.db.on('query', ({ sql }: { sql: string }) => {
    if (!/^(begin|commit|rollback|savepoint)/i.test(sql)) cost.statements++
  })
  const kv = counted(createModelKeyValue(clock), cost)
  const secretBox = createSecretBox([Buffer.alloc(32, 7)])
  const engine = createFakeEngine(start)
  const outbox = createOutbox({ personal: testPersonal, secretBox, clock })
  const warn = () => {}
  const shared = { transaction: database.transaction, outbox, clock, newId, warn, issuer: ISSUER, home: '/account' }
  const mac = (value: string) => secretBox.mac(value, 'test')
  const { readEmail } = createIdentifiers({ ...shared, kv, mac, refused: () => {} }).service
  const base = { ...shared, database, kv, engine, readEmail }
  const { accounts, sessions } = createAccountsAndSessions(base)
  const abuse = createTestAbuse(kv, clock)
  const passwords = createPasswords({
    ...shared,
    repository: passwordRepository(database.db, testPersonal),
    passwordHash: fakeHash(cost),
    weaknessOf: async (password, own) => weaknessOf(password, own),
    guard: abuse.service.signIn,
    mac,
    settings: { minLength: 8, brandWords: async () => ['genkan'], perIdentifier: 10 },
  })
  const emailCodes = createEmailCodes({
    ...{ ...shared, kv, digits, mac, macMatches: (value, tag) => secretBox.macMatches(value, 'test', tag) },
    accounts: accounts.service,
    readEmail,
    passwords: passwords.service,
  })
  const registration = createRegistration({
    ...{ ...shared, guard: abuse.service.request, password: 'optional', accounts: accounts.service, readEmail },
    isClosed: async () => false,
    passwords: { ...passwords.service, minLength: 8 },
  })
  const safety = createSafetyRooms({ ...shared, kv, database, accounts, sessions })
  const recovery = createRecovery({
    ...{ ...shared, notices: safety.notices.service, accounts: accounts.service },
    ...{ passwords: passwords.service, sessions: sessions.service },
    ...{ codes: emailCodes.service, readEmail, minLength: 8, guard: abuse.service.request },
  })
  const features: readonly Pick<Feature, 'steps' | 'subscribe' | 'reacts'>[] = [
    ...[accounts, passwords, emailCodes, registration, recovery, ...safety.features, consentStep()],
  ]
  for (const reaction of features.flatMap(({ reacts = [] }) => reacts)) outbox.onRecord(reaction)
  return {
    ...{ world, clock, cost, kv, secretBox, mac, engine, shared, safety, features },
    ...{ accounts, sessions, passwords, emailCodes },
  }
}

type Base = Pick<Parameters<typeof createAccounts>[0], 'transaction' | 'clock' | 'newId' | 'warn' | 'readEmail'> & {
  readonly outbox: ReturnType<typeof createOutbox>
  readonly database: Database
  readonly kv: KeyValue
  readonly engine: ReturnType<typeof createFakeEngine>
}

function createAccountsAndSessions(base: Base) {
  const { database, engine, ...shared } = base
  const accounts = createAccounts({
    ...shared,
    leadAway: async () => undefined,
    mac: (value) => `mac of ${value}`,
    repository: accountRepository(database.db, testPersonal),
    endSessions: (...args) => sessions.service.endAll(...args),
    retention: { pendingAccountDays: 7 },
  })
  const sessions = createSessions({
    ...shared,
    repository: sessionRepository(database.db, testPersonal),
    accounts: accounts.service,
    clients: { backchannelUri: async () => undefined },
    consents: { revoke: async () => false },
    engine: { destroySession: async (uid) => void engine.dead.add(uid), destroyGrant: async () => {} },
    limits: { idleSeconds: 28_800, absoluteSeconds: 2_592_000 },
    deliverLogout: async () => {},
    retention: { ipDays: 30, offlineGrantSeconds: 86_400 },
  })
  return { accounts, sessions }
}

function counted(kv: KeyValue, cost: Cost): KeyValue {
  return new Proxy(kv, {
    get: (target, name) => {
      cost.commands++
      return Reflect.get(target, name)
    },
  })
}

function fakeHash(cost: Cost) {
  const work = async <T>(value: T): Promise<T> => {
    cost.hashes++
    await new Promise((resolve) => setImmediate(resolve))
    return value
  }
  return {
    hash: (password: string) => work(`hash of ${password}`),
    verify: (hash: string, password: string) => work(hash === `hash of ${password}`),
    verifyDummy: () => work(false as const),
    needsRehash: () => false,
  }
}

/** A stand-in for the consent page of the consents feature. */
function consentStep(): { readonly steps: readonly Step[] } {
  const step = {
    name: 'consent',
    feature: 'consents',
    prompts: ['consent'],
    meets: ['consent'],
    needed: ({ prompt }) => prompt.name === 'consent',
    show: async () => ({ account: { email: 'x@example.com' }, scopes: [], hadConsent: false, clientHost: '' }),
    input: { safeParse: (data: unknown) => ({ success: true, data }) } as unknown as Step['input'],
    submit: async (input) =>
      (input as { action: string }).action === 'allow'
        ? { ok: true, finish: { consent: { grantId: 'g1' } } }
        : { ok: true, deny: { error: 'access_denied', description: 'denied' } },
  } satisfies Step
  return { steps: [step] }
}
