import type { Knex } from 'knex'

/**
 * What clients ask of people through the back channel (CIBA Core 1.0), until they have answered. A row without an account is a
 * request about nobody: it is there so that it costs and looks the same, and nobody will ever answer it.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table approvals (
      id text primary key,
      account_id text references accounts (id) on delete cascade,
      client_id text not null,
      request_hash text not null unique,
      sealed_request text not null,
      agreed text not null,
      acr text not null,
      second_factor boolean not null,
      asked_at timestamptz not null,
      expires_at timestamptz not null,
      decision text,
      decided_at timestamptz,
      proof text,
      told_at timestamptz
    )
  `)
  await db.raw('create index approvals_open on approvals (account_id, asked_at) where decided_at is null')
  await db.raw('create index approvals_expires_at on approvals (expires_at)')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table approvals')
}
