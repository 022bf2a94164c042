/** The hosted conversation and the account pages, wired. The table of steps in `STEPS` decides the order of the pages. */
import { type Config, ConfigError } from './config/config.ts'
import { suggestion } from './config/problems.ts'
import { enrolmentPolicy } from './enrolment_policy.ts'
import type { Feature } from './feature.ts'
import { createAccountArea } from './features/account_area/index.ts'
import type { AccountArea, SecurityRow } from './features/account_area/types.ts'
import { createAccountPages } from './features/account_pages/index.ts'
import { createAccountSignIn } from './features/account_sign_in/index.ts'
import type { SignedIn } from './features/account_sign_in/types.ts'
import { createApprovalPages } from './features/approvals/index.ts'
import { ACCOUNT_CLIENT_ID } from './features/clients/types.ts'
import { createDevicePages } from './features/devices/index.ts'
import { createEnrolling, createSecurityPages } from './features/enrolment/index.ts'
import type { Setup } from './features/enrolment/types.ts'
import { createNoticePages } from './features/notices/index.ts'
import { createPasskeyPages } from './features/passkeys/index.ts'
import { servesPasskeys } from './features/passkeys/types.ts'
import { createRecovery } from './features/recovery/index.ts'
import { createRecoveryCodePages } from './features/recovery_codes/index.ts'
import { createRegistration } from './features/registration/index.ts'
import { createPhonePages } from './features/sms_codes/index.ts'
import { createTotpPages } from './features/totp/index.ts'
import { createIdentityPages } from './features/upstream_sign_in/index.ts'
import type { Rooms } from './features.ts'
import type { Foundation } from './foundation.ts'
import type { Csrf } from './http/csrf.ts'
import { createDeviceCookie } from './http/device_cookie.ts'
import { readForm } from './http/form.ts'
import type { Languages } from './http/language.ts'
import { createLastMethod } from './http/last_method.ts'
import type { Pages } from './http/page.ts'
import type { InteractionHints } from './interaction/hints.ts'
import { createInteraction } from './interaction/index.ts'
import type { Levels } from './interaction/levels.ts'
import type { Step } from './interaction/step.ts'
import { documentView } from './oidc/client_id_metadata.ts'
import type { RedeemedCode } from './oidc/first_party_code.ts'
import type { EngineInteractions } from './oidc/interactions.ts'
import { canonicalEmail } from './platform/email_address.ts'
import { newToken } from './platform/ids.ts'

/**
 * The order of the conversation: the first step of this list that is needed is shown. `proves` is the method of its proof,
 * by which the levels know it; a device is recognised without a page. `enrols` is the method that it sets up.
 */
const STEPS: readonly { readonly name: string; readonly proves?: string; readonly enrols?: string }[] = [
  { name: 'choose_account' },
  { name: 'upstream_account' },
  { name: 'identifier' },
  { name: 'register' },
  { name: 'recover' },
  { name: 'recover_code' },
  { name: 'new_password' },
  { name: 'realm' },
  { name: 'password', proves: 'pwd' },
  { name: 'passkey', proves: 'passkey' },
  { name: 'upstream', proves: 'upstream' },
  { name: 'email_code', proves: 'email_code' },
  { name: 'verify_email' },
  { name: 'totp', proves: 'totp' },
  { name: 'sms_code', proves: 'sms_code' },
  { name: 'recovery_code', proves: 'recovery_code' },
  { name: 'lost_factor' },
  { name: 'link_upstream' },
  { name: 'enrol' },
  { name: 'totp_setup', enrols: 'totp' },
  { name: 'passkey_setup', enrols: 'passkey' },
  { name: 'sms_setup', enrols: 'sms_code' },
  { name: 'new_recovery_codes' },
  { name: 'passkey_offer' },
  { name: 'switch_account' },
  { name: 'consent' },
]
const METHODS: readonly string[] = [...STEPS.flatMap(({ proves }) => proves ?? []), 'device']

export interface ConversationDeps {
  readonly engine: EngineInteractions
  readonly pages: Pages
  readonly csrf: Csrf
  readonly hints: InteractionHints
  readonly languages: Languages
  readonly levels: Levels
  readonly redeem: (code: string, verifier: string, redirectUri: string) => Promise<RedeemedCode | undefined>
}

/** Builds what people see: the rooms that only serve pages, and the conversation over all steps. */
export function createConversation(foundation: Foundation, rooms: Rooms, deps: ConversationDeps): readonly Feature[] {
  const { config, clock, sealedKeyValue, metrics } = foundation
  const { accounts, sessions, devices } = rooms
  refuseUnknownMethods(config)
  const others = createModules(foundation, rooms)
  const enrolling = createEnrolling({ enrolment: rooms.enrolment.service, setups: setupsOf([...rooms.all, ...others]) })
  const modules = [...others, enrolling]
  const features = [...rooms.all, ...modules]
  const interaction = createInteraction({
    ...deps,
    clock,
    home: config.home,
    steps: inOrder(features.flatMap(({ steps = [] }) => steps)),
    kv: sealedKeyValue,
    accounts: { ...accounts.service, canonicalEmail },
    realmOf: rooms.realms.service.of,
    sessions: sessions.service,
    recognise: devices.service.recognise,
    tookBack: rooms.upstreamLogout.service.tookBack,
    trust: async (...proven) => void (await devices.service.trust(...proven)),
    deviceCookie: createDeviceCookie(config),
    lastMethod: createLastMethod(config),
    methodOf: (step) => STEPS.find(({ name }) => name === step)?.proves,
    enrolmentOf: enrolmentPolicy(config.secondFactor),
    readForm,
    signedIn: (method) => metrics.signIn('success', method),
  })
  return [
    ...modules,
    { name: 'interaction', router: interaction.router },
    createNoticePages({
      ...deps,
      notices: rooms.notices.service,
      home: config.home,
      recoverPath: config.modules.accountPages && config.modules.recovery ? '/account/recover' : undefined,
    }),
    ...(config.modules.accountPages ? createOwnPages(foundation, rooms, deps) : []),
  ]
}

/** Parts of the conversation that an operator may switch off. What is off is not built: it has no step to post to (A96). */
function createModules(foundation: Foundation, rooms: Rooms): readonly Feature[] {
  const { config, database, clock, outbox } = foundation
  const { accounts, passwords, emailCodes, sessions } = rooms
  const guard = rooms.abuse.service.request
  const { readEmail } = rooms.identifiers.service
  const { registration, recovery } = config.modules
  const shared = {
    ...{ transaction: database.transaction, clock, outbox, issuer: config.issuer, home: config.home },
    notices: rooms.notices.service,
  }
  const policy = { ...passwords.service, minLength: config.passwords.minLength }
  const register = () =>
    createRegistration({
      ...shared,
      guard,
      password: config.registration.password,
      accounts: accounts.service,
      readEmail,
      isClosed: rooms.realms.service.closesAddress,
      passwords: policy,
    })
  const recover = () =>
    createRecovery({
      ...shared,
      accounts: accounts.service,
      passwords: policy,
      sessions: sessions.service,
      codes: emailCodes.service,
      readEmail,
      guard,
      minLength: config.passwords.minLength,
    })
  return [...(registration ? [register()] : []), ...(recovery ? [recover()] : [])]
}

/** The account pages: a first-party client of this same provider. */
function createOwnPages(foundation: Foundation, rooms: Rooms, deps: ConversationDeps): readonly Feature[] {
  const { config, database, clock, outbox, secretBox } = foundation
  const { accounts, passwords, emailCodes, sessions, consents, devices, notices } = rooms
  const { pages, csrf, engine } = deps
  const signIn = createAccountSignIn({
    issuer: config.issuer,
    clientId: ACCOUNT_CLIENT_ID,
    authorizationEndpoint: `${config.issuer}/auth`,
    secretBox,
    clock,
    newToken,
    redeem: deps.redeem,
    sessions: sessions.service,
    accounts: accounts.service,
    isClosed: rooms.realms.service.closes,
    levels: deps.levels,
    pages,
    csrf,
    languages: deps.languages,
  })
  const area = createAccountArea({
    ...{ issuer: config.issuer, gate: signIn.gate, pages, csrf },
    idleSeconds: config.sessions.idleSeconds,
  })
  const factors = createFactorPages(foundation, rooms, area)
  const own = createAccountPages({
    transaction: database.transaction,
    outbox,
    clock,
    notices: notices.service,
    ownClientId: ACCOUNT_CLIENT_ID,
    accounts: { ...accounts.service, canonicalEmail },
    readEmail: rooms.identifiers.service.readEmail,
    realms: rooms.realms.service,
    passwords: passwords.service,
    emailCodes: emailCodes.service,
    kv: foundation.sealedKeyValue,
    sessions: sessions.service,
    consents: consents.service,
    // Of a document its address says enough: this page waits for nobody else's server.
    clients: { view: async (clientId) => documentView(clientId, config.clientDocuments) ?? engine.client(clientId) },
    ...{ agents: rooms.agents.service, approvals: rooms.approvals.service },
    agentIdleDays: config.agents.idleDays,
    area,
    pages,
    languages: deps.languages,
    passwordMinLength: config.passwords.minLength,
  })
  const listed = createDevicePages({
    devices: devices.service,
    area,
    deviceCookie: createDeviceCookie(config),
    clock,
  })
  const asked = createApprovalPages({
    ...{ approvals: rooms.approvals.service, area, clock },
    amrOf: async (uid) => (await sessions.service.findLive(uid))?.amr ?? [],
  })
  return [signIn, own, listed, asked, ...factors]
}

/** What an account signs in with: a page for each method, and the page that lists them. */
function createFactorPages({ config, clock }: Foundation, rooms: Rooms, area: AccountArea): readonly Feature[] {
  const {
    totp,
    recoveryCodes,
    smsCodes,
    passkeys,
    passwords,
    brands,
    identities,
    identifications,
    proofings,
    upstreams,
    upstreamSignIn,
  } = rooms
  const codes = createRecoveryCodePages({ codes: recoveryCodes.service, area })
  const issuerName = async () => (await brands.service.page()).name
  const { issuer } = config
  const keys = servesPasskeys(issuer)
    ? [createPasskeyPages({ passkeys: passkeys.service, area, clock, rpName: issuerName, issuer })]
    : []
  const app = createTotpPages({
    totp: totp.service,
    area,
    issuerName,
    afterSetUp: codes.afterSetUp,
  })
  const linked = createIdentityPages({
    ...{ service: upstreamSignIn.service, identities: identities.service, identifications: identifications.service },
    ...{ proofings: proofings.service, upstreams: upstreams.service, area, clock },
  })
  const password = async ({ accountId }: SignedIn): Promise<SecurityRow> => {
    const isSet = await passwords.service.isSet(accountId)
    return { label: 'common.password', state: isSet ? 'security.on' : 'security.off', link: '/account/password' }
  }
  const phone = smsCodes && createPhonePages({ sms: smsCodes.service, area, afterSetUp: codes.afterSetUp })
  const phones = phone === undefined ? [] : [phone]
  const rows = [
    password,
    ...keys.map(({ row }) => row),
    app.row,
    ...phones.map(({ row }) => row),
    codes.row,
    linked.row,
  ]
  return [...keys, app, ...phones, codes, linked, createSecurityPages({ area, rows })]
}

/** The steps that set a method up, as the page that offers them lists them. */
function setupsOf(features: readonly Feature[]): readonly Setup[] {
  const built = features.flatMap(({ steps = [] }) => steps.map(({ name }) => name))
  return STEPS.flatMap(({ name, enrols }) =>
    enrols !== undefined && built.includes(name) ? [{ method: enrols, step: name, label: `${name}.offer` }] : [],
  )
}

/** The steps as the table orders them. @throws Error for one that has no place in it */
export function inOrder(steps: readonly Step[]): readonly Step[] {
  const names = STEPS.map(({ name }) => name)
  const unknown = steps.find(({ name }) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`step ${unknown.name} has no place in the conversation`)
  return [...steps].sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name))
}

/** A level that names a method nobody has could never be reached by it: said at start, not at the first sign-in. */
function refuseUnknownMethods({ levels }: Config): void {
  const problems = levels.flatMap(({ acr, methods }) =>
    [...new Set(methods.flat())]
      .filter((method) => !METHODS.includes(method))
      .map((method) => `levels.${acr}: there is no method ${method}${suggestion(method, METHODS)}`),
  )
  if (problems.length > 0) throw new ConfigError(problems)
}
