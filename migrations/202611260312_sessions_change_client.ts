import type { Knex } from 'knex'

// contract: older than the first release, so no version in use reads what goes here

interface Box {
  seal(value: unknown, column: { table: string; key: string; column: string }, row: string): string
}

interface Row {
  readonly uid: string
  readonly ip: string | null
  readonly user_agent: string | null
}

const PAGE = 500
const SEALED_IP = { table: 'sessions', key: 'uid', column: 'sealed_ip' }
const SEALED_USER_AGENT = { table: 'sessions', key: 'uid', column: 'sealed_user_agent' }

/** Where somebody signed in from, and with what, is sealed. */
export async function up(db: Knex, sealing: () => Promise<Box>): Promise<void> {
  await db.raw('alter table sessions add column sealed_ip text, add column sealed_user_agent text')
  for (let after = ''; ; ) {
    const { rows } = await db.raw('select uid, ip, user_agent from sessions where uid > ? order by uid limit ?', [
      after,
      PAGE,
    ])
    if (rows.length === 0) break
    const box = await sealing()
    const sealed = rows.map(({ uid, ip, user_agent }: Row) => ({
      uid,
      ip: ip === null ? null : box.seal(ip, SEALED_IP, uid),
      user_agent: user_agent === null ? null : box.seal(user_agent, SEALED_USER_AGENT, uid),
    }))
    // What was plain is overwritten: a dropped column stays in its rows on the disk.
    await db.raw(
      `update sessions t set sealed_ip = s.ip, sealed_user_agent = s.user_agent,
         ip = null, user_agent = null
       from jsonb_to_recordset(?::jsonb) as s(uid text, ip text, user_agent text) where t.uid = s.uid`,
      [JSON.stringify(sealed)],
    )
    after = rows.at(-1).uid
  }
  await db.raw(`
    alter table sessions drop column ip, drop column user_agent;
    create index sessions_ip_retention on sessions (authenticated_at) where sealed_ip is not null;
  `)
}
