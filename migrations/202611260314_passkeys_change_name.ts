import type { Knex } from 'knex'

// contract: older than the first release, so no version in use reads what goes here

interface Box {
  seal(value: unknown, column: { table: string; key: string; column: string }, row: string): string
}

interface Row {
  readonly id: string
  readonly name: string | null
}

const PAGE = 500
const SEALED_NAME = { table: 'passkeys', key: 'id', column: 'sealed_name' }

/** What a person calls a passkey is sealed. */
export async function up(db: Knex, sealing: () => Promise<Box>): Promise<void> {
  await db.raw('alter table passkeys add column sealed_name text')
  for (let after = ''; ; ) {
    const { rows } = await db.raw('select id, name from passkeys where id > ? order by id limit ?', [after, PAGE])
    if (rows.length === 0) break
    const box = await sealing()
    const sealed = rows.map(({ id, name }: Row) => ({
      id,
      name: name === null ? null : box.seal(name, SEALED_NAME, id),
    }))
    // What was plain is overwritten: a dropped column stays in its rows on the disk.
    await db.raw(
      `update passkeys t set sealed_name = s.name, name = ''
       from jsonb_to_recordset(?::jsonb) as s(id text, name text) where t.id = s.id`,
      [JSON.stringify(sealed)],
    )
    after = rows.at(-1).id
  }
  await db.raw(`
    alter table passkeys alter column sealed_name set not null;
    alter table passkeys drop column name;
  `)
}
