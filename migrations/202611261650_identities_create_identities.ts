import type { Knex } from 'knex'

/** Who accounts are at upstream providers. The key is what the provider calls somebody, never an address. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table identities (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      upstream text not null,
      issuer text not null,
      subject_hash text not null,
      sealed_identity text not null,
      linked_at timestamptz not null,
      used_at timestamptz,
      unique (issuer, subject_hash)
    )
  `)
  await db.raw('create index identities_account_id on identities (account_id)')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table identities')
}
