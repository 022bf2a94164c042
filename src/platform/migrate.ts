/** Schema migrations: `migrations/*.ts` in name order, in one transaction, under an advisory lock. */
import { readdir } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Knex } from 'knex'
import type { Database, Tx } from './postgres.ts'

const LOCK = 4_207_160_421
const DIRECTORY = fileURLToPath(new URL('../../migrations/', import.meta.url))

interface Migration {
  readonly name: string
  up(db: Knex): Promise<void>
}

/**
 * Brings the schema up to date. Several instances may call it at once: one migrates, the others wait and find nothing to do.
 * A migration that is killed half-way leaves nothing behind. `afterwards` runs in the same transaction (declared rows, first keys).
 */
export async function migrate(
  database: Database,
  afterwards: (tx: Tx) => Promise<void> = async () => {},
  directory = DIRECTORY,
): Promise<{ applied: string[] }> {
  const migrations = await load(directory)
  return database.transaction(async (tx) => {
    if (database.kind === 'postgres') {
      await tx.raw('set local statement_timeout = 0')
      await tx.raw('select pg_advisory_xact_lock(?)', [LOCK])
    }
    await tx.raw('create table if not exists migrations (name text primary key, applied_at timestamptz not null)')
    const done = new Set((await tx('migrations').select('name')).map((row: { name: string }) => row.name))
    const applied: string[] = []
    for (const migration of migrations) {
      if (done.has(migration.name)) continue
      await migration.up(tx)
      await tx('migrations').insert({ name: migration.name, applied_at: new Date() })
      applied.push(migration.name)
    }
    await afterwards(tx)
    return { applied }
  })
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
      const module = (await import(pathToFileURL(`${directory}/${file}`).href)) as { up(db: Knex): Promise<void> }
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
