import type { Knex } from 'knex'

/** Upstream providers that people may sign in by. Their settings hold secrets of ours: sealed as a whole. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table upstreams (
      name text primary key,
      sealed_settings text not null,
      managed text not null check (managed in ('file', 'command')),
      disabled_at timestamptz,
      disabled_by text check (disabled_by in ('file', 'command')),
      created_at timestamptz not null,
      updated_at timestamptz not null
    )
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table upstreams')
}
