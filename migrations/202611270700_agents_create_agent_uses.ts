import type { Knex } from 'knex'

/** When agents last acted for people: what they may do and do not use is taken back. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table agent_uses (
      account_id text not null references accounts (id) on delete cascade,
      client_id text not null,
      used_at timestamptz not null,
      primary key (account_id, client_id)
    )
  `)
  await db.raw('create index agent_uses_used_at on agent_uses (used_at)')
}
