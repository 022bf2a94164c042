import type { Knex } from 'knex'

/** Tokens of the upstream provider, where the operator asked for them to be kept. */
export async function up(db: Knex): Promise<void> {
  await db.raw('alter table identities add column sealed_tokens text')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table identities drop column sealed_tokens')
}
