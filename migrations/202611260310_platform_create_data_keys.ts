import type { Knex } from 'knex'

/** Keys for columns of personal data, each sealed by a secret key. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table data_keys (
      id text primary key,
      purpose text not null check (purpose in ('personal', 'index')),
      sealed_key text not null,
      created_at timestamptz not null
    );
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table data_keys')
}
