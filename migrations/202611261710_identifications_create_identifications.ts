import type { Knex } from 'knex'

/** What a provider has verified of the person behind an account: of each provider the latest, and until when it counts. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table identifications (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      upstream text not null,
      framework text not null,
      evidence text not null,
      sealed_claims text not null,
      verified_at timestamptz not null,
      expires_at timestamptz not null,
      unique (account_id, upstream)
    )
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table identifications')
}
