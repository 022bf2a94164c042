/** Schema migrations: `migrations/*.ts` in name order, in one transaction, under an advisory lock. */
import { readdir } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Knex } from 'knex'
import type { Json } from '../events.ts'
import type { SealedColumn } from './personal_columns.ts'
import type { Database, Tx } from './postgres.ts'
import { TAKES_LONG } from './silent_connections.ts'

const LOCK = 4_207_160_421
const DIRECTORY = fileURLToPath(new URL('../../migrations/', import.meta.url))

/** What a migration gets that turns plain columns into sealed ones. */
export interface MigrationBox {
  seal(value: Json, column: SealedColumn, row: string): string
  index(value: string, purpose: string): Promise<string>
}

interface Migration {
  readonly name: string
  up(db: Knex, sealing: () => Promise<MigrationBox>): Promise<void>
}

interface Options {
  /** Runs in the same transaction (declared rows, first keys). */
  readonly afterwards?: ((tx: Tx) => Promise<void>) | undefined
  /** Makes the data keys when a migration has rows to seal. */
  readonly sealing?: ((tx: Tx) => Promise<MigrationBox>) | undefined
  readonly directory?: string | undefined
}

/**
 * Brings the schema up to date. Several instances may call it at once: one migrates, the others wait and find nothing to do.
 * A migration that is killed half-way leaves nothing behind.
 */
export async function migrate(
  database: Database,
  { afterwards, sealing = noSealing, directory = DIRECTORY }: Options = {},
): Promise<{ applied: string[] }> {
  const migrations = await load(directory)
  return database.transaction(async (tx) => {
    if (database.kind === 'postgres') {
      await tx.raw(TAKES_LONG)
      await tx.raw('set local lock_timeout = 0')
      await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    }
    await tx.raw('create table if not exists migrations (name text primary key, applied_at timestamptz not null)')
    const done = new Set((await tx('migrations').select('name')).map((row: { name: string }) => row.name))
    const applied: string[] = []
    for (const migration of migrations) {
      if (done.has(migration.name)) continue
      await migration.up(tx, () => sealing(tx))
      await tx('migrations').insert({ name: migration.name, applied_at: new Date() })
      applied.push(migration.name)
    }
    await afterwards?.(tx)
    return { applied }
  })
}

async function noSealing(): Promise<never> {
  throw new Error('the database has rows to seal, and no key was given')
}

/** Names of migrations that the database has not seen; all of them when it is empty. */
export async function pendingMigrations(database: Database, directory = DIRECTORY): Promise<string[]> {
  const names = (await files(directory)).map(nameOf)
  const table = await database.db.raw("select to_regclass('migrations') is not null as there")
  if (!table.rows[0]?.there) return names
  const done = new Set((await database.db('migrations').select('name')).map((row: { name: string }) => row.name))
  return names.filter((name) => !done.has(name))
}

async function load(directory: string): Promise<Migration[]> {
  const names = await files(directory)
  return Promise.all(
    names.map(async (file) => {
      const module = (await import(pathToFileURL(`${directory}/${file}`).href)) as Pick<Migration, 'up'>
      return { name: nameOf(file), up: module.up }
    }),
  )
}

async function files(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((file) => /^\d{12}_\w+\.(ts|js)$/.test(file)).sort()
}

function nameOf(file: string): string {
  return file.replace(/\.(ts|js)$/, '')
}
