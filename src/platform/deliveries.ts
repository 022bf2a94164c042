/**
 * Deliveries: each consumer has its own row for each fact it subscribed to. Rows are claimed with `skip locked` and a lease,
 * handled outside of any transaction, and tried again with back-off: at least once, with a fact id that never changes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fact, RecordedFact } from '../events.ts'
import { type Claim, claimDue, fail, PermanentFailure, succeed } from './delivery_rows.ts'
import { canonical, OUTBOX_MAC, type OutboxRow, openFact, openFacts } from './outbox.ts'
import type { PersonalData } from './personal_columns.ts'
import type { Database } from './postgres.ts'

export interface Deliveries {
  /** Delivers everything that is due; returns how many succeeded. A call during another joins it and makes it look again. */
  deliver(): Promise<number>
  /** Claims nothing more and waits for what is in flight. */
  stop(): Promise<void>
  /** Makes what a killed process held due at once. Only when this is the one process on the database. */
  resume(): Promise<void>
  /** Numbers by consumer and state, for the command line. */
  status(): Promise<readonly DeliveryStatus[]>
}

export interface DeliveryStatus {
  readonly consumer: string
  readonly state: 'pending' | 'delivered' | 'failed'
  readonly count: number
  /** The newest error among them; without values from requests. */
  readonly lastError?: string | undefined
}

interface Deps {
  readonly database: Pick<Database, 'db' | 'transaction'>
  readonly secretBox: {
    open(sealed: string, purpose: string): string
    macMatches(value: string, purpose: string, mac: string): boolean
  }
  readonly personal: Pick<PersonalData, 'read'>
  readonly clock: { now(): Date }
  readonly subscriptions: readonly { readonly consumer: string; handle(fact: RecordedFact): Promise<void> }[]
  readonly logger: { warn(facts: object, message: string): void }
  /** Whether this process may claim: one whose clock is wrong would take what others have in their hands. */
  readonly mayClaim?: (() => Promise<boolean>) | undefined
  /** Seconds after which a claimed delivery is taken from a worker that was killed. Handlers get three fifths of it. */
  readonly leaseSeconds?: number | undefined
}

/** Deliveries of one consumer that run at the same time in one process. */
const AT_ONCE = 8
const GATHER_MS = 10
/** Three minutes for the handler, and two by which another instance may be ahead of us (`clock_tolerance_seconds`). */
const LEASE_SECONDS = 300

/** Makes the worker. `deliver` is called by the dispatcher. */
export function createDeliveries(deps: Deps): Deliveries {
  const { database, clock } = deps
  // A lane for each consumer: a client that hangs at its logout address must not keep mail waiting.
  const inTurn = createTurns()
  const settle = createSettlement(deps)
  const lanes = deps.subscriptions.map((subscription) => createLane(deps, subscription, { inTurn, settle }))
  return {
    async deliver() {
      const ends = await Promise.allSettled(lanes.map((lane) => lane.drain()))
      for (const end of ends) if (end.status === 'rejected') throw end.reason
      return ends.reduce((total, end) => total + (end.status === 'fulfilled' ? end.value : 0), 0)
    },
    async stop() {
      await Promise.allSettled(lanes.map((lane) => lane.stop()))
    },
    async resume() {
      const now = clock.now()
      await database
        .db('deliveries')
        .where({ state: 'pending', last_error: null })
        .where('next_at', '>', now)
        .update({ next_at: now })
    },
    async status() {
      const { rows } = await database.db.raw(`
        select consumer, state, count(*)::int as count,
               (array_agg(last_error order by next_at desc) filter (where last_error is not null))[1] as last_error
        from deliveries group by consumer, state order by consumer, state`)
      type Row = { consumer: string; state: DeliveryStatus['state']; count: number; last_error: string | null }
      return rows.map((row: Row) => ({
        consumer: row.consumer,
        state: row.state,
        count: row.count,
        lastError: row.last_error ?? undefined,
      }))
    },
  }
}

type Subscription = Deps['subscriptions'][number]

/** What the lanes of one process share. */
interface Shared {
  readonly inTurn: ReturnType<typeof createTurns>
  readonly settle: ReturnType<typeof createSettlement>
}

/**
 * One after another. There are as many consumers as connections: when the table is slow, lanes that claim at the same time would
 * hold every connection that requests wait for.
 */
function createTurns() {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work)
    last = mine.catch(() => {})
    return mine
  }
}

/** One consumer's worker: keeps up to eight deliveries in flight and claims one more whenever one ends or it is nudged. */
function createLane(deps: Deps, subscription: Subscription, { inTurn, settle }: Shared) {
  const { database, clock, leaseSeconds = LEASE_SECONDS, mayClaim = async () => true } = deps
  const claiming = { consumer: subscription.consumer, leaseSeconds }
  const flights = new Set<Promise<void>>()
  let nudge = () => {}
  let again = false
  let running: Promise<number> | undefined
  let stopped = false

  const drain = async (): Promise<number> => {
    let delivered = 0
    let failure: unknown
    try {
      for (;;) {
        // Made before the claim: a nudge during it counts.
        const nudged = new Promise<void>((resolve) => {
          nudge = resolve
        })
        again = false
        const room = stopped ? 0 : AT_ONCE - flights.size
        const claim = async () =>
          (await mayClaim()) ? claimDue(database, { ...claiming, now: clock.now(), atMost: room }) : []
        const claims = room === 0 ? [] : await inTurn(claim)
        for (const claim of claims) {
          const flight = attempt(deps, subscription, claim, settle)
            .then((done) => {
              delivered += done ? 1 : 0
            })
            .catch((error: unknown) => {
              failure = error
            })
            .finally(() => flights.delete(flight))
          flights.add(flight)
        }
        if (flights.size === 0 && !again) break
        await Promise.race([...flights, nudged])
        // Those that end at about the same time are followed by one claim and not by one each.
        await sleep(GATHER_MS)
      }
    } finally {
      await Promise.all(flights)
    }
    if (failure !== undefined) throw failure
    return delivered
  }

  return {
    drain(): Promise<number> {
      again = true
      nudge()
      running ??= drain().finally(() => {
        running = undefined
      })
      return running
    },
    async stop() {
      stopped = true
      await running
    },
  }
}

/** Hands one fact to its consumer and writes down how it went. Rejects only when that cannot be written. */
async function attempt(
  deps: Deps,
  { consumer, handle }: Subscription,
  claim: Claim,
  settle: Shared['settle'],
): Promise<boolean> {
  const { database, personal, secretBox, clock, logger, leaseSeconds = LEASE_SECONDS } = deps
  try {
    const [row] = await openFacts(personal, [claim])
    if (row !== undefined) await within(leaseSeconds * 600, handle(readFact(row, secretBox)))
  } catch (error) {
    await database.transaction((tx) => fail(tx, claim, error, clock.now()))
    const { id, type, attempts } = claim
    logger.warn({ err: error, fact: id, consumer, type, attempts }, 'delivery failed')
    return false
  }
  await settle(claim)
  return true
}

/**
 * Writes down what was delivered, together with what ends at about the same time: a sign-in in a campaign leaves a fact or two,
 * and the commit of each by itself would cost more than its delivery.
 */
function createSettlement({ database, clock }: Deps): (claim: Claim) => Promise<void> {
  const inTurn = createTurns()
  let next: { readonly claims: Claim[]; readonly written: Promise<void> } | undefined
  return (claim) => {
    if (next === undefined) {
      const claims: Claim[] = []
      const written = inTurn(async () => {
        await sleep(GATHER_MS)
        next = undefined
        return database.transaction((tx) => succeed(tx, claims, clock.now()))
      })
      next = { claims, written }
    }
    next.claims.push(claim)
    return next.written
  }
}

/** A row that was written with SQL alone reaches no consumer: its MAC tells. */
function readFact(row: OutboxRow, secretBox: Deps['secretBox']): RecordedFact {
  if (!secretBox.macMatches(canonical(row), OUTBOX_MAC, row.mac)) throw new PermanentFailure('the fact is not genuine')
  return {
    id: row.id,
    type: row.type as Fact['type'],
    accountId: row.account_id ?? undefined,
    clientId: row.client_id ?? undefined,
    actor: row.actor ?? undefined,
    data: row.data,
    sealed: row.sealed === null ? undefined : openFact(secretBox, { id: row.id, sealed: row.sealed }),
    requestId: row.request_id ?? undefined,
    occurredAt: row.occurred_at,
  }
}

async function within(milliseconds: number, work: Promise<void>): Promise<void> {
  const settled = new AbortController()
  const late = sleep(milliseconds, undefined, { signal: settled.signal, ref: false }).then(
    () => {
      throw new Error('the consumer took too long')
    },
    () => {},
  )
  try {
    await Promise.race([work, late])
  } finally {
    settled.abort()
  }
}
