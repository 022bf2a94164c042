import type { Knex } from 'knex'

// contract: older than the first release, so no version in use reads what goes here

interface Box {
  seal(value: unknown, column: { table: string; key: string; column: string }, row: string): string
}

interface Row {
  readonly id: string
  readonly ip: string | null
  readonly user_agent: string | null
}

const PAGE = 500
const SEALED_IP = { table: 'outbox', key: 'id', column: 'sealed_ip' }
const SEALED_USER_AGENT = { table: 'outbox', key: 'id', column: 'sealed_user_agent' }

/** Where a fact was stated from, and with what, is sealed; what MAC and hash cover of it stays what it was. */
export async function up(db: Knex, sealing: () => Promise<Box>): Promise<void> {
  await db.raw('alter table outbox add column sealed_ip text, add column sealed_user_agent text')
  for (let after = ''; ; ) {
    const { rows } = await db.raw('select id, ip, user_agent from outbox where id > ? order by id limit ?', [
      after,
      PAGE,
    ])
    if (rows.length === 0) break
    const box = await sealing()
    const sealed = rows.map(({ id, ip, user_agent }: Row) => ({
      id,
      ip: ip === null ? null : box.seal(ip, SEALED_IP, id),
      user_agent: user_agent === null ? null : box.seal(user_agent, SEALED_USER_AGENT, id),
    }))
    // What was plain is overwritten: a dropped column stays in its rows on the disk.
    await db.raw(
      `update outbox t set sealed_ip = s.ip, sealed_user_agent = s.user_agent,
         ip = null, user_agent = null
       from jsonb_to_recordset(?::jsonb) as s(id text, ip text, user_agent text) where t.id = s.id`,
      [JSON.stringify(sealed)],
    )
    after = rows.at(-1).id
  }
  await db.raw(`
    alter table outbox drop column ip, drop column user_agent;
    create index outbox_ip_retention on outbox (occurred_at) where sealed_ip is not null;
  `)
}
