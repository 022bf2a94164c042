import type { Knex } from 'knex'

/**
 * Refused requests of clients, counted by minute: what a reference (the id of a request) leads to. And of which secret or
 * certificate it was stated that it will expire, by how many days before.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table refusals (
      minute timestamptz not null,
      client_id text not null,
      endpoint text not null,
      reason text not null,
      error text not null,
      count integer not null,
      request_ids text[] not null,
      primary key (minute, client_id, endpoint, reason)
    );
    create index refusals_request_ids on refusals using gin (request_ids);

    create table client_expiries (
      client_id text not null references clients (id) on delete cascade,
      credential text not null,
      expires_at timestamptz not null,
      days integer not null,
      stated_at timestamptz not null,
      primary key (client_id, credential, expires_at, days)
    );
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table client_expiries; drop table refusals')
}
