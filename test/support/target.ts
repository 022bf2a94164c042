/**
 * A server to be attacked: PostgreSQL and Redis behind it, an SMTP server beside it, a watcher inside it, and persons who each
 * come from an address of their own, as through a trusted proxy. Limits are those of production.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import * as oidc from 'openid-client'
import pg from 'pg'
import { type Browser, type BrowserOptions, createBrowser, type Page } from './browser.ts'
import { authorization, PASSWORD, redeem, register, SECRET, SETTINGS } from './journeys.ts'
import { type SmtpMailbox, startMailbox } from './mailbox.ts'
import { MARK, type Observation } from './observer.ts'
import { type OpenedRows, openedRows } from './personal_columns.ts'
import { realStores, type Server, type ServerOptions, type Stores, startServer } from './server.ts'

const OBSERVER = fileURLToPath(new URL('observer.ts', import.meta.url))

/** The first-party client: its people are asked for no consent. */
export const OWN = 'https://own.test.example'
export const CALLBACK = `${OWN}/callback`

export interface Target extends OpenedRows {
  readonly server: Server
  readonly issuer: string
  readonly mailbox: SmtpMailbox
  readonly stores: Stores & { readonly redisUrl: string }
  /** The `own` client. */
  readonly client: oidc.Configuration
  /** A browser at an address that nobody else has (or at `ip`). */
  person(options?: BrowserOptions & { ip?: string }): Browser
  /** Opens the conversation for the `own` client. */
  open(browser: Browser, parameters?: { readonly [name: string]: string }): Promise<Page>
  /** Registers by the front door, to the end. */
  signUp(email: string, password?: string): Promise<Member>
  /** Runs one statement past the product. */
  sql<Row extends object>(statement: string, values?: readonly unknown[]): Promise<Row[]>
  observe(): Promise<Observation>
  /** Resolves when every fact stated so far has been delivered: nothing more will arrive by mail. */
  settled(): Promise<void>
  close(): Promise<void>
}

export interface Member {
  readonly email: string
  readonly password: string
  readonly sub: string
  /** Signed in. */
  readonly browser: Browser
  readonly tokens: Awaited<ReturnType<typeof redeem>>
}

let lastAddress = 0

/** openid-client for `own`. Its requests go straight to the process, whatever stands in front of it for browsers. */
async function ownClient({ origin, issuer }: Server): Promise<oidc.Configuration> {
  const metadata = await fetch(`${origin}/.well-known/openid-configuration`)
  const client = new oidc.Configuration(
    (await metadata.json()) as oidc.ServerMetadata,
    'own',
    undefined,
    oidc.ClientSecretBasic(SECRET),
  )
  oidc.allowInsecureRequests(client)
  client[oidc.customFetch] = (url, options) => fetch(url.replace(issuer, origin), options as RequestInit)
  return client
}

/** Starts a target. `stores` may lead through relays; `sql` goes to `database` past them. */
export async function startTarget(
  options: ServerOptions & { database?: string; stores?: Stores & { readonly redisUrl: string } } = {},
): Promise<Target> {
  const stores = options.stores ?? (await realStores())
  const mailbox = await startMailbox()
  const env = {
    SMTP_URL: mailbox.url,
    TRUSTED_PROXIES: '127.0.0.1',
    NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import=${OBSERVER}`,
    ...options.env,
  }
  const server = await startServer({ settings: SETTINGS, ...options, stores, env })
  const pool = new pg.Pool({ connectionString: options.database ?? stores.databaseUrl, max: 2 })
  pool.on('error', () => {})
  const client = await ownClient(server)
  const person: Target['person'] = ({ ip = address(), headers = {}, ...more } = {}) =>
    createBrowser({ stopAt: [OWN], ...more, headers: { 'x-forwarded-for': ip, ...headers } })
  const sql: Target['sql'] = async (statement, values = []) => (await pool.query(statement, [...values])).rows
  const target: Target = {
    server,
    issuer: server.issuer,
    mailbox,
    stores,
    client,
    person,
    open: async (browser, parameters = {}) => browser.get((await authorization(client, CALLBACK, parameters)).url),
    async signUp(email, password = PASSWORD) {
      const browser = person()
      const request = await authorization(client, CALLBACK, { prompt: 'create', scope: 'openid email profile' })
      const end = await register(browser, await browser.get(request.url), mailbox, email, password)
      const tokens = await redeem(client, request, end)
      return { email, password, sub: tokens.claims()?.sub ?? '', browser, tokens }
    },
    sql,
    ...openedRows(sql, server.env.GENKAN_SECRET_KEYS),
    observe: () => observe(server),
    settled: () => settled(target),
    async close() {
      await Promise.all([pool.end(), mailbox.stop(), server.close()])
    },
  }
  return target
}

async function settled({ sql }: Target): Promise<void> {
  const open = `select 1 from outbox where seq is null union all select 1 from deliveries where state = 'pending' limit 1`
  for (let tries = 0; tries < 400; tries++) {
    if ((await sql(open)).length === 0) return
    await sleep(50)
  }
  throw new Error('facts are still waiting for their delivery')
}

/** Addresses of documentation and private use; each is given once in a test file. */
function address(): string {
  lastAddress += 1
  return `10.${(lastAddress >> 16) & 255}.${(lastAddress >> 8) & 255}.${lastAddress & 255}`
}

async function observe(server: Server): Promise<Observation> {
  const seen = () => server.logs().filter((line) => line.startsWith(MARK))
  const before = seen().length
  server.signal('SIGUSR2')
  for (let tries = 0; tries < 500; tries++) {
    const line = seen()[before]
    if (line !== undefined) return JSON.parse(line.slice(MARK.length)) as Observation
    await sleep(10)
  }
  throw new Error('the server does not answer SIGUSR2')
}

/** One connection past the product that holds a lock until it is told to let go. */
export async function holdLock(url: string, statement: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('begin')
  await client.query(statement)
  return async () => {
    await client.query('rollback')
    const ended = once(client, 'end')
    await client.end()
    await ended
  }
}
