/** The data directory of a migrated, empty embedded database, for tests to copy. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Knex } from 'knex'
import { migrate } from '../../src/platform/migrate.ts'
import { openDatabase } from '../../src/platform/postgres.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Unpacks the migrated data directory into `folder`, making it first when the kept one is of other sources. */
export async function unpackSnapshot(folder: string): Promise<string> {
  const target = join(folder, 'snapshot')
  mkdirSync(target)
  await promisify(execFile)('tar', ['-xzf', await migratedSnapshot(), '-C', target])
  return target
}

/** PGlite's initdb takes seconds: the migrated data directory is made once for each version of what makes it, then kept. */
async function migratedSnapshot(): Promise<string> {
  const cache = join(ROOT, 'node_modules', '.cache', 'genkan')
  const path = join(cache, `${snapshotKey()}.tar.gz`)
  if (existsSync(path)) return path
  const database = await openDatabase({})
  await migrate(database)
  await slim(database.db)
  const archive = await database.dump()
  await database.close()
  mkdirSync(cache, { recursive: true })
  for (const old of readdirSync(cache)) if (old.endsWith('.tar.gz')) rmSync(join(cache, old), { force: true })
  writeFileSync(`${path}.${process.pid}`, archive)
  renameSync(`${path}.${process.pid}`, path)
  return path
}

/**
 * Every server and many a test file begins with a copy: without the databases that only `create database` needs it is half
 * the files, and with small buffers there is little memory to clear. Nothing of the product depends on either.
 */
async function slim(db: Knex): Promise<void> {
  await db.raw("update pg_database set datistemplate = false, datallowconn = true where datname like 'template%'")
  for (const statement of ['drop database template0', 'drop database template1']) await db.raw(statement)
  await db.raw("alter system set shared_buffers = '8MB'")
}

function snapshotKey(): string {
  const hash = createHash('sha256')
  const migrations = readdirSync(join(ROOT, 'migrations'))
    .sort()
    .map((file) => join('migrations', file))
  const makers = [
    'src/platform/migrate.ts',
    'src/platform/postgres.ts',
    'src/platform/pglite.ts',
    'test/support/embedded_snapshot.ts',
    'node_modules/@electric-sql/pglite/package.json',
  ]
  for (const file of [...migrations, ...makers]) hash.update(file).update(readFileSync(join(ROOT, file)))
  return hash.digest('hex').slice(0, 32)
}
