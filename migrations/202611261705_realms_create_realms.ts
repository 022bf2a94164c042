import type { Knex } from 'knex'

/**
 * E-mail domains and the provider that people of each sign in by, once a DNS record has proven the domain; and the accounts
 * that keep their own methods for the day on which the provider is away.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table realms (
      domain text primary key,
      upstream text not null,
      policy text not null check (policy in ('offer', 'route', 'enforce')),
      token text not null,
      proven_at timestamptz,
      checked_at timestamptz,
      missed_since timestamptz,
      misses integer not null default 0,
      managed text not null check (managed in ('file', 'command')),
      disabled_at timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null
    )
  `)
  await db.raw(`
    create table realm_break_glass (
      domain text not null references realms (domain) on delete cascade,
      account_id text not null references accounts (id) on delete cascade,
      primary key (domain, account_id)
    )
  `)
  await db.raw('create index realm_break_glass_account_id on realm_break_glass (account_id)')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table realm_break_glass')
  await db.raw('drop table realms')
}
