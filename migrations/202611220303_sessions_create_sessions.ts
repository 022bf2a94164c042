import type { Knex } from 'knex'

/** Sign-ins, the clients each of them reached, and what each account agreed to for each client. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table sessions (
      uid text primary key,
      account_id text not null references accounts (id) on delete cascade,
      proofs jsonb not null,
      amr jsonb not null,
      transient boolean not null default false,
      ip text,
      user_agent text,
      created_at timestamptz not null,
      authenticated_at timestamptz not null,
      seen_at timestamptz not null,
      ended_at timestamptz,
      end_reason text
    );
    create index sessions_account on sessions (account_id) where ended_at is null;
    create index sessions_ended on sessions (ended_at) where ended_at is not null;
    create index sessions_live_age on sessions (created_at) where ended_at is null;
    create index sessions_live_seen on sessions (seen_at) where ended_at is null;
    create index sessions_ip_retention on sessions (authenticated_at) where ip is not null;

    create table session_clients (
      session_uid text not null references sessions (uid) on delete cascade,
      client_id text not null,
      account_id text not null,
      sid text not null,
      grant_id text not null,
      offline boolean not null default false,
      scope text not null default '',
      created_at timestamptz not null,
      revoked_at timestamptz,
      primary key (session_uid, client_id, grant_id)
    );
    create index session_clients_account on session_clients (account_id, client_id) where revoked_at is null;
    create index session_clients_grant on session_clients (grant_id);

    create table consents (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      client_id text not null,
      scopes jsonb not null,
      claims jsonb not null,
      resources jsonb not null,
      granted_at timestamptz not null,
      updated_at timestamptz not null,
      revoked_at timestamptz
    );
    create unique index consents_live on consents (account_id, client_id) where revoked_at is null;
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table consents, session_clients, sessions')
}
