import type { Knex } from 'knex'

/** Passkeys: public keys that accounts sign in with. A credential is one account's only, whoever else claims it. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table passkeys (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      credential_id text not null unique,
      public_key text not null,
      counter bigint not null,
      transports jsonb not null,
      aaguid text not null,
      backup_eligible boolean not null,
      backed_up boolean not null,
      name text not null,
      created_at timestamptz not null,
      used_at timestamptz
    )
  `)
  await db.raw('create index passkeys_account_id on passkeys (account_id)')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table passkeys')
}
