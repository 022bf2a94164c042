/**
 * A short queue in front of scarce work, from which nobody can keep others (A34, A102): networks take turns, whoever has
 * had more than a share is refused at once, and people who sign in go before those who sign up. The queue is never longer
 * than what is done in `deadlineMs`, so that waiting is never in vain.
 */
import { AppError } from '../errors.ts'

export type Priority = 'sign_in' | 'sign_up'
/** Whose share is used up (`address`, `account`), or there is no place at all, or the turn did not come in time. */
export type Refusal = 'address' | 'account' | 'full' | 'late'

export interface Ticket {
  readonly priority: Priority
  /** Networks take turns. Without one (commands, jobs) there is no share to exceed. */
  readonly network?: string | undefined
  /** The account, or what was typed for one; no matter whether it exists. */
  readonly account?: string | undefined
}

export interface QueueStats {
  readonly running: number
  readonly queued: number
  /** Those of the queued that sign up. */
  readonly signUps: number
  /** Pieces of work at once. */
  readonly width: number
  /** How many may wait in all, at the speed of the last ones. */
  readonly places: number
}

export interface FairQueue {
  /**
   * Does the work in its turn. Throws AppError `too_many_requests` over a share, `temporarily_unavailable` when no turn comes
   * in time; both with `retryAfter`.
   */
  run<T>(ticket: Ticket, work: () => Promise<T>): Promise<T>
  stats(): QueueStats
  /** Whether the ticket would find no place now: asked before anything else is done for it, and counted as a refusal. */
  turnsAway(ticket: Ticket): boolean
}

export interface FairQueueOptions {
  readonly width: number
  /** Longest wait. */
  readonly deadlineMs: number
  /** How long a piece of work takes, until that is measured. */
  readonly guessMs: number
  readonly watch?:
    | { waited(priority: Priority, seconds: number): void; refused(reason: Refusal, priority: Priority): void }
    | undefined
}

interface Waiting extends Ticket {
  start(): void
  refuse(reason: Refusal): void
}

/** Of all places, the part that one network may hold: a company behind one address is many people. */
const NETWORK_PART = 1 / 2
/** The part of one account, and how many tries of it may wait in any case: people press buttons twice. */
const ACCOUNT_PART = 1 / 8
const ACCOUNT_LEAST = 4

export function createFairQueue({ width, deadlineMs, guessMs, watch }: FairQueueOptions): FairQueue {
  const lines = { sign_in: createLine(), sign_up: createLine() }
  let running = 0
  let meanMs = guessMs

  const queued = () => lines.sign_in.length() + lines.sign_up.length()
  const places = () => Math.max(1, Math.floor((deadlineMs * width) / Math.max(meanMs, 0.01)))

  /** Why the ticket has no place; undefined when it has one, be it in the place of who waits longest in the longest row. */
  function refusalOf(ticket: Ticket): Refusal | undefined {
    const all = places()
    const held = (count: (line: Line) => number) => count(lines.sign_in) + count(lines.sign_up)
    const { network, account } = ticket
    if (network !== undefined && held((line) => line.ofNetwork(network)) >= Math.max(1, all * NETWORK_PART))
      return 'address'
    if (account !== undefined && held((line) => line.ofAccount(account)) >= Math.max(ACCOUNT_LEAST, all * ACCOUNT_PART))
      return 'account'
    return queued() < all || leaverFor(ticket) !== undefined ? undefined : 'full'
  }

  /** Sign-ups leave for a sign-in; else the network with the most in the queue gives one up for one that has less. */
  function leaverFor({ priority, network }: Ticket): Waiting | undefined {
    return priority === 'sign_in' && lines.sign_up.length() > 0
      ? lines.sign_up.longest()
      : lines[priority].longest((lines[priority].ofNetwork(network) ?? 0) + 1)
  }

  async function turn(ticket: Ticket): Promise<void> {
    if (running < width) {
      running += 1
      return
    }
    const reason = refusalOf(ticket)
    if (reason !== undefined) {
      watch?.refused(reason, ticket.priority)
      throw refusalError(reason)
    }
    if (queued() >= places()) leaverFor(ticket)?.refuse('full')
    await new Promise<void>((resolve, reject) => {
      const line = lines[ticket.priority]
      const waiting: Waiting = {
        ...ticket,
        start() {
          clearTimeout(timer)
          resolve()
        },
        refuse(why) {
          clearTimeout(timer)
          line.remove(waiting)
          watch?.refused(why, ticket.priority)
          reject(refusalError(why))
        },
      }
      const timer = setTimeout(() => waiting.refuse('late'), deadlineMs)
      line.add(waiting)
    })
  }

  /** Hands the turn to the next, or gives it back. */
  function leave(): void {
    const next = lines.sign_in.next() ?? lines.sign_up.next()
    if (next === undefined) running -= 1
    else next.start()
  }

  return {
    turnsAway(ticket) {
      const reason = running < width ? undefined : refusalOf(ticket)
      if (reason !== undefined) watch?.refused(reason, ticket.priority)
      return reason !== undefined
    },
    stats: () => ({ running, queued: queued(), signUps: lines.sign_up.length(), width, places: places() }),
    async run(ticket, work) {
      const came = performance.now()
      await turn(ticket)
      const began = performance.now()
      watch?.waited(ticket.priority, (began - came) / 1000)
      try {
        return await work()
      } finally {
        meanMs = meanMs * 0.8 + (performance.now() - began) * 0.2
        leave()
      }
    },
  }
}

function refusalError(reason: Refusal): AppError {
  const isOwn = reason === 'address' || reason === 'account'
  return new AppError(isOwn ? 'too_many_requests' : 'temporarily_unavailable', { retryAfter: 1 })
}

interface Line {
  add(waiting: Waiting): void
  remove(waiting: Waiting): void
  /** Takes one of the network whose turn it is. */
  next(): Waiting | undefined
  /** The last to come of the network with the most; undefined when none has more than `least`. */
  longest(least?: number): Waiting | undefined
  length(): number
  ofNetwork(network: string | undefined): number
  ofAccount(account: string): number
}

/** Those of one priority, in a row for each network; the first row has its turn and then goes behind the others. */
function createLine(): Line {
  const rows = new Map<string | undefined, Waiting[]>()
  const accounts = new Map<string, number>()
  let length = 0

  function count({ account }: Waiting, change: 1 | -1): void {
    length += change
    if (account === undefined) return
    const now = (accounts.get(account) ?? 0) + change
    if (now === 0) accounts.delete(account)
    else accounts.set(account, now)
  }

  return {
    add(waiting) {
      const row = rows.get(waiting.network) ?? []
      row.push(waiting)
      rows.set(waiting.network, row)
      count(waiting, 1)
    },
    remove(waiting) {
      const row = rows.get(waiting.network) ?? []
      const at = row.indexOf(waiting)
      if (at < 0) return
      row.splice(at, 1)
      if (row.length === 0) rows.delete(waiting.network)
      count(waiting, -1)
    },
    next() {
      const [first] = rows
      if (first === undefined) return undefined
      const [network, row] = first
      const waiting = row.shift()
      rows.delete(network)
      if (row.length > 0) rows.set(network, row)
      if (waiting !== undefined) count(waiting, -1)
      return waiting
    },
    longest(least = 0) {
      const row = [...rows.values()].reduce((most, other) => (other.length > most.length ? other : most), [])
      return row.length > least ? row.at(-1) : undefined
    },
    length: () => length,
    ofNetwork: (network) => rows.get(network)?.length ?? 0,
    ofAccount: (account) => accounts.get(account) ?? 0,
  }
}
