/**
 * SQL storage: PostgreSQL when a URL is given, else PGlite in the data directory. The only file that begins or commits.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import knexFactory, { type Knex } from 'knex'
import { AppError } from '../errors.ts'
import { type Connection, createSilenceLimit } from './silent_connections.ts'

/** A transaction, opaque to services: they receive it from `transaction` and hand it to repositories. */
export type Tx = Knex.Transaction

export interface Database {
  /** The root handle. A query on it inside an open `transaction` throws at once. */
  readonly db: Knex
  readonly kind: 'embedded' | 'postgres'
  /** Runs `work` in one transaction: commits when it resolves, rolls back when it throws. */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** The store's time. Rejects when it does not answer. */
  ping(): Promise<Date>
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
/** A connection that is waited for and one statement are over before anybody has waited five seconds. */
const CONNECT_MS = 1500
const STATEMENT_MS = 3000
/** A backend that hangs cannot keep its own time. */
const ANSWER_MS = STATEMENT_MS + 200
/** Whoever waits for a lock holds a connection that others wait for. */
const LOCK_MS = 2000
/** So many may wait for each connection; more would only wait in vain. */
const WAITING = 20

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
  // By itself: the driver knows more of these settings than knex's types do.
  const connection = {
    connectionString,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    lock_timeout: LOCK_MS,
    keepAlive: true,
    application_name: 'genkan',
  }
  const limitSilence = createSilenceLimit(ANSWER_MS)
  const afterCreate = (made: Connection, done: (error: unknown, made: Connection) => void) => {
    limitSilence(made)
    done(null, made)
  }
  const db = knexFactory({
    log: SILENT,
    client: 'pg',
    connection,
    pool: { min: 0, max: pool, afterCreate },
    acquireConnectionTimeout: CONNECT_MS,
  })
  boundWaiting(db, pool * WAITING)
  return wrap(db, 'postgres', async () => {
    throw new Error('only the embedded database can be dumped; use pg_dump')
  })
}

/** Refuses at once what would stand behind `most` others. */
function boundWaiting(db: Knex, most: number): void {
  const client = db.client as { pool: { numPendingAcquires(): number }; acquireConnection(): Promise<unknown> }
  const acquire = client.acquireConnection.bind(client)
  client.acquireConnection = async () => {
    if (client.pool.numPendingAcquires() < most) return acquire()
    throw Object.assign(new Error('too many wait for a connection'), { code: TOO_MANY })
  }
}

/** SQLSTATE too_many_connections. */
const TOO_MANY = '53300'

function wrap(db: Knex, kind: Database['kind'], dump: Database['dump']): Database {
  const inside = new AsyncLocalStorage<true>()
  guardRoot(db, inside)
  return {
    db,
    kind,
    transaction: (work) => inTurn(() => db.transaction((tx) => inside.run(true, () => work(tx)))),
    ping: async () => {
      const { rows } = await db.raw<{ rows: { now: Date }[] }>('select clock_timestamp() as now')
      return new Date(rows[0]?.now ?? Number.NaN)
    },
    close: () => db.destroy(),
    dump,
  }
}

const TRIES = 3
const PAUSE_MS = 30

/** PostgreSQL ended one of two that stood in each other's way, and undid it whole: it is done again, after the other. */
async function inTurn<T>(transaction: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await transaction()
    } catch (error) {
      if (tries >= TRIES || !COLLIDED.test(sqlState(error) ?? '')) throw error
      // Jitter: those who met would meet again.
      await sleep(PAUSE_MS * tries * (0.5 + Math.random()))
    }
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

/** Serialization failure, deadlock. */
const COLLIDED = /^40(001|P01)$/
const READ_ONLY = '25006'
/** 57014, 55P03: a statement, or its wait for a lock, took longer than it may. 58030, 53100: the disk fails or is full. */
const UNREACHABLE =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|08...|57014|55P03|57P0[123]|53[123]00|58030|25006|40001|40P01)$/
/** What the driver says in words only: connecting took too long, or a connection broke with a transaction open on it. */
const BROKEN = /Connection terminated|timeout expired|is not queryable|PGlite is closed/

/** Whether the error means that the database is away, busy, full, or read-only, and not that the query is wrong. */
export function databaseUnavailable(error: unknown): boolean {
  const state = sqlState(error)
  if (state !== undefined && UNREACHABLE.test(state)) return true
  const name = (error as { name?: unknown } | null)?.name
  const message = String((error as { message?: unknown } | null)?.message ?? '')
  return name === 'KnexTimeoutError' || BROKEN.test(message)
}

/** Whether the database takes no changes for now: it is a standby, or was made read-only. */
export function databaseReadOnly(error: unknown): boolean {
  return sqlState(error) === READ_ONLY
}

/** The unique index decides between two that want the same in one moment: the later one gets `already_exists`. */
export async function onlyOne<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    throw uniqueViolation(cause) ? new AppError('already_exists', { cause }) : cause
  }
}
