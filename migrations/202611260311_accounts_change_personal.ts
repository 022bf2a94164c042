import type { Knex } from 'knex'

// contract: older than the first release, so no version in use reads what goes here

interface Box {
  seal(value: unknown, column: { table: string; key: string; column: string }, row: string): string
  index(value: string, purpose: string): Promise<string>
}

const PAGE = 500
const COLUMN = { table: 'accounts', key: 'id', column: 'sealed_personal' }

/** E-mail address and profile are sealed; a keyed hash of the address finds its account. */
export async function up(db: Knex, sealing: () => Promise<Box>): Promise<void> {
  await db.raw(`
    drop index accounts_email_proven;
    drop index accounts_email;
    alter table accounts add column email_hash text, add column sealed_personal text;
  `)
  for (let after = ''; ; ) {
    const { rows } = await db.raw('select id, email, profile from accounts where id > ? order by id limit ?', [
      after,
      PAGE,
    ])
    if (rows.length === 0) break
    const box = await sealing()
    const sealed: { id: string; hash: string; personal: string }[] = []
    for (const { id, email, profile } of rows) {
      const hash = await box.index(email, 'accounts.email_hash')
      sealed.push({ id, hash, personal: box.seal({ email, profile }, COLUMN, id) })
    }
    // What was plain is overwritten: a dropped column stays in its rows on the disk.
    await db.raw(
      `update accounts a set email_hash = s.hash, sealed_personal = s.personal, email = '', profile = '{}'
       from jsonb_to_recordset(?::jsonb) as s(id text, hash text, personal text) where a.id = s.id`,
      [JSON.stringify(sealed)],
    )
    after = rows.at(-1).id
  }
  await db.raw(`
    alter table accounts alter column email_hash set not null, alter column sealed_personal set not null,
      drop column email, drop column profile;
    create unique index accounts_email_proven on accounts (email_hash) where email_verified_at is not null;
    create index accounts_email on accounts (email_hash, created_at desc);
  `)
}
