/** The schema of a database: read as text to compare, and brought to an earlier state. */
import { readdirSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Database } from '../../src/platform/postgres.ts'

const DIRECTORY = fileURLToPath(new URL('../../migrations/', import.meta.url))

/** File names of all migrations, in their order. */
export const MIGRATIONS: readonly string[] = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith('.ts'))
  .sort()

/** Tables with their columns and constraints, then indexes, one line each. PostgreSQL 18 names not-null constraints: left out. */
export async function schemaOf({ db }: Pick<Database, 'db'>): Promise<string> {
  const columns = await db.raw(
    `select c.table_name || '.' || c.column_name || ' ' || c.data_type || ' ' || c.is_nullable || ' ' ||
       coalesce(c.column_default, '') as line
     from information_schema.columns c where c.table_schema = 'public' order by 1`,
  )
  const constraints = await db.raw(
    `select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) as line
     from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n' order by 1`,
  )
  const indexes = await db.raw("select indexdef as line from pg_indexes where schemaname = 'public' order by 1")
  const lines = [columns, constraints, indexes].flatMap(({ rows }) =>
    rows.map(({ line }: { line: string }) => line.trim()),
  )
  return `${lines.sort().join('\n')}\n`
}

/** Runs the first `count` migrations on an empty database, as an earlier version of the product would have. */
export async function migrateFirst({ db }: Pick<Database, 'db'>, count: number): Promise<void> {
  await db.raw('create table migrations (name text primary key, applied_at timestamptz not null)')
  for (const file of MIGRATIONS.slice(0, count)) {
    const { up } = (await import(pathToFileURL(`${DIRECTORY}${file}`).href)) as { up(on: typeof db): Promise<void> }
    await up(db)
    await db('migrations').insert({ name: file.replace(/\.ts$/, ''), applied_at: new Date() })
  }
}
