import type { Knex } from 'knex'

/** Addresses that were refused for mixing scripts are few, and counted over days among very many facts. */
export async function up(db: Knex): Promise<void> {
  await db.raw("create index outbox_identifiers_refused on outbox (occurred_at) where type = 'identifier.refused'")
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop index outbox_identifiers_refused')
}
