import type { Knex } from 'knex'

/** When the password was last compared with those known from breaches elsewhere. */
export async function up(db: Knex): Promise<void> {
  await db.raw('alter table passwords add column breach_checked_at timestamptz')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table passwords drop column breach_checked_at')
}
