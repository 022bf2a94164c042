import type { Knex } from 'knex'

/** Brands and their logos. Pictures and CSS are stored as they are served: checked and written anew before. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    create table brands (
      id text primary key,
      settings jsonb not null,
      css text not null default '',
      managed text not null check (managed in ('file', 'command')),
      disabled_at timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null
    );
    create table brand_logos (
      brand_id text not null references brands (id) on delete cascade,
      variant text not null check (variant in ('light', 'dark')),
      type text not null check (type in ('image/png', 'image/svg+xml')),
      width integer not null,
      height integer not null,
      hash text not null,
      body bytea not null,
      primary key (brand_id, variant)
    );
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw('drop table brand_logos, brands')
}
