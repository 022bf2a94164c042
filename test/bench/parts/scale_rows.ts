/** Rows and keys in bulk: copies of real ones under other ids, made inside of the stores. */
import { newBrowser, signIn } from '../flows.ts'
import { targetOf } from '../measure.ts'
import { type Stores, withStores } from '../stores.ts'
import type { Genkan } from '../subjects.ts'

const ACCOUNTS = `
  insert into accounts (id, email_hash, sealed_personal, email_verified_at, state, created_at, updated_at)
  select 'filler' || i, translate(rtrim(encode(sha256(i::text::bytea), 'base64'), '='), '+/', '-_'), one.sealed_personal,
    now(), 'active', now() - i * interval '1 second', now()
  from (select sealed_personal from accounts limit 1) one, generate_series(1, $1::integer) i`

const PASSWORDS = `
  insert into passwords (account_id, hash, changed_at)
  select id, (select hash from passwords limit 1), now() from accounts where id like 'filler%'`

/** So many accounts with passwords in all. Nobody can sign in to these: what is sealed belongs to another row. */
export async function addAccounts(stores: Stores, total: number): Promise<void> {
  await withStores(stores, async (sql) => {
    await sql.query(ACCOUNTS, [Math.max(0, total - stores.addresses.length)])
    await sql.query(PASSWORDS)
    await sql.query('vacuum analyze')
  })
}

const SESSIONS = `
  insert into sessions select row.* from (select * from sessions order by created_at limit 1) one,
    generate_series(1, $1::integer) i,
    lateral jsonb_populate_record(null::sessions, to_jsonb(one) || jsonb_build_object(
      'uid', 'filler' || i, 'account_id', 'filler' || (1 + i % $2::integer))) row`

const SESSION_CLIENTS = `
  insert into session_clients select row.* from (select * from session_clients order by created_at limit 1) one,
    generate_series(1, $1::integer) i,
    lateral jsonb_populate_record(null::session_clients, to_jsonb(one) || jsonb_build_object('session_uid',
      'filler' || i, 'account_id', 'filler' || (1 + i % $2::integer), 'sid', 'filler' || i, 'grant_id', 'filler' || i)) row`

const COPIES = `
  for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    for _, key in ipairs(KEYS) do redis.call('COPY', key, key .. ':filler' .. i) end
  end`
const BATCH = 500

/** As many sessions more, as one sign-in with a refresh token leaves them: rows, and keys in Redis. */
export async function addSessions(genkan: Genkan, count: number): Promise<void> {
  const target = targetOf(genkan, 1)
  await signIn(target, newBrowser(target), 'bench-spa').finally(() => target.close())
  await withStores(genkan.stores, async (sql, redis) => {
    const { rows } = await sql.query<{ count: string }>(`select count(*) from accounts where id like 'filler%'`)
    const accounts = Math.max(1, Number(rows[0]?.count))
    await sql.query(SESSIONS, [count, accounts])
    await sql.query(SESSION_CLIENTS, [count, accounts])
    await sql.query('vacuum analyze')
    const keys = await redis.keys('*oidc:*')
    for (let from = 1; from <= count; from += BATCH) {
      await redis.eval(COPIES, keys.length, ...keys, from, Math.min(count, from + BATCH - 1))
    }
  })
}
