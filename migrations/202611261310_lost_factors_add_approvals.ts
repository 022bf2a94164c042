import type { Knex } from 'knex'

/** Who of the support approved that the waiting ends: [{ name, at }]. Two of them end it. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`alter table factor_removals add column approvals jsonb not null default '[]'`)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table factor_removals drop column approvals')
}
