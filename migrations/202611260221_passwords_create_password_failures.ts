import type { Knex } from 'knex'

/** Wrong passwords in a row by identifier (a keyed hash), whether there is an account or not. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table password_failures (
      identifier text primary key,
      failures integer not null,
      failed_at timestamptz not null
    );
    create index password_failures_failed_at on password_failures (failed_at);
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table password_failures')
}
