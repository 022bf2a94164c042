/** SQL of counted refusals. */
import type { Knex } from 'knex'

/** References that a row keeps. */
export const MOST_REFERENCES = 40

export interface RefusalGroup {
  readonly minute: Date
  /** Empty: no client that there is. */
  readonly clientId: string
  readonly endpoint: string
  readonly reason: string
  readonly error: string
  readonly count: number
  readonly requestIds: readonly string[]
}

interface Row {
  minute: Date
  client_id: string
  endpoint: string
  reason: string
  error: string
  count: number
}

export type RefusalRepository = ReturnType<typeof refusalRepository>

export function refusalRepository(db: Knex) {
  return {
    /** Adds to what was counted in these minutes: one statement, in one order on all instances. */
    async add(groups: readonly RefusalGroup[]): Promise<void> {
      const list = groups.map((group) => ({ group, key: keyOf(group) })).sort((a, b) => (a.key < b.key ? -1 : 1))
      const rows = list.map(() => '(?::timestamptz, ?, ?, ?, ?, ?::integer, ?::text[])').join(', ')
      await db.raw(
        `insert into refusals (minute, client_id, endpoint, reason, error, count, request_ids) values ${rows}
         on conflict (minute, client_id, endpoint, reason) do update set count = refusals.count + excluded.count,
           request_ids = (refusals.request_ids || excluded.request_ids)[1:${MOST_REFERENCES}]`,
        list.flatMap(({ group }) => [
          ...[group.minute, group.clientId, group.endpoint, group.reason, group.error, group.count],
          [...group.requestIds],
        ]),
      )
    },

    async find(requestId: string): Promise<Omit<RefusalGroup, 'requestIds'> | undefined> {
      const { rows } = await db.raw<{ rows: Row[] }>('select * from refusals where request_ids @> array[?]::text[]', [
        requestId,
      ])
      return rows.map(({ client_id: clientId, ...row }) => ({ ...row, clientId }))[0]
    },

    /** Of these clients those that there are, and whether they are on. */
    async states(clientIds: readonly string[]): Promise<ReadonlyMap<string, boolean>> {
      const rows = await db('clients')
        .select('id', 'disabled_at')
        .whereIn('id', [...clientIds])
      return new Map(rows.map((row) => [String(row.id), row.disabled_at === null]))
    },

    /** Deletes what is older than `before`, and the oldest beyond `most`. */
    async purge(before: Date, most: number): Promise<void> {
      await db.raw(
        `delete from refusals where minute < greatest(?::timestamptz, coalesce(
           (select minute from refusals order by minute desc offset ? limit 1), ?::timestamptz))`,
        [before, most, before],
      )
    },
  }
}

function keyOf({ minute, clientId, endpoint, reason }: RefusalGroup): string {
  return [minute.toISOString(), clientId, endpoint, reason].join(' ')
}
