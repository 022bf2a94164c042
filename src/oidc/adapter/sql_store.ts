/** OIDC state in the table `oidc_state`, for the embedded default and for PostgreSQL without Redis. */
import type { Database } from '../../platform/postgres.ts'
import { beginningOf, hashId, type OidcStore, type Payload, textOf } from './store.ts'

interface Row {
  readonly payload: string
  readonly consumed_at: Date | null
}

/** Builds the store; `now` is the clock that expiry is compared with. */
export function createSqlOidcStore(database: Database, now: () => Date): OidcStore {
  const { db } = database
  const live = (rows: readonly Row[]) => (rows[0] === undefined ? undefined : parse(rows[0]))
  const select = (where: string, bindings: readonly string[]) =>
    db.raw(
      `select payload, consumed_at from oidc_state where ${where} and (expires_at is null or expires_at > ?)
       order by expires_at desc nulls first limit 1`,
      [...bindings, now()],
    )

  return {
    async save(model, id, payload, ttl, ifAbsent = false) {
      const bindings = row(model, id, payload, ttl, now())
      const result = await db.raw(
        `insert into oidc_state (model, id_hash, payload, uid_hash, user_code_hash, account_id, grant_id, expires_at)
         values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (model, id_hash) do update set payload = excluded.payload,
         uid_hash = excluded.uid_hash, user_code_hash = excluded.user_code_hash, account_id = excluded.account_id,
         grant_id = excluded.grant_id, expires_at = excluded.expires_at
         ${ifAbsent ? 'where oidc_state.expires_at <= ?' : ''} returning 1 as written`,
        ifAbsent ? [...bindings, now()] : bindings,
      )
      return result.rows.length === 1
    },
    async find(model, id) {
      return live((await select('model = ? and id_hash = ?', [model, hashId(id)])).rows)
    },
    async findByUid(uid) {
      return live((await select("model = 'Session' and uid_hash = ?", [hashId(uid)])).rows)
    },
    async findByUserCode(userCode) {
      return live((await select("model = 'DeviceCode' and user_code_hash = ?", [hashId(userCode)])).rows)
    },
    async saveByUserCode(userCode, payload) {
      await db.raw(
        `update oidc_state set payload = ?, account_id = ?, grant_id = ?
         where model = 'DeviceCode' and user_code_hash = ? and expires_at > ?`,
        [
          textOf(payload),
          ...[payload.accountId ?? null, payload.grantId ?? null].map((value) =>
            value === null ? null : String(value),
          ),
          ...[hashId(userCode), now()],
        ],
      )
    },
    async consume(model, id, at) {
      const key = [model, hashId(id)]
      const used = await db.raw(
        `update oidc_state set consumed_at = ? where model = ? and id_hash = ? and consumed_at is null returning 1 as used`,
        [new Date(at * 1000), ...key],
      )
      if (used.rows.length === 1) return 'first'
      const found = live((await select('model = ? and id_hash = ?', key)).rows)
      return typeof found?.consumed === 'number' ? found.consumed : 'missing'
    },
    // What SQL holds is never in doubt.
    adopt: async () => {},
    ...sessionWrites(database, now),
    async destroy(model, id) {
      await db.raw('delete from oidc_state where model = ? and id_hash = ?', [model, hashId(id)])
    },
    async destroySession(uid) {
      await db.raw("delete from oidc_state where model = 'Session' and uid_hash = ?", [hashId(uid)])
    },
    async purge(before, atMost) {
      const gone = await db.raw(
        `delete from oidc_state where ctid in
         (select ctid from oidc_state where expires_at <= ? limit ?) returning 1 as gone`,
        [before, atMost],
      )
      return gone.rows.length
    },
  }
}

function sessionWrites(
  { db }: Database,
  now: () => Date,
): Pick<OidcStore, 'swapSession' | 'leadToSession' | 'moveSession'> {
  const until = (ttl: number) => new Date(now().getTime() + ttl * 1000)
  return {
    async swapSession(place, expected, payload, ttl) {
      const [column, key] = 'id' in place ? ['id_hash', place.id] : ['uid_hash', place.uid]
      const written = await db.raw(
        `update oidc_state set payload = ?, expires_at = ? where model = 'Session' and ${column} = ?
         and starts_with(payload, ?) and expires_at > ? returning 1 as written`,
        [textOf(payload), until(ttl), hashId(key), beginningOf(expected), now()],
      )
      return written.rows.length > 0 ? 'written' : 'no'
    },
    // Both names are of one row.
    leadToSession: async () => false,
    // The row stays and gets another id, so that `destroySession` at the same time meets it.
    async moveSession(oldId, id, payload, ttl) {
      const moved = await db.raw(
        `update oidc_state as it set id_hash = ?, payload = ?, expires_at = ?
         from (select model, id_hash, payload, consumed_at from oidc_state
               where model = 'Session' and id_hash = ? and expires_at > ? for update) as old
         where it.model = old.model and it.id_hash = old.id_hash returning old.payload, old.consumed_at`,
        [hashId(id), textOf(payload), until(ttl), hashId(oldId), now()],
      )
      return moved.rows[0] === undefined ? undefined : parse(moved.rows[0])
    },
  }
}

function row(model: string, id: string, payload: Payload, ttl: number | undefined, now: Date) {
  const text = (key: string) => (typeof payload[key] === 'string' ? payload[key] : null)
  const hashed = (value: string | null) => (value === null ? null : hashId(value))
  return [
    model,
    hashId(id),
    textOf(payload),
    model === 'Session' ? hashed(text('uid')) : null,
    hashed(text('userCode')),
    text('accountId'),
    text('grantId'),
    ttl === undefined ? null : new Date(now.getTime() + ttl * 1000),
  ]
}

function parse(found: Row): Payload {
  const payload = JSON.parse(found.payload) as Payload
  if (found.consumed_at !== null) payload.consumed = Math.floor(found.consumed_at.getTime() / 1000)
  return payload
}
