import type { Knex } from 'knex'

/** Sets of one-time codes for whoever has lost their second factor. `failures` counts wrong codes since the last right one. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table recovery_code_sets (
      account_id text primary key references accounts (id) on delete cascade,
      made_at timestamptz not null,
      failures integer not null default 0
    )
  `)
  await db.raw(`
    create table recovery_codes (
      id text primary key,
      account_id text not null references recovery_code_sets (account_id) on delete cascade,
      sealed_hash text not null,
      used_at timestamptz
    )
  `)
  await db.raw('create index recovery_codes_account on recovery_codes (account_id)')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table recovery_codes')
  await db.raw('drop table recovery_code_sets')
}
