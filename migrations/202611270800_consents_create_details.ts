import type { Knex } from 'knex'

/**
 * What people agreed to in detail (RFC 9396), in the words that they were shown. Rows are evidence: they are never changed but
 * for the grant that was made of them and the moment they were taken back.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table consent_details (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      client_id text not null,
      grant_id text,
      type text not null,
      digest text not null,
      sealed_detail text not null,
      locale text not null,
      granted_at timestamptz not null,
      expires_at timestamptz,
      revoked_at timestamptz
    )
  `)
  await db.raw('create index consent_details_account_id on consent_details (account_id, client_id, digest)')
  await db.raw('create index consent_details_client_id on consent_details (client_id) where revoked_at is null')
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table consent_details')
}
