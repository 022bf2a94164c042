/**
 * Key/value records in the table `key_values`, for installations without Redis. Each operation is one statement whose row
 * locks decide races; there are no transactions.
 */
import type { Knex } from 'knex'
import type { Clock } from './clock.ts'
import {
  expiryOf,
  type Hit,
  hitResult,
  type KeyValue,
  NEVER,
  type StoredLimit,
  storedKey,
  storedLimits,
  UNLIMITED,
} from './key_value.ts'
import type { Database } from './postgres.ts'

/** Writes over a live record (next version), over an expired one or anew (version 1). */
const SET = `
  insert into key_values (key, value, version, expires_at) values (:key, :value, 1, :expiry)
  on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at,
    version = case when key_values.expires_at > :now then key_values.version + 1 else 1 end`

const ADD = `
  insert into key_values (key, value, version, expires_at) values (:key, :value, 1, :expiry)
  on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at, version = 1
    where key_values.expires_at <= :now
  returning key`

const SWAP = `
  update key_values set value = :value, version = version + 1, expires_at = :expiry
  where key = :key and version = :expected and expires_at > :now
  returning key`

const READ = 'select value, version from key_values where key = :key and expires_at > :now'

const TAKE = 'delete from key_values where key = :key and expires_at > :now returning value'

/** Locks in the order of `hit`: no deadlock. */
const GIVE_BACK = `
  update key_values set value = (value::integer - 1)::text, version = version + 1 where key in (
    select key from key_values where key = any(cast(:keys as text[])) order by key for update
  ) and expires_at > :now and value::integer > 0`

const PURGE = `
  delete from key_values where key in (
    select key from key_values where expires_at <= :now order by expires_at limit :atMost for update skip locked
  ) returning key`

/** Key/value records in SQL. Rejects with the driver's error when the database is away. */
export function createSqlKeyValue(database: Pick<Database, 'db'>, clock: Clock): KeyValue {
  async function run<Row>(sql: string, bindings: { readonly [name: string]: unknown }): Promise<Row[]> {
    const result = await database.db.raw(sql, { now: clock.now(), ...bindings })
    return result.rows
  }

  async function write(sql: string, key: string, value: string, ttlSeconds: number, expected = 0): Promise<boolean> {
    const now = clock.now()
    const rows = await run(sql, { key: storedKey(key), value, expected, now, expiry: expiryOf(now, ttlSeconds) })
    return rows.length === 1
  }

  async function read(key: string): Promise<{ value: string; version: number } | undefined> {
    return (await run<{ value: string; version: number }>(READ, { key: storedKey(key) }))[0]
  }

  return {
    read,
    get: async (key) => (await read(key))?.value,
    set: async (key, value, ttlSeconds) => {
      await write(SET, key, value, ttlSeconds)
    },
    add: (key, value, ttlSeconds) => write(ADD, key, value, ttlSeconds),
    swap: (key, expected, value, ttlSeconds) => write(expected === 0 ? ADD : SWAP, key, value, ttlSeconds, expected),
    take: async (key) => (await run<{ value: string }>(TAKE, { key: storedKey(key) }))[0]?.value,
    delete: async (key) => {
      await run('delete from key_values where key = :key', { key: storedKey(key) })
    },
    hit: async (limits, proven = true) =>
      limits.length === 0 ? UNLIMITED : count(database.db, storedLimits(limits), proven, clock.now()),
    giveBack: async (keys) => {
      await run(GIVE_BACK, { keys: keys.map(storedKey) })
    },
    purge: async (now, atMost) => (await run(PURGE, { now, atMost })).length,
  }
}

/**
 * Counts on all limits or on none, in one statement. `locked` waits for its rows in key order (no deadlock) and sees what was
 * committed while it waited, so that parallel hits count one after the other. A row that is missing cannot be locked: then
 * nothing is counted, an expired row is made, and the statement runs again. A peek reads its row without waiting.
 */
async function count(db: Knex, limits: readonly StoredLimit[], proven: boolean, now: Date): Promise<Hit> {
  const wanted = limits.flatMap(({ stored, limit, warmAt = NEVER, windowSeconds, peek = false }, place) => [
    ...[place, stored, limit, warmAt, expiryOf(now, windowSeconds), peek],
  ])
  const missed = limits.filter(({ peek }) => !peek)
  for (let attempt = 0; attempt < HIT_ATTEMPTS; attempt++) {
    const { rows } = await db.raw(hitSql(limits.length), [...wanted, now, proven])
    const { missing, full_until: fullUntil, longest, counted, warm }: HitRow = rows[0]
    if (!missing) {
      const waitMs = fullUntil === null ? undefined : fullUntil.getTime() - now.getTime()
      return hitResult(limits, { waitMs, longest: longest ?? 0, counted, warm })
    }
    await db.raw(
      `insert into key_values (key, value, version, expires_at)
       values ${missed.map(() => "(?, '0', 0, ?)").join(', ')} on conflict (key) do nothing`,
      missed.flatMap(({ stored }) => [stored, now]),
    )
  }
  throw new Error('hit: the rows of the limits vanish again and again')
}

interface HitRow {
  readonly missing: boolean
  readonly full_until: Date | null
  readonly longest: number | null
  readonly counted: boolean
  readonly warm: boolean
}

/** A purge may take a new row before its first hit; more than a few times in a row it cannot. */
const HIT_ATTEMPTS = 5

function hitSql(limits: number): string {
  const row = '(?::integer, ?::text, ?::integer, ?::integer, ?::timestamptz, ?::boolean)'
  return `
    with wanted (place, key, allowed, warm_at, window_end, peek) as (
      values ${Array.from({ length: limits }, () => row).join(', ')}
    ), locked as materialized (
      select key, value, expires_at from key_values
      where key in (select key from wanted where not peek) order by key for update of key_values
    ), found as (
      select * from locked
      union all select key, value, expires_at from key_values where key in (select key from wanted where peek)
    ), state as (
      select wanted.place, wanted.key, allowed, warm_at, peek, found.key is null and not peek as missing,
        case when expires_at > at.now then value::integer else 0 end as hits,
        case when expires_at > at.now then expires_at else window_end end as expires_at
      from wanted left join found on found.key = wanted.key, (select ?::timestamptz as now) as at
    ), sums as (
      select bool_or(missing) as missing, max(expires_at) filter (where hits >= allowed) as full_until,
        bool_or(hits >= warm_at) as was_warm,
        bool_or(hits + case when peek then 0 else 1 end >= warm_at) as is_warm
      from state
    ), verdict as (
      select *, not missing and full_until is null and (not was_warm or ?::boolean) as counted from sums
    ), counted as (
      update key_values set value = (hits + 1)::text, expires_at = state.expires_at, version = version + 1
      from state, verdict where key_values.key = state.key and not peek and verdict.counted
    )
    select missing, full_until, counted, case when counted then is_warm else was_warm end as warm,
      (select min(place) from state where hits >= allowed and expires_at = full_until) as longest
    from verdict`
}
