import type { Knex } from 'knex'

/** Removals of all second factors that were asked for and wait: one open request an account. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table factor_removals (
      id text primary key,
      account_id text not null references accounts (id) on delete cascade,
      requested_at timestamptz not null,
      due_at timestamptz not null,
      reminded_at timestamptz,
      ended_at timestamptz,
      outcome text
    );
    create unique index factor_removals_open on factor_removals (account_id) where ended_at is null;
    create index factor_removals_due on factor_removals (due_at) where ended_at is null;
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table factor_removals')
}
