import type { Knex } from 'knex'

/** When each secret was last used; several instances note it, the latest stays. */
export async function up(db: Knex): Promise<void> {
  await db.raw('alter table client_secrets add column last_used_at timestamptz')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table client_secrets drop column last_used_at')
}
