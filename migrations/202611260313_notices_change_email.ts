import type { Knex } from 'knex'

// contract: older than the first release, so no version in use reads what goes here

interface Box {
  seal(value: unknown, column: { table: string; key: string; column: string }, row: string): string
}

interface Row {
  readonly token_hash: string
  readonly email: string | null
}

const PAGE = 500
const SEALED_EMAIL = { table: 'notice_links', key: 'token_hash', column: 'sealed_email' }

/** The address that an account was taken from is sealed. */
export async function up(db: Knex, sealing: () => Promise<Box>): Promise<void> {
  await db.raw('alter table notice_links add column sealed_email text')
  for (let after = ''; ; ) {
    const { rows } = await db.raw(
      'select token_hash, email from notice_links where token_hash > ? order by token_hash limit ?',
      [after, PAGE],
    )
    if (rows.length === 0) break
    const box = await sealing()
    const sealed = rows.map(({ token_hash, email }: Row) => ({
      token_hash,
      email: email === null ? null : box.seal(email, SEALED_EMAIL, token_hash),
    }))
    // What was plain is overwritten: a dropped column stays in its rows on the disk.
    await db.raw(
      `update notice_links t set sealed_email = s.email, email = null
       from jsonb_to_recordset(?::jsonb) as s(token_hash text, email text) where t.token_hash = s.token_hash`,
      [JSON.stringify(sealed)],
    )
    after = rows.at(-1).token_hash
  }
  await db.raw(`alter table notice_links drop column email`)
}
