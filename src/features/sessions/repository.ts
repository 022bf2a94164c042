/** Rows of `sessions` and `session_clients`. */
import type { Knex } from 'knex'
import type { Statement } from '../../platform/outbox.ts'
import type { OpenPersonal, PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import {
  beginningOf,
  type ClientLink,
  type ConnectedClient,
  type CutLink,
  type Cutoffs,
  type Ended,
  type EndReason,
  type LinkSelector,
  type ListedSession,
  limitsOf,
  type OpenSession,
  type ProvenSession,
  SEALED_IP,
  SEALED_USER_AGENT,
  type Session,
  type SignIn,
  type UpstreamSelector,
} from './types.ts'

export type SessionRepository = ReturnType<typeof sessionRepository>

/** Whether a row is not over. */
const ALIVE = `created_at >= ?::timestamptz - make_interval(secs => least(absolute_seconds, ?)) and
  seen_at >= ?::timestamptz - make_interval(secs => least(idle_seconds, ?) + ?)`

/** The expression of the index `sessions_upstream`. */
const UPSTREAM_SESSION = `(jsonb_path_query_first(proofs, '$[*].by.session') #>> '{}')`

function alive({ now, absoluteSeconds, idleSeconds, slackSeconds }: Cutoffs) {
  return [now, absoluteSeconds, now, idleSeconds, slackSeconds]
}

/** Finds and changes sign-ins. `tx` is optional where one statement is the whole act. */
export function sessionRepository(db: Knex, personal: PersonalData) {
  return { ...reads(db, personal), ...beginnings(db, personal), ...endings(), ...purges(db) }
}

function reads(db: Knex, personal: PersonalData) {
  return {
    async find(uid: string, tx?: Tx): Promise<Session | undefined> {
      const row = await (tx ?? db)('sessions').where({ uid }).first()
      return row === undefined ? undefined : personal.read((open) => toSession(row, open), tx)
    },

    /** What a client holds by a session that was not ended, by the name that it has for the session. */
    findLink: (account_id: string, client_id: string, sid: string): Promise<SignIn | undefined> =>
      db('session_clients')
        .whereIn('session_uid', db('sessions').select('uid').where({ account_id }).whereNull('ended_at'))
        .where({ account_id, client_id, sid, revoked_at: null })
        .orderBy('created_at', 'desc')
        .first({ grantId: 'grant_id', sessionUid: 'session_uid' }),

    grantStands: async (grant_id: string): Promise<boolean> =>
      (await db('session_clients').where({ grant_id, revoked_at: null }).first('grant_id')) !== undefined,

    /** Live sessions of an account, the latest seen first. */
    async listLive(accountId: string, over: Cutoffs, tx?: Tx): Promise<ListedSession[]> {
      const { rows } = await (tx ?? db).raw<{ rows: ListedRow[] }>(
        `select sessions.*, coalesce((
             select jsonb_agg(distinct client_id) from session_clients where session_uid = uid and revoked_at is null
           ), '[]') as client_ids
           from sessions
          where account_id = ? and ended_at is null and ${ALIVE}
          order by seen_at desc limit 200`,
        [accountId, ...alive(over)],
      )
      const listed = (row: ListedRow, open: OpenPersonal): ListedSession => ({
        ...toSession(row, open),
        ...{ methods: row.proofs.map(({ method }) => method), clientIds: row.client_ids },
      })
      return personal.read((open) => rows.map((row) => listed(row, open)), tx)
    },

    /** Live sessions with a proof by an upstream provider. */
    async listUpstream(upstream: string, of: UpstreamSelector, tx: Tx): Promise<ProvenSession[]> {
      const [where, value] = 'session' in of ? [UPSTREAM_SESSION, of.session] : ['account_id', of.accountId]
      const { rows } = await tx.raw(
        `select uid, proofs from sessions where ended_at is null and ${where} = ? and proofs @> ?::jsonb order by uid`,
        [value, JSON.stringify([{ by: { upstream } }])],
      )
      return rows
    },

    /** Clients that hold a live grant of the account, by client. */
    async listConnected(accountId: string, tx?: Tx): Promise<ConnectedClient[]> {
      const { rows } = await (tx ?? db).raw(
        `select client_id, bool_or(offline) as offline, min(created_at) as since, string_agg(distinct scope, ' ') as scopes
           from session_clients where account_id = ? and revoked_at is null group by client_id order by client_id`,
        [accountId],
      )
      return rows.map((row: ConnectedRow) => ({
        clientId: row.client_id,
        offline: row.offline,
        since: row.since,
        scopes: [...new Set(row.scopes.split(' ').filter(Boolean))],
      }))
    },
  }
}

function beginnings(db: Knex, personal: PersonalData) {
  const client = ({ ip, country, userAgent }: OpenSession, uid: string) => [
    ip === undefined ? null : personal.seal(ip, SEALED_IP, uid),
    country ?? null,
    userAgent === undefined ? null : personal.seal(userAgent.slice(0, 512), SEALED_USER_AGENT, uid),
  ]
  return {
    /** Inserts a new session together with its facts: one statement, of which all or nothing is done. */
    async begin(session: OpenSession, uid: string, facts: Statement, tx?: Tx): Promise<void> {
      const { accountId, transient, now } = session
      await (tx ?? db).raw(
        `with facts as (${facts.sql})
         insert into sessions (uid, account_id, proofs, amr, transient, sealed_ip, country, sealed_user_agent, created_at,
           authenticated_at, seen_at, idle_seconds, absolute_seconds)
         values (?, ?, ?::jsonb, ?::jsonb, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        [
          ...facts.bindings,
          ...[uid, accountId, JSON.stringify(session.proofs), JSON.stringify(session.amr), transient],
          ...[...client(session, uid), now, now, now],
          ...limitsOf(session),
        ],
      )
    },

    /**
     * Renews the live row `uid` of the same account, else inserts `freshUid`: one statement, so a row of another account
     * or one that has ended can never be revived.
     */
    async open(
      session: OpenSession,
      freshUid: string,
      over: Cutoffs,
      tx: Tx,
    ): Promise<{ uid: string; renewed: boolean }> {
      const proofs = JSON.stringify(session.proofs)
      const amr = JSON.stringify(session.amr)
      const now = session.now
      const { rows } = await tx.raw(
        `with renewed as (
           update sessions set proofs = ?::jsonb, amr = ?::jsonb, transient = ?, sealed_ip = ?,
             country = ?, sealed_user_agent = ?, authenticated_at = ?, seen_at = ?
           where uid = ? and account_id = ? and ended_at is null and
             created_at >= ?::timestamptz - make_interval(secs => least(absolute_seconds, ?)) returning uid
         ), fresh as (
           insert into sessions (uid, account_id, proofs, amr, transient, sealed_ip, country, sealed_user_agent, created_at,
             authenticated_at, seen_at, idle_seconds, absolute_seconds)
           select ?::text, ?::text, ?::jsonb, ?::jsonb, ?::boolean, ?::text, ?::text, ?::text, ?::timestamptz,
             ?::timestamptz, ?::timestamptz, ?::integer, ?::integer
           where not exists (select 1 from renewed) returning uid
         )
         select uid, true as renewed from renewed union all select uid, false from fresh`,
        [
          ...[proofs, amr, session.transient, ...client(session, session.uid ?? ''), now, now],
          ...[session.uid ?? '', session.accountId, over.now, over.absoluteSeconds],
          ...[freshUid, session.accountId, proofs, amr, session.transient, ...client(session, freshUid), now, now, now],
          ...limitsOf(session),
        ],
      )
      return { uid: rows[0].uid, renewed: rows[0].renewed }
    },

    /**
     * Notes that a session reached a client: one insert. Nothing is written, and false returned, when the session is not
     * live: `for share` makes an end in flight and this insert see each other, so no grant slips past "end everything".
     */
    async link(link: ClientLink, now: Date, tx?: Tx): Promise<boolean> {
      const { rows } = await (tx ?? db).raw(
        `with live as (select uid, account_id from sessions where uid = ? and account_id = ? and ended_at is null for share),
         linked as (
           insert into session_clients (session_uid, client_id, account_id, sid, grant_id, offline, scope, created_at)
           select uid, ?::text, account_id, ?::text, ?::text, ?::boolean, ?::text, ?::timestamptz from live
           on conflict (session_uid, client_id, grant_id) do update
             set offline = session_clients.offline or excluded.offline, scope = excluded.scope
             where session_clients.revoked_at is null
               and (session_clients.scope <> excluded.scope or excluded.offline > session_clients.offline)
         )
         select uid from live`,
        [
          ...[link.sessionUid, link.accountId],
          ...[link.clientId, link.sid, link.grantId, link.offline, link.scope, now],
        ],
      )
      return rows.length === 1
    },

    async touch(uid: string, now: Date, seenBefore: Date): Promise<void> {
      await db('sessions')
        .where({ uid })
        .whereNull('ended_at')
        .where('seen_at', '<', seenBefore)
        .update({ seen_at: now })
    },
  }
}

function endings() {
  return {
    /** Ends one live session; undefined when it was not live. */
    async end(uid: string, reason: EndReason, now: Date, tx: Tx): Promise<Ended | undefined> {
      const rows = await tx('sessions')
        .where({ uid })
        .whereNull('ended_at')
        .update({ ended_at: now, end_reason: reason }, ['uid', 'account_id'])
      return rows.map(toEnded)[0]
    },

    /** Ends all live sessions of an account, but `exceptUid`. */
    async endAll(
      accountId: string,
      exceptUid: string | undefined,
      reason: EndReason,
      now: Date,
      tx: Tx,
    ): Promise<Ended[]> {
      const rows = await tx('sessions')
        .where({ account_id: accountId })
        .whereNull('ended_at')
        .whereNot('uid', exceptUid ?? '')
        .update({ ended_at: now, end_reason: reason }, ['uid', 'account_id'])
      return rows.map(toEnded)
    },

    /** Revokes links and returns them; with `keepsOffline` offline ones are returned but live on. */
    async cutLinks(selector: LinkSelector, keepsOffline: boolean, now: Date, tx: Tx): Promise<CutLink[]> {
      const rows = await selected(tx('session_clients'), selector)
        .whereNull('revoked_at')
        .update({
          revoked_at: tx.raw('case when offline and ?::boolean then null else ?::timestamptz end', [keepsOffline, now]),
        })
        .returning(['account_id', 'client_id', 'sid', 'grant_id', 'session_uid', 'revoked_at'])
      return rows.map(toCutLink)
    },
  }
}

function purges(db: Knex) {
  return {
    /** Ends sessions that are over by age or silence, `atMost` in one go. */
    async endOver(over: Cutoffs, atMost: number, now: Date, tx: Tx): Promise<Ended[]> {
      const { rows } = await tx.raw(
        `update sessions set ended_at = ?, end_reason = 'expired' where uid in (
           select uid from sessions where ended_at is null and (created_at < ? or seen_at < ? or
             ((idle_seconds is not null or absolute_seconds is not null) and not (${ALIVE})))
           limit ? for update skip locked) returning uid, account_id`,
        [now, ...beginningOf(over), ...alive(over), atMost],
      )
      return rows.map(toEnded)
    },

    /** Deletes ended rows, but keeps those that an offline grant younger than `offlineSince` still hangs on. */
    async deleteEnded(endedBefore: Date, offlineSince: Date, atMost: number): Promise<number> {
      const result = await db.raw(
        `delete from sessions where uid in (
           select uid from sessions where ended_at < ? and not exists (
             select 1 from session_clients
             where session_uid = uid and offline and revoked_at is null and created_at >= ?)
           limit ?) returning uid`,
        [endedBefore, offlineSince, atMost],
      )
      return result.rows.length
    },

    /** Forgets the addresses of sign-ins older than their retention, and what they told. */
    async forgetAddresses(before: Date, atMost: number): Promise<void> {
      await db.raw(
        `update sessions set sealed_ip = null, country = null where uid in (
           select uid from sessions where sealed_ip is not null and authenticated_at < ? limit ?)`,
        [before, atMost],
      )
    },
  }
}

function selected(query: Knex.QueryBuilder, selector: LinkSelector): Knex.QueryBuilder {
  if ('sessionUids' in selector) return query.whereIn('session_uid', [...selector.sessionUids])
  if ('grantId' in selector) return query.where({ grant_id: selector.grantId })
  if ('everybodyAt' in selector) return query.where({ client_id: selector.everybodyAt })
  if ('clientId' in selector) return query.where({ account_id: selector.accountId, client_id: selector.clientId })
  return query.where({ account_id: selector.accountId }).whereNot('session_uid', selector.exceptUid ?? '')
}

interface LinkRow {
  account_id: string
  client_id: string
  sid: string
  grant_id: string
  session_uid: string
  revoked_at: Date | null
}

interface ConnectedRow {
  client_id: string
  offline: boolean
  since: Date
  scopes: string
}

interface SessionRow {
  uid: string
  account_id: string
  amr: string[]
  transient: boolean
  proofs: { method: string; by?: { upstream: string } }[]
  sealed_ip: string | null
  country: string | null
  sealed_user_agent: string | null
  created_at: Date
  authenticated_at: Date
  seen_at: Date
  ended_at: Date | null
  idle_seconds: number | null
  absolute_seconds: number | null
}

type ListedRow = SessionRow & { client_ids: string[] }

function toEnded(row: Pick<LinkRow, 'account_id'> & { uid: string }): Ended {
  return { uid: row.uid, accountId: row.account_id }
}

function toCutLink(row: LinkRow): CutLink {
  const { account_id: accountId, client_id: clientId, sid, grant_id: grantId, session_uid: sessionUid } = row
  return { accountId, clientId, sid, grantId, sessionUid, revoked: row.revoked_at !== null }
}

function toSession(row: SessionRow, open: OpenPersonal): Session {
  const opened = (column: typeof SEALED_IP | typeof SEALED_USER_AGENT) => {
    const sealed = row[column.column]
    return sealed === null ? undefined : String(open(sealed, column, row.uid))
  }
  return {
    ...{ uid: row.uid, accountId: row.account_id, amr: row.amr, transient: row.transient },
    ...{ ip: opened(SEALED_IP), country: row.country ?? undefined, userAgent: opened(SEALED_USER_AGENT) },
    ...{ createdAt: row.created_at, authenticatedAt: row.authenticated_at, seenAt: row.seen_at },
    endedAt: row.ended_at ?? undefined,
    limits: { idleSeconds: row.idle_seconds ?? undefined, absoluteSeconds: row.absolute_seconds ?? undefined },
    upstreams: row.proofs.flatMap(({ by }) => by?.upstream ?? []),
  }
}
