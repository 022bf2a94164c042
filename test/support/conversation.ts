/**
 * The hosted conversation over real HTTP with the real steps, services, pages and SQL; only the engine, the clock and the
 * key/value store are stand-ins. It counts what each request costs, so that two answers can be compared in everything.
 */
import type { Context, Next } from 'koa'
import { createAccounts } from '../../src/features/accounts/index.ts'
import { accountRepository } from '../../src/features/accounts/repository.ts'
import { canonicalEmail } from '../../src/features/accounts/types.ts'
import { createEmailCodes } from '../../src/features/email_codes/index.ts'
import { createPasswords } from '../../src/features/passwords/index.ts'
import { passwordRepository } from '../../src/features/passwords/repository.ts'
import { createRecovery } from '../../src/features/recovery/index.ts'
import { createRegistration } from '../../src/features/registration/index.ts'
import { createSessions } from '../../src/features/sessions/index.ts'
import { sessionRepository } from '../../src/features/sessions/repository.ts'
import { createCsrf } from '../../src/http/csrf.ts'
import { createErrorHandler } from '../../src/http/error_handler.ts'
import { readForm } from '../../src/http/form.ts'
import { createPages } from '../../src/http/page.ts'
import { createRequestContext } from '../../src/http/request_context.ts'
import type { EngineInteraction, EngineInteractions } from '../../src/interaction/engine.ts'
import { createInteractionHints } from '../../src/interaction/hints.ts'
import { createInteraction } from '../../src/interaction/index.ts'
import type { ClientView, PromptName, Step } from '../../src/interaction/step.ts'
import { digits, newId } from '../../src/platform/ids.ts'
import type { KeyValue } from '../../src/platform/key_value.ts'
import { createOutbox, openFact } from '../../src/platform/outbox.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createSecretBox } from '../../src/platform/secret_box.ts'
import { createViews } from '../../src/platform/views.ts'
import { createModelKeyValue } from '../contracts/key_value_model.ts'
import { formsOf } from './html.ts'
import { serveKoa } from './koa_server.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const STEPS = [
  ...['choose_account', 'identifier', 'register', 'recover', 'recover_code', 'password', 'new_password'],
  ...['verify_email', 'switch_account', 'consent'],
]

export interface Cost {
  hashes: number
  statements: number
  commands: number
  facts: number
}

export type Conversation = Awaited<ReturnType<typeof startConversation>>

/** What the engine has been told. */
export interface EngineRecord extends EngineInteraction {
  result?: { readonly [key: string]: unknown }
  replaceSession?: boolean
}

export async function startConversation(database: Database) {
  const world = { time: START }
  const clock = { now: () => new Date(world.time) }
  const cost: Cost = { hashes: 0, statements: 0, commands: 0, facts: 0 }
  const kv = counted(createModelKeyValue(clock), cost)
  const secretBox = createSecretBox([Buffer.alloc(32, 7)])
  database.db.on('query', ({ sql }: { sql: string }) => {
    if (/^(begin|commit|rollback|savepoint)/i.test(sql)) return
    cost.statements++
    if (/insert into "outbox"/.test(sql)) cost.facts += (sql.match(/DEFAULT|\(\?|\(\$/gi) ?? []).length
  })
  const engine = createFakeEngine()
  const outbox = createOutbox({ secretBox, clock })
  const shared = { transaction: database.transaction, outbox, clock, newId, warn: () => {}, issuer: 'https://id.example' }
  const mac = (value: string) => secretBox.mac(value, 'test')
  const accounts = createAccounts({
    ...shared,
    repository: accountRepository(database.db),
    kv,
    endSessions: (...args) => sessions.service.endAll(...args),
    retention: { pendingAccountDays: 7 },
  })
  const sessions = createSessions({
    ...shared,
    repository: sessionRepository(database.db),
    accounts: accounts.service,
    clients: { backchannelUri: async () => undefined },
    consents: { revoke: async () => false },
    engine: { destroySession: async (uid) => void engine.dead.add(uid), destroyGrant: async () => {} },
    limits: { idleSeconds: 28_800, absoluteSeconds: 2_592_000 },
    deliverLogout: async () => {},
    retention: { ipDays: 30, offlineGrantSeconds: 86_400 },
  })
  const passwords = createPasswords({
    ...shared,
    repository: passwordRepository(database.db),
    passwordHash: fakeHash(cost),
    kv,
    mac,
    settings: { minLength: 8, brandWords: ['genkan'], perAddress: 1000, perIdentifier: 10, windowSeconds: 600 },
  })
  const emailCodes = createEmailCodes({
    ...{ ...shared, kv, digits, mac, macMatches: (value, tag) => secretBox.macMatches(value, 'test', tag) },
    accounts: { ...accounts.service, canonicalEmail },
  })
  const registration = createRegistration({
    ...{ ...shared, kv, accounts: { ...accounts.service, canonicalEmail } },
    passwords: { ...passwords.service, minLength: 8 },
  })
  const recovery = createRecovery({
    ...{ ...shared, accounts: accounts.service, passwords: passwords.service, sessions: sessions.service },
    ...{ codes: emailCodes.service, canonicalEmail, minLength: 8 },
  })
  const views = createViews({ viewsDir: 'views' })
  const pages = createPages({ views, brand: { name: 'Genkan' } })
  const csrf = createCsrf({
    issuer: 'https://id.example',
    mac,
    macMatches: (value, tag) => secretBox.macMatches(value, 'test', tag),
  })
  const hints = createInteractionHints({ kv, clock })
  const { router } = createInteraction({
    ...{ ...shared, engine: engine.interactions, kv, hints, pages, csrf, readForm, pickLocale: views.pickLocale },
    accounts: { ...accounts.service, canonicalEmail },
    sessions: sessions.service,
    steps: [accounts, passwords, emailCodes, registration, recovery, consentStep()]
      .flatMap(({ steps = [] }) => steps)
      .sort((a, b) => STEPS.indexOf(a.name) - STEPS.indexOf(b.name)),
  })
  const server = await serveKoa(
    createRequestContext({ issuer: 'https://id.example', trustedProxies: ['127.0.0.1'], pickLocale: views.pickLocale }),
    createErrorHandler({ pages, logger: { error: (facts) => errors.push(facts), warn: () => {} } }),
    insecureCookies,
    csrf.offer,
    router.routes() as never,
  )
  const errors: object[] = []
  return {
    ...{ world, cost, kv, database, engine, accounts: accounts.service, sessions: sessions.service, errors, hints },
    passwords: passwords.service,
    browser: (options?: BrowserOptions) => createBrowser(server.origin, engine, options),
    /** Mails that were asked for, the newest last. `send` does what the mails' consumer does before it sends. */
    async mails(): Promise<Mail[]> {
      const rows = await database.db('outbox').where({ type: 'mail.requested' }).orderBy('id')
      return rows.map((row: { id: string; sealed: string }) => openFact(secretBox, row) as unknown as Mail)
    },
    async send(): Promise<Mail> {
      const mail = (await this.mails()).at(-1)
      if (mail === undefined) throw new Error('no mail was asked for')
      if (mail.reference !== undefined) await emailCodes.service.sending(mail.reference)
      return mail
    },
    async facts(): Promise<string[]> {
      const rows = await database.db('outbox').orderBy('id').select('type')
      return rows.map(({ type }: { type: string }) => type)
    },
    /** An account with a proven address. */
    async member(email: string, password: string): Promise<string> {
      const prepared = await passwords.service.prepare(password, [])
      if (!prepared.ok) throw new Error(prepared.code)
      return database.transaction(async (tx) => {
        const { accountId } = await accounts.service.createPending({ email }, tx)
        await passwords.service.store(accountId, prepared.hash, tx)
        await accounts.service.proveEmail(accountId, email, tx)
        return accountId
      })
    },
    close: () => server.close(),
  }
}

export interface Mail {
  readonly to: string | null
  readonly template: string
  readonly values: { readonly [name: string]: string }
  readonly reference?: string
}

/** Plain HTTP between this test and the server: cookies of an https issuer would not be set. */
async function insecureCookies(ctx: Context, next: Next): Promise<void> {
  ctx.cookies.secure = true
  await next()
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

function createFakeEngine() {
  const records = new Map<string, EngineRecord>()
  const browsers = new Map<string, { accountId: string; uid: string }>()
  const dead = new Set<string>()
  const clients = new Map<string, ClientView>([
    ['demo-web', { clientId: 'demo-web', name: 'Demo shop', firstParty: false, initiateLoginUri: 'https://shop.example/login' }],
    ['plain', { clientId: 'plain', name: 'Plain', firstParty: false }],
  ])
  const browserOf = (ctx: Context) => ctx.cookies.get('browser') ?? ''
  const interactions: EngineInteractions = {
    async load(ctx, uid) {
      const found = records.get(uid)
      return found !== undefined && ctx.cookies.get('genkan_interaction') === uid ? found : undefined
    },
    async finish(_ctx, uid, result, { replaceSession = false } = {}) {
      const found = records.get(uid)
      if (found === undefined) throw new Error('interaction not found')
      found.result = result
      found.replaceSession = replaceSession
      return `https://id.example/auth/${uid}`
    },
    async browserSession(ctx) {
      const session = browsers.get(browserOf(ctx))
      return session === undefined || dead.has(session.uid) ? undefined : session
    },
    async endBrowserSession(ctx) {
      browsers.delete(browserOf(ctx))
    },
    client: async (clientId) => clients.get(clientId),
  }
  return {
    ...{ records, browsers, dead, clients, interactions },
    /** An interaction as the engine opens it for an authorization request. */
    open(
      name: PromptName = 'login',
      more: { params?: object; session?: EngineInteraction['session']; cid?: string; reasons?: string[]; clientId?: string } = {},
    ): EngineRecord {
      const { params = {}, session, cid = newId(), reasons = ['no_session'], clientId = 'demo-web' } = more
      const prompt = { name, reasons, details: {} }
      const record = { uid: newId(), cid, prompt, params: { ...params }, clientId, session, exp: START / 1000 + 3600 }
      records.set(record.uid, record)
      return record
    },
  }
}

interface BrowserOptions {
  readonly ip?: string
  readonly headers?: { readonly [name: string]: string }
}

export interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly headers: Headers
  readonly html: string
  /** Name of the step whose page it is, from the form's action. */
  readonly step: string | undefined
}

/** A browser with its own cookies. `visit` and `submit` do not follow redirects out of the conversation. */
function createBrowser(origin: string, engine: ReturnType<typeof createFakeEngine>, options: BrowserOptions = {}) {
  const jar = new Map<string, string>([['browser', newId()]])
  let csrf = ''
  async function request(path: string, init: RequestInit = {}): Promise<Answer> {
    const uid = path.split('/')[2] ?? ''
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`)
    if (held.has(uid)) cookies.push(`genkan_interaction=${uid}`)
    const headers = { 'X-Forwarded-For': options.ip ?? '203.0.113.7', Cookie: cookies.join('; '), Accept: 'text/html' }
    const response = await fetch(origin + path, {
      redirect: 'manual',
      ...init,
      headers: { ...headers, ...options.headers, ...init.headers },
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      jar.set(name, value)
    }
    const html = await response.text()
    const forms = formsOf(html)
    const token = forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'csrf')?.value
    if (token !== undefined) csrf = token
    const step = forms.map(({ action }) => action.split('/')[3] ?? '').find((name) => STEPS.includes(name))
    const location = response.headers.get('location') ?? undefined
    return { status: response.status, location, headers: response.headers, html, step }
  }
  const held = new Set<string>()
  const browser = {
    jar,
    id: jar.get('browser') ?? '',
    request,
    /** Gives this browser the interaction's cookie, as the engine's redirect does. */
    hold: ({ uid }: { uid: string }) => void held.add(uid),
    drop: ({ uid }: { uid: string }) => void held.delete(uid),
    signIn: (session: { accountId: string; uid: string }) => void engine.browsers.set(jar.get('browser') ?? '', session),
    visit: (interaction: { uid: string }, more = '') => request(`/interaction/${interaction.uid}${more}`),
    /** Posts a form; the anti-forgery token is that of the last page. */
    post(interaction: { uid: string }, action: string, fields: { readonly [name: string]: string } = {}): Promise<Answer> {
      const body = new URLSearchParams({ csrf, ...fields })
      return request(`/interaction/${interaction.uid}/${action}`, { method: 'POST', body })
    },
    /** Posts, and opens the page that the conversation then shows. */
    async submit(interaction: { uid: string }, action: string, fields: { readonly [name: string]: string } = {}) {
      const answer = await browser.post(interaction, action, fields)
      return answer.location === `/interaction/${interaction.uid}` ? browser.visit(interaction) : answer
    },
  }
  return browser
}
