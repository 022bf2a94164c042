/**
 * The hosted conversation over real HTTP with the real steps, services, pages and SQL; only the engine, the clock and the
 * key/value store are stand-ins. It counts what each request costs, so that two answers can be compared in everything.
 */
import { inspect } from 'node:util'
import type { Context, Next } from 'koa'
import type { RecordedFact } from '../../src/events.ts'
import { createCsrf } from '../../src/http/csrf.ts'
import { createDeviceCookie } from '../../src/http/device_cookie.ts'
import { createErrorHandler } from '../../src/http/error_handler.ts'
import { readForm } from '../../src/http/form.ts'
import { createLanguages } from '../../src/http/language.ts'
import { createLastMethod } from '../../src/http/last_method.ts'
import { createPages } from '../../src/http/page.ts'
import { createRequestContext } from '../../src/http/request_context.ts'
import { createInteractionHints } from '../../src/interaction/hints.ts'
import { createInteraction } from '../../src/interaction/index.ts'
import { canonicalEmail } from '../../src/platform/email_address.ts'
import { openFact } from '../../src/platform/outbox.ts'
import type { Database } from '../../src/platform/postgres.ts'
import { createViews } from '../../src/platform/views.ts'
import { type BrowserOptions, createBrowser } from './conversation_browser.ts'
import { type ConversationRooms, createConversationRooms, ISSUER } from './conversation_rooms.ts'
import { serveKoa } from './koa_server.ts'
import { DEFAULT_LEVELS } from './levels.ts'
import { FACTOR_PAGE } from './safety_rooms.ts'

const START = Date.parse('2026-11-01T12:00:00.000Z')
const STEPS = [
  ...['choose_account', 'identifier', 'register', 'recover', 'recover_code', 'password', 'new_password'],
  ...['email_code', 'verify_email', 'totp', 'lost_factor', 'switch_account', 'consent'],
]

export type Conversation = Awaited<ReturnType<typeof startConversation>>

export async function startConversation(database: Database) {
  const rooms = createConversationRooms(database, START)
  const { kv, secretBox, engine, accounts, sessions, passwords, emailCodes } = rooms
  const { server, hints } = await serve(rooms)
  const consumed = new Set<string>()
  return {
    ...{ world: rooms.world, cost: rooms.cost, kv, database, engine, hints },
    ...{ accounts: accounts.service, sessions: sessions.service, passwords: passwords.service },
    ...{ safety: rooms.safety, outbox: rooms.shared.outbox },
    /** Hands every fact stated since the last call to its consumers, as the deliveries do. */
    async consume(): Promise<void> {
      const rows: FactRow[] = await database.db('outbox').orderBy('id')
      const subscriptions = rooms.features.flatMap(({ subscribe = [] }) => subscribe)
      for (const row of rows.filter(({ id }) => !consumed.has(id))) {
        consumed.add(row.id)
        const sealed = row.sealed === null ? undefined : openFact(secretBox, { id: row.id, sealed: row.sealed })
        const fact = { ...row, accountId: row.account_id ?? undefined, occurredAt: row.occurred_at, sealed }
        for (const { types, handle } of subscriptions) if (types.includes(row.type)) await handle(fact as RecordedFact)
      }
    },
    browser: (options?: BrowserOptions) => createBrowser(server.origin, engine, options, STEPS),
    /** Mails that were asked for, the newest last. `send` does what the mails' consumer does before it sends. */
    async mails(since = new Date(0)): Promise<Mail[]> {
      const asked = database.db('outbox').where({ type: 'mail.requested' }).where('occurred_at', '>=', since)
      const rows = await asked.orderBy('id')
      return rows.map((row: { id: string; sealed: string }) => openFact(secretBox, row) as unknown as Mail)
    },
    /** Sends the newest mail of a walk, when there is one. */
    async deliver(since: Date): Promise<void> {
      const reference = (await this.mails(since)).at(-1)?.reference
      if (reference !== undefined) await emailCodes.service.sending(reference)
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
    /** An account with a proven address, and a password unless it has none. */
    async member(email: string, password?: string): Promise<string> {
      const prepared = password === undefined ? undefined : await passwords.service.prepare(password, [])
      if (prepared?.ok === false) throw new Error(prepared.code)
      return database.transaction(async (tx) => {
        const { accountId } = await accounts.service.createPending({ email }, tx)
        if (prepared !== undefined) await passwords.service.store(accountId, prepared.hash, tx)
        await accounts.service.proveEmail(accountId, email, tx)
        return accountId
      })
    },
    close: () => server.close(),
  }
}

interface FactRow {
  readonly id: string
  readonly type: string
  readonly account_id: string | null
  readonly occurred_at: Date
  readonly sealed: string | null
}

export interface Mail {
  readonly to: string | null
  readonly template: string
  readonly values: { readonly [name: string]: string }
  readonly reference?: string
}

async function serve(rooms: ConversationRooms) {
  const { kv, clock, secretBox, mac, engine, shared, accounts, sessions, safety } = rooms
  const views = createViews({ viewsDir: 'views' })
  const real = createPages({ views })
  const pages: typeof real = {
    ...real,
    render(ctx, template, context, status = 200) {
      if (template !== FACTOR_PAGE) return real.render(ctx, template, context, status)
      const { csrf, offers } = { ...context, csrf: (ctx.state.csrf as (() => string) | undefined)?.() } as {
        csrf: string
        offers: { step: string }[]
      }
      const ways = offers.map(({ step }) => `<a>${step}</a>`).join('')
      ctx.status = status
      ctx.body = `<form action="/interaction/${context.uid}/totp"><input name="csrf" value="${csrf}"></form>${ways}`
    },
  }
  const csrf = createCsrf({
    issuer: ISSUER,
    mac,
    macMatches: (value, tag) => secretBox.macMatches(value, 'test', tag),
  })
  const { locales, pickLocale } = views
  const languages = createLanguages({ issuer: ISSUER, locales, pickLocale })
  const hints = createInteractionHints({ kv, clock })
  const { router } = createInteraction({
    ...{ ...shared, engine: engine.interactions, kv, hints, pages, csrf, readForm, languages },
    accounts: { ...accounts.service, canonicalEmail },
    sessions: sessions.service,
    levels: DEFAULT_LEVELS,
    deviceCookie: createDeviceCookie({ issuer: ISSUER }),
    lastMethod: createLastMethod({ issuer: ISSUER }),
    methodOf: (step) => (step === 'password' ? 'pwd' : step),
    recognise: safety.devices.service.recognise,
    trust: async (...proven) => void (await safety.devices.service.trust(...proven)),
    enrolmentOf: () => ({ policy: 'optional', grace: 0 }),
    steps: rooms.features
      .flatMap(({ steps = [] }) => steps)
      .sort((a, b) => STEPS.indexOf(a.name) - STEPS.indexOf(b.name)),
  })
  const server = await serveKoa(
    createRequestContext({ issuer: ISSUER, trustedProxies: ['127.0.0.1'], languages }),
    createErrorHandler({ pages, logger: { error: fail, warn: () => {} } }),
    insecureCookies,
    csrf.offer,
    router.routes() as never,
  )
  return { server, hints }
}

/** A fault of ours fails the test that met it, with its cause on the console. */
function fail(facts: object): void {
  process.stderr.write(`${inspect(facts)}\n`)
}

/** Plain HTTP between this test and the server: cookies of an https issuer would not be set. */
async function insecureCookies(ctx: Context, next: Next): Promise<void> {
  ctx.cookies.secure = true
  await next()
}
