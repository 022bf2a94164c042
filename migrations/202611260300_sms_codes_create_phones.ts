import type { Knex } from 'knex'

/**
 * The phone to which an account gets codes. The number is sealed; its keyed hash finds the accounts that share one. `failures`
 * counts wrong codes since the last right one.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table phones (
      account_id text primary key references accounts (id) on delete cascade,
      sealed_number text not null,
      number_hash text not null,
      failures integer not null default 0,
      confirmed_at timestamptz not null,
      used_at timestamptz
    )
  `)
  await db.raw('create index phones_number_hash on phones (number_hash)')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table phones')
}
