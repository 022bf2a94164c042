import type { Knex } from 'knex'

/** One-time links of the mails that tell of something: each works once, as its hash. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table notice_links (
      token_hash text primary key,
      account_id text not null references accounts (id) on delete cascade,
      purpose text not null,
      email text,
      created_at timestamptz not null,
      expires_at timestamptz not null,
      used_at timestamptz
    );
    create index notice_links_account on notice_links (account_id, purpose) where used_at is null;
    create index notice_links_expiry on notice_links (expires_at);
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table notice_links')
}
