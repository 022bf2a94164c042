import type { Knex } from 'knex'

/** Browsers that an account was used in, which of them it trusts, and since when no trust of before counts any more. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table devices (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      token_hash text not null,
      browser text not null default '',
      system text not null default '',
      first_seen_at timestamptz not null,
      last_seen_at timestamptz not null,
      known_at timestamptz,
      trusted_until timestamptz
    );
    create unique index devices_token on devices (account_id, token_hash);
    create index devices_seen on devices (last_seen_at);
    alter table accounts add column distrusted_at timestamptz;
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table accounts drop column distrusted_at; drop table devices')
}
