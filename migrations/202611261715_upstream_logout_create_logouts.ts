import type { Knex } from 'knex'

/** Logout tokens of upstream providers that were taken, and the way from a provider's session to ours. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table upstream_logouts (
      id_hash text primary key,
      expires_at timestamptz not null
    )
  `)
  await db.raw('create index upstream_logouts_expires_at on upstream_logouts (expires_at)')
  // Only sessions to which somebody came from a provider's session have an entry.
  await db.raw(`
    create index sessions_upstream on sessions ((jsonb_path_query_first(proofs, '$[*].by.session') #>> '{}'))
     where ended_at is null and (jsonb_path_query_first(proofs, '$[*].by.session') #>> '{}') is not null
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop index sessions_upstream')
  await db.raw('drop table upstream_logouts')
}
