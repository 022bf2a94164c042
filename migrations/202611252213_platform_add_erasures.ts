import type { Knex } from 'knex'

// contract: older than the first release, so no version in use reads what goes here

/**
 * The content of a fact can be erased while the ledger's chain holds: an entry covers a salted hash of the content, and the
 * row says in which stated batch its content went.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    alter table outbox add column salt text, add column erased_in text;
    create index outbox_retention on outbox (type, occurred_at) where erased_in is null;
    create index outbox_erased on outbox (erased_in) where erased_in is not null;
    create index outbox_erasures on outbox ((data ->> 'batch')) where type = 'audit.erased';
    alter table ledger add column content_hash text not null default '';
    alter table ledger alter column content_hash drop default;
  `)
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    drop index outbox_retention, outbox_erased, outbox_erasures;
    alter table outbox drop column salt, drop column erased_in;
    alter table ledger drop column content_hash;
  `)
}
