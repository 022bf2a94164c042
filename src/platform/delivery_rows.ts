/** Rows of `deliveries`: how they are claimed and how it is written down what became of them. */
import type { OutboxRow } from './outbox.ts'
import type { Database, Tx } from './postgres.ts'
import { errorMessage, isError } from './redaction.ts'

/** A failure that no repetition can mend (a refused recipient, an impossible address): the delivery fails at once. */
export class PermanentFailure extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'PermanentFailure'
  }
}

export interface Claim extends Omit<OutboxRow, 'user_agent'> {
  readonly consumer: string
  readonly attempts: number
}

const ATTEMPTS = 12
const FIRST_RETRY_SECONDS = 5
const LAST_RETRY_SECONDS = 3600

export interface Claiming {
  readonly consumer: string
  readonly now: Date
  readonly leaseSeconds: number
  readonly atMost: number
}

/**
 * Claims what is due and pushes it behind the lease. Facts about one account reach a consumer in their order: a row waits
 * while an earlier one is untried or in another worker's hands, but not for one that failed and waits for its next try.
 */
export async function claimDue(
  { db }: Pick<Database, 'db'>,
  { consumer, now, leaseSeconds, atMost }: Claiming,
): Promise<Claim[]> {
  const { rows } = await db.raw(
    `with due as (
       select d.outbox_id
       from deliveries d join outbox o on o.id = d.outbox_id
       where d.state = 'pending' and d.consumer = ? and d.next_at <= ?
         and not exists (
           select 1 from deliveries e join outbox p on p.id = e.outbox_id
           where e.state = 'pending' and e.last_error is null and e.consumer = d.consumer
             and p.account_id = o.account_id and p.seq < o.seq)
       order by d.next_at, o.seq limit ?
       for update of d skip locked)
     update deliveries d set next_at = ?, attempts = d.attempts + 1
     from due, outbox o
     where d.outbox_id = due.outbox_id and d.consumer = ? and o.id = d.outbox_id
     returning d.consumer, d.attempts, o.*`,
    [consumer, now, atMost, new Date(now.getTime() + leaseSeconds * 1000), consumer],
  )
  return (rows as Claim[]).sort((a, b) => Number(a.seq) - Number(b.seq))
}

/** The sealed part is erased with the last delivery that needs it. The row lock lets two last ones see each other. */
export async function succeed(tx: Tx, claims: readonly Claim[], now: Date): Promise<void> {
  const sealed = [...new Set(claims.flatMap(({ id, sealed }) => (sealed === null ? [] : [id])))]
  // In one order, or two processes would wait for each other.
  if (sealed.length > 0)
    await tx.raw('select 1 from outbox where id = any (?::text[]) order by id for update', [sealed])
  await tx.raw(
    `update deliveries d set state = 'delivered', delivered_at = ?, last_error = null
     from unnest(?::text[], ?::text[]) as done (outbox_id, consumer)
     where d.outbox_id = done.outbox_id and d.consumer = done.consumer`,
    [now, claims.map(({ id }) => id), claims.map(({ consumer }) => consumer)],
  )
  if (sealed.length > 0) await eraseSealed(tx, sealed)
}

export async function fail(tx: Tx, claim: Claim, error: unknown, now: Date): Promise<void> {
  const last = claim.attempts >= ATTEMPTS || error instanceof PermanentFailure
  await tx('deliveries')
    .where({ outbox_id: claim.id, consumer: claim.consumer, state: 'pending' })
    .update({
      ...(last ? { state: 'failed' } : {}),
      last_error: (isError(error) ? errorMessage(error) : 'unknown').slice(0, 300) || 'unknown',
      next_at: new Date(now.getTime() + retryDelayMs(claim.attempts)),
    })
  if (last && claim.sealed !== null) await eraseSealed(tx, [claim.id])
}

async function eraseSealed(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.raw(
    `update outbox o set sealed = null where o.id = any (?::text[])
     and not exists (select 1 from deliveries d where d.outbox_id = o.id and d.state = 'pending')`,
    [[...ids]],
  )
}

/** Doubles from 5 s to an hour; half of it is jitter, so that a server that comes back is not met by everybody at once. */
function retryDelayMs(attempts: number): number {
  const seconds = Math.min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), LAST_RETRY_SECONDS)
  return seconds * 1000 * (0.5 + Math.random() / 2)
}
