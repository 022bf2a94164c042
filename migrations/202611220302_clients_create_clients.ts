import type { Knex } from 'knex'

/** Clients, their overlapping secrets, and the provider's signing keys. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table clients (
      id text primary key,
      metadata jsonb not null,
      managed text not null check (managed in ('file', 'command')),
      disabled_at timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null
    );
    create table client_secrets (
      id text primary key,
      client_id text not null references clients (id) on delete cascade,
      hash text not null,
      managed text not null check (managed in ('file', 'command')),
      created_at timestamptz not null,
      expires_at timestamptz
    );
    create index client_secrets_client on client_secrets (client_id);

    create table signing_keys (
      kid text primary key,
      alg text not null,
      public_jwk jsonb not null,
      sealed_private text not null,
      created_at timestamptz not null,
      signs_from timestamptz not null,
      retires_at timestamptz
    );
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table signing_keys, client_secrets, clients')
}
