/**
 * SQL storage: PostgreSQL when a URL is given, else PGlite in the data directory. The only file that begins or commits.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { join } from 'node:path'
import knexFactory, { type Knex } from 'knex'
import { AppError } from '../errors.ts'

/** A transaction, opaque to services: they receive it from `transaction` and hand it to repositories. */
export type Tx = Knex.Transaction

export interface Database {
  /** The root handle. A query on it inside an open `transaction` throws at once. */
  readonly db: Knex
  readonly kind: 'embedded' | 'postgres'
  /** Runs `work` in one transaction: commits when it resolves, rolls back when it throws. */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Rejects when the store does not answer. */
  ping(): Promise<void>
  close(): Promise<void>
  /** A tar archive of the embedded data directory; rejects on PostgreSQL. */
  dump(): Promise<Uint8Array>
}

export interface DatabaseOptions {
  readonly databaseUrl?: string | undefined
  /** The embedded database lives in `<dataDir>/db`; without it, in memory. */
  readonly dataDir?: string | undefined
  /** An archive made by `dump()` to start the embedded database from. */
  readonly loadFrom?: Uint8Array | undefined
  /** Connections to PostgreSQL at the most. */
  readonly pool?: number | undefined
}

/** Errors reach whoever asked; knex would print them besides. */
const SILENT = { warn() {}, error() {}, deprecate() {}, debug() {} }
const CONNECT_MS = 2000
const STATEMENT_MS = 5000

/** Opens the database. On PostgreSQL nothing is connected yet: the first query is. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  return options.databaseUrl === undefined ? openEmbedded(options) : openPostgres(options.databaseUrl, options.pool)
}

async function openEmbedded({ dataDir, loadFrom }: DatabaseOptions): Promise<Database> {
  // Who has a PostgreSQL starts without it.
  const { MultiStatementPGlite, PGlite } = await import('./pglite.ts')
  const pglite = await PGlite.create({
    ...(dataDir === undefined ? {} : { dataDir: join(dataDir, 'db') }),
    ...(loadFrom === undefined ? {} : { loadDataDir: new Blob([new Uint8Array(loadFrom)]) }),
  })
  const db = knexFactory({
    log: SILENT,
    client: MultiStatementPGlite as unknown as typeof Knex.Client,
    // knex-pglite takes an instance only through this function; its types do not say so.
    connection: (() => ({ pglite })) as unknown as Knex.StaticConnectionConfig,
  })
  return wrap(db, 'embedded', async () => new Uint8Array(await (await pglite.dumpDataDir('gzip')).arrayBuffer()))
}

function openPostgres(connectionString: string, pool = 10): Database {
  const db = knexFactory({
    log: SILENT,
    client: 'pg',
    connection: {
      connectionString,
      connectionTimeoutMillis: CONNECT_MS,
      statement_timeout: STATEMENT_MS,
      query_timeout: STATEMENT_MS + 1000,
      keepAlive: true,
      application_name: 'genkan',
    },
    pool: { min: 0, max: pool },
    acquireConnectionTimeout: CONNECT_MS,
  })
  return wrap(db, 'postgres', async () => {
    throw new Error('only the embedded database can be dumped; use pg_dump')
  })
}

function wrap(db: Knex, kind: Database['kind'], dump: Database['dump']): Database {
  const inside = new AsyncLocalStorage<true>()
  guardRoot(db, inside)
  return {
    db,
    kind,
    transaction: (work) => db.transaction((tx) => inside.run(true, () => work(tx))),
    ping: async () => {
      await db.raw('select 1')
    },
    close: () => db.destroy(),
    dump,
  }
}

/** PGlite has one connection: a root query inside a transaction would wait for itself. Fail at once, on PostgreSQL too. */
function guardRoot(db: Knex, inside: AsyncLocalStorage<true>): void {
  const client = db.client as { acquireConnection(): Promise<unknown> }
  const acquire = client.acquireConnection.bind(client)
  client.acquireConnection = async () => {
    if (inside.getStore()) throw new Error('root query inside a transaction: pass tx')
    return acquire()
  }
}

/** SQLSTATE of a driver error. */
function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

/** Whether the error is a unique violation (SQLSTATE 23505). */
export function uniqueViolation(error: unknown): boolean {
  return sqlState(error) === '23505'
}

/** 57014: a statement took longer than it may, since the machine is busy or a lock is held. */
const UNREACHABLE =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|08...|57014|57P0[123]|53[123]00|25006)$/
/** What the driver says in words only: connecting took too long, or a connection broke with a transaction open on it. */
const BROKEN = /Connection terminated|timeout expired|is not queryable|Query read timeout|PGlite is closed/

/** Whether the error means that the database is away, busy, full, or read-only, and not that the query is wrong. */
export function databaseUnavailable(error: unknown): boolean {
  const state = sqlState(error)
  if (state !== undefined && UNREACHABLE.test(state)) return true
  const name = (error as { name?: unknown } | null)?.name
  const message = String((error as { message?: unknown } | null)?.message ?? '')
  return name === 'KnexTimeoutError' || BROKEN.test(message)
}

/** The unique index decides between two that want the same in one moment: the later one gets `already_exists`. */
export async function onlyOne<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    throw uniqueViolation(cause) ? new AppError('already_exists', { cause }) : cause
  }
}
