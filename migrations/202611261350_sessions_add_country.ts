import type { Knex } from 'knex'

/** Where trusted proxies say the country of an address: its code. It is forgotten with the address. */
export async function up(db: Knex): Promise<void> {
  await db.raw('alter table sessions add column country text')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table sessions drop column country')
}
