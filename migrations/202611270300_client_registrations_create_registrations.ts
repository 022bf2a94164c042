import type { Knex } from 'knex'

/** Clients that register themselves (RFC 7591), what they manage themselves by (RFC 7592), and the tokens that let them in. */
export async function up(db: Knex): Promise<void> {
  for (const table of ['clients', 'client_secrets']) {
    await db.raw(`alter table ${table} drop constraint ${table}_managed_check`)
    await db.raw(
      `alter table ${table} add constraint ${table}_managed_check check (managed in ('file', 'command', 'registered'))`,
    )
  }
  await db.raw(`
    create table initial_access_tokens (
      id text primary key,
      hash text not null unique,
      policy text not null,
      uses_left integer not null check (uses_left >= 0),
      created_at timestamptz not null,
      expires_at timestamptz not null,
      revoked_at timestamptz
    )
  `)
  await db.raw(`
    create table client_registrations (
      client_id text primary key references clients (id) on delete cascade,
      token_id text not null references initial_access_tokens (id),
      policy text not null,
      access_token_hash text unique,
      software_statement text,
      registered_at timestamptz not null,
      expires_at timestamptz
    )
  `)
  await db.raw('create index client_registrations_token_id on client_registrations (token_id)')
  await db.raw(
    'create index client_registrations_expires_at on client_registrations (expires_at) where expires_at is not null',
  )
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table client_registrations, initial_access_tokens')
  await db.raw(`delete from clients where managed = 'registered'`)
  for (const table of ['clients', 'client_secrets']) {
    await db.raw(`alter table ${table} drop constraint ${table}_managed_check`)
    await db.raw(`alter table ${table} add constraint ${table}_managed_check check (managed in ('file', 'command'))`)
  }
}
