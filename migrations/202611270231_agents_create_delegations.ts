import type { Knex } from 'knex'

/**
 * Agents that act for people by exchanging the tokens of a service (RFC 8693), without a consent of their own: which one,
 * through which service, where, with which scopes so far. A row that was taken back stays and refuses until it is allowed again.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table agent_delegations (
      account_id text not null references accounts (id) on delete cascade,
      actor_client_id text not null,
      subject_client_id text not null,
      resource text not null,
      scopes jsonb not null,
      first_used_at timestamptz not null,
      last_used_at timestamptz not null,
      revoked_at timestamptz,
      primary key (account_id, subject_client_id, actor_client_id, resource)
    )
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table agent_delegations')
}
