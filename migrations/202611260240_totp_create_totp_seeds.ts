import type { Knex } from 'knex'

/** The authenticator app of an account. `failures` counts wrong codes since the last right one. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table totp_seeds (
      account_id text primary key references accounts (id) on delete cascade,
      sealed_seed text not null,
      last_step integer not null,
      failures integer not null default 0,
      confirmed_at timestamptz not null,
      used_at timestamptz
    )
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table totp_seeds')
}
