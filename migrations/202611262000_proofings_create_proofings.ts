import type { Knex } from 'knex'

/**
 * Checks of persons that go on elsewhere: one for each account and provider at a time. Claims are there only while somebody
 * has to look at them; what was accepted is an identification.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table proofings (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      provider text not null,
      reference_hash text not null unique,
      state text not null,
      sealed_claims text,
      verified_at timestamptz,
      reason text,
      results text[] not null default '{}',
      began_at timestamptz not null,
      expires_at timestamptz not null,
      decided_at timestamptz
    )
  `)
  await db.raw(`
    create unique index proofings_open on proofings (account_id, provider) where state in ('begun', 'review')
  `)
  await db.raw('create index proofings_account_id on proofings (account_id, began_at)')
  await db.raw(`create index proofings_expires_at on proofings (expires_at) where state in ('begun', 'review')`)
  await db.raw('create index proofings_decided_at on proofings (decided_at) where decided_at is not null')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table proofings')
}
