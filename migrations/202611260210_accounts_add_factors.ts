import type { Knex } from 'knex'

/** What an account has set up beside password and mailbox, read with every sign-in, and how it stands with enrolment. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table accounts
      add column factors jsonb not null default '[]',
      add column second_factor_required boolean not null default false,
      add column enrolment_skips integer not null default 0,
      add column nudge_after timestamptz
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    alter table accounts
      drop column factors, drop column second_factor_required, drop column enrolment_skips, drop column nudge_after
  `)
}
