import type { Knex } from 'knex'

/** When an agent was last given a token: its rights lapse when it uses none for as long as its metadata say. */
export async function up(db: Knex): Promise<void> {
  await db.raw('alter table clients add column last_used_at timestamptz')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table clients drop column last_used_at')
}
