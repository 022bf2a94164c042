import type { Knex } from 'knex'

/** Keys of Redis whose records have ended while it took no writes: deleted there, and here, as soon as it does. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table untaken_ends (
      key text primary key,
      ended_at timestamptz not null
    )
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table untaken_ends')
}
