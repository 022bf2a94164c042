import type { Knex } from 'knex'

/** A brand may end its sign-ins earlier than the settings do; null: as the settings say. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table sessions add column idle_seconds integer, add column absolute_seconds integer;
    create index sessions_own_limits on sessions (seen_at)
      where ended_at is null and (idle_seconds is not null or absolute_seconds is not null);
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('alter table sessions drop column idle_seconds, drop column absolute_seconds')
}
