/** The schema after all migrations, the same on both kinds of database, so that a change of it is seen in review. */
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import type { Database } from '../../src/platform/postgres.ts'
import { freshDatabase } from '../support/services.ts'

const GOLDEN = new URL('../golden/schema.txt', import.meta.url)

/** Tables with their columns and constraints, then indexes, one line each. PostgreSQL 18 names not-null constraints: left out. */
async function schemaOf({ db }: Database): Promise<string> {
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

describe.each(['embedded', 'postgres'] as const)('on %s', (kind) => {
  it('the migrations make the schema that was reviewed (GENKAN_TEST_GOLDEN=write makes the file anew)', async () => {
    const database = await freshDatabase(kind)
    const schema = await schemaOf(database)
    await database.close()
    if (process.env.GENKAN_TEST_GOLDEN === 'write') writeFileSync(GOLDEN, schema)
    expect(schema).toBe(readFileSync(GOLDEN, 'utf8'))
  })
})
