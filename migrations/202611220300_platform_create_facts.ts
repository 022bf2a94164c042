import type { Knex } from 'knex'

/** The outbox, its deliveries, the sealed ledger, and the key/value and OIDC state of installations without Redis. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table outbox (
      id text primary key,
      type text not null,
      account_id text,
      client_id text,
      actor text,
      data jsonb not null default '{}',
      request_id text,
      ip text,
      ip_hash text,
      user_agent text,
      sealed text,
      mac text not null,
      occurred_at timestamptz not null,
      seq bigint unique
    );
    create index outbox_unsealed on outbox (occurred_at) where seq is null;
    create index outbox_account on outbox (account_id, occurred_at);
    create index outbox_ip_retention on outbox (occurred_at) where ip is not null;

    create table ledger (
      seq bigint primary key,
      outbox_id text not null unique,
      hash text not null,
      sealed_at timestamptz not null
    );
    create table ledger_anchors (
      seq bigint primary key,
      hash text not null,
      mac text not null,
      anchored_at timestamptz not null
    );

    create table deliveries (
      outbox_id text not null,
      consumer text not null,
      state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
      attempts integer not null default 0,
      next_at timestamptz not null,
      last_error text,
      delivered_at timestamptz,
      created_at timestamptz not null,
      primary key (outbox_id, consumer)
    );
    create index deliveries_due on deliveries (next_at) where state = 'pending';
    create index deliveries_done on deliveries (delivered_at) where state = 'delivered';

    create table key_values (
      key text primary key,
      value text not null,
      version integer not null default 0,
      expires_at timestamptz not null
    );
    create index key_values_expiry on key_values (expires_at);

    create table oidc_state (
      model text not null,
      id_hash text not null,
      payload text not null,
      uid_hash text,
      user_code_hash text,
      account_id text,
      grant_id text,
      expires_at timestamptz,
      consumed_at timestamptz,
      primary key (model, id_hash)
    );
    create index oidc_state_uid on oidc_state (uid_hash) where uid_hash is not null;
    create index oidc_state_user_code on oidc_state (user_code_hash) where user_code_hash is not null;
    create index oidc_state_expiry on oidc_state (expires_at);
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table oidc_state, key_values, deliveries, ledger_anchors, ledger, outbox')
}
