/** Bounded clean-up of what has served its time: delivered rows, addresses of facts, expired state. */
import type { Database } from './postgres.ts'

interface Deps {
  readonly database: Pick<Database, 'db'>
  /** Days after which delivered and failed rows go. */
  readonly deliveryDays: number
  /** Days after which the addresses on facts are erased; their keyed hashes stay in the ledger. */
  readonly ipDays: number
  /** Other purges (key/values, OIDC state, …): each deletes at most `atMost` expired rows and says how many. */
  readonly purges?: readonly ((now: Date, atMost: number) => Promise<number>)[] | undefined
}

const AT_MOST = 1000
const ROUNDS = 20
const DAY_MS = 86_400_000

/** Makes the job's work: small statements until nothing is left or its round is full; the next run goes on. Returns rows touched. */
export function createRetention({ database, deliveryDays, ipDays, purges = [] }: Deps): (now: Date) => Promise<number> {
  const { db } = database
  const deliveries = async (now: Date, atMost: number) => {
    const before = new Date(now.getTime() - deliveryDays * DAY_MS)
    const { rows } = await db.raw(
      `with old as (
         (select outbox_id, consumer from deliveries where state = 'delivered' and delivered_at < ? limit ?)
         union all
         (select outbox_id, consumer from deliveries where state = 'failed' and next_at < ? limit ?))
       delete from deliveries d using old where d.outbox_id = old.outbox_id and d.consumer = old.consumer
       returning 1`,
      [before, atMost, before, atMost],
    )
    return rows.length
  }
  const addresses = async (now: Date, atMost: number) => {
    const { rows } = await db.raw(
      `update outbox set sealed_ip = null where id in (
         select id from outbox where sealed_ip is not null and occurred_at < ? order by occurred_at limit ?) returning 1`,
      [new Date(now.getTime() - ipDays * DAY_MS), atMost],
    )
    return rows.length
  }
  return async (now) => {
    let total = 0
    for (const purge of [deliveries, addresses, ...purges]) {
      for (let round = 0; round < ROUNDS; round++) {
        const count = await purge(now, AT_MOST)
        total += count
        if (count < AT_MOST) break
      }
    }
    return total
  }
}
