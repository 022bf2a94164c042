/** Rows of `devices`, and when an account stopped trusting them (`accounts.distrusted_at`). */
import type { Knex } from 'knex'
import type { PersonalData } from '../../platform/personal_columns.ts'
import type { Tx } from '../../platform/postgres.ts'
import { EMAIL_HASH } from '../accounts/types.ts'
import type { Device, Sighting } from './types.ts'

export type DeviceRepository = ReturnType<typeof deviceRepository>

export function deviceRepository(db: Knex, personal: Pick<PersonalData, 'index'>) {
  return { ...reads(db, personal), ...sightings(db), ...trust() }
}

function reads(db: Knex, personal: Pick<PersonalData, 'index'>) {
  return {
    /** Whether the account trusts the browser at this moment. */
    async isTrusted(accountId: string, tokenHash: string, now: Date): Promise<boolean> {
      const row = await db('devices')
        .where({ account_id: accountId, token_hash: tokenHash })
        .where('trusted_until', '>', now)
        .first('id')
      return row !== undefined
    },

    /** Whether the account that has proven the address was signed in to in the browser. */
    async isKnown(email: string, tokenHash: string): Promise<boolean> {
      const { rows } = await db.raw(
        `select 1 from devices join accounts on accounts.id = account_id
         where email_hash = ? and email_verified_at is not null and token_hash = ? and known_at is not null`,
        [await personal.index(email, EMAIL_HASH), tokenHash],
      )
      return rows.length > 0
    },

    /** Browsers that the account was used in, the latest first. */
    async list(accountId: string): Promise<Device[]> {
      const rows: DeviceRow[] = await db('devices')
        .where({ account_id: accountId })
        .where((query) => query.whereNotNull('known_at').orWhereNotNull('trusted_until'))
        .orderBy('last_seen_at', 'desc')
        .limit(200)
      return rows.map(toDevice)
    },

    /** Deletes up to `atMost` rows not seen since `before`, but never an account's last: it tells that there was a sign-in. */
    async deleteUnseen(before: Date, atMost: number): Promise<number> {
      const { rows } = await db.raw(
        `delete from devices where id in (
           select d.id from devices d where d.last_seen_at < ?
             and exists (select 1 from devices n where n.account_id = d.account_id and
               (n.last_seen_at, n.id) > (d.last_seen_at, d.id))
           limit ?) returning id`,
        [before, atMost],
      )
      return rows.length
    },
  }
}

function sightings(db: Knex) {
  return {
    /**
     * Notes a sign-in in a browser that the account knows, or in its first one: of neither is anybody told. One statement.
     * False when the browser is new to an account that knows others, or the account is gone.
     */
    async see(id: string, { accountId, tokenHash, browser, system, at }: Sighting): Promise<boolean> {
      const { rows } = await db.raw(
        `insert into devices (id, account_id, token_hash, browser, system, first_seen_at, last_seen_at, known_at)
         select ?::text, a.id, s.token_hash, ?::text, ?::text, s.at, s.at, s.at
         from (select ?::text as account_id, ?::text as token_hash, ?::timestamptz as at) s
         join accounts a on a.id = s.account_id
         where not exists (select 1 from devices o where o.account_id = a.id and o.token_hash <> s.token_hash)
           or exists (
             select 1 from devices d
             where d.account_id = a.id and d.token_hash = s.token_hash and d.known_at is not null)
         on conflict (account_id, token_hash) do update
           set browser = excluded.browser, system = excluded.system,
             last_seen_at = greatest(devices.last_seen_at, excluded.last_seen_at),
             first_seen_at = case when devices.known_at is null then excluded.first_seen_at else devices.first_seen_at end,
             known_at = coalesce(devices.known_at, excluded.known_at)
         returning 1`,
        [id, browser, system, accountId, tokenHash, at],
      )
      return rows.length > 0
    },

    /**
     * Notes a browser that the account does not know yet, and says whether it knows others. Of two deliveries of one fact
     * only the first meets an unknown browser; the second, and an account that is gone, get undefined.
     */
    async insert(
      id: string,
      { accountId, tokenHash, browser, system, at }: Sighting,
      tx: Tx,
    ): Promise<{ readonly hasOthers: boolean } | undefined> {
      const { rows } = await tx.raw<{ rows: { has_others: boolean }[] }>(
        `insert into devices (id, account_id, token_hash, browser, system, first_seen_at, last_seen_at, known_at)
         select ?::text, id, ?::text, ?::text, ?::text, ?::timestamptz, ?::timestamptz, ?::timestamptz from accounts where id = ?
         on conflict (account_id, token_hash) do update
           set browser = excluded.browser, system = excluded.system, first_seen_at = excluded.first_seen_at,
             last_seen_at = excluded.last_seen_at, known_at = excluded.known_at
           where devices.known_at is null
         returning exists (
           select 1 from devices o where o.account_id = devices.account_id and o.token_hash <> devices.token_hash
         ) as has_others`,
        [id, tokenHash, browser, system, at, at, at, accountId],
      )
      return rows[0] === undefined ? undefined : { hasOthers: rows[0].has_others }
    },
  }
}

function trust() {
  return {
    /**
     * Trusts a browser until `until`, unless the account has stopped trusting since `provenAt`, when its second factor was
     * shown. The account's row is locked: a change of a factor that is under way goes first, and is seen.
     */
    async trust(
      id: string,
      { accountId, tokenHash, browser, system, at }: Sighting,
      { until, provenAt }: { readonly until: Date; readonly provenAt: Date },
      tx: Tx,
    ): Promise<boolean> {
      const account = await tx('accounts')
        .where({ id: accountId, state: 'active' })
        .where((query) => query.whereNull('distrusted_at').orWhere('distrusted_at', '<=', provenAt))
        .forUpdate()
        .first('id')
      if (account === undefined) return false
      const fresh = { id, account_id: accountId, token_hash: tokenHash, browser, system }
      await tx('devices')
        .insert({ ...fresh, first_seen_at: at, last_seen_at: at, trusted_until: until })
        .onConflict(['account_id', 'token_hash'])
        .merge({ trusted_until: until })
      return true
    },

    /** Trusts none of the account's browsers any more. Returns how many it did. */
    async distrustAll(accountId: string, now: Date, tx: Tx): Promise<number> {
      // The account first, as above: a trust that is being given is either seen here or refused there.
      await tx('accounts').where({ id: accountId }).update({ distrusted_at: now })
      return tx('devices')
        .where({ account_id: accountId })
        .whereNotNull('trusted_until')
        .update({ trusted_until: null })
    },

    /** Forgets one browser of the account: neither known nor trusted. */
    async forget(accountId: string, id: string, tx: Tx): Promise<boolean> {
      const changed = await forgotten(tx, accountId).where({ id })
      return changed === 1
    },

    /** Forgets all of them; the rows stay, so that the next sign-in is told of. */
    forgetAll: (accountId: string, tx: Tx): Promise<number> => forgotten(tx, accountId),
  }
}

function forgotten(tx: Tx, accountId: string) {
  return tx('devices')
    .where({ account_id: accountId })
    .where((query) => query.whereNotNull('known_at').orWhereNotNull('trusted_until'))
    .update({ known_at: null, trusted_until: null })
}

interface DeviceRow {
  readonly id: string
  readonly account_id: string
  readonly token_hash: string
  readonly browser: string
  readonly system: string
  readonly first_seen_at: Date
  readonly last_seen_at: Date
  readonly known_at: Date | null
  readonly trusted_until: Date | null
}

function toDevice(row: DeviceRow): Device {
  return {
    id: row.id,
    accountId: row.account_id,
    tokenHash: row.token_hash,
    browser: row.browser,
    system: row.system,
    firstSeenAt: row.first_seen_at,
    lastSeenAt: row.last_seen_at,
    trustedUntil: row.trusted_until ?? undefined,
  }
}
