import type { Knex } from 'knex'

/** Accounts, their passwords and their provisional e-mail changes. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table accounts (
      id text primary key,
      email text not null,
      email_verified_at timestamptz,
      state text not null default 'pending' check (state in ('pending', 'active', 'disabled', 'closing')),
      epoch integer not null default 0,
      locale text,
      profile jsonb not null default '{}',
      created_at timestamptz not null,
      updated_at timestamptz not null
    );
    -- Any number of unproven registrations may name an address; only one account can have proven it.
    create unique index accounts_email_proven on accounts (email) where email_verified_at is not null;
    create index accounts_email on accounts (email, created_at desc);
    create index accounts_pending on accounts (created_at) where state = 'pending';

    create table passwords (
      account_id text primary key references accounts (id) on delete cascade,
      hash text not null,
      changed_at timestamptz not null
    );
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table passwords, accounts')
}
