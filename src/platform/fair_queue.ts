/**
 * A short queue in front of scarce work, from which nobody can keep others (A34, A102): networks take turns, whoever has
 * had more than a share is refused at once, and people who sign in go before those who sign up. The queue is never longer
 * than what is done in four fifths of `deadlineMs`, so that waiting is hardly ever in vain.
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
   * Does the work in its turn; it tells how many milliseconds it took. Throws AppError `too_many_requests` over a share,
   * `temporarily_unavailable` when no turn comes in time; both with `retryAfter`.
   */
  run<Result>(ticket: Ticket, work: () => Promise<{ readonly result: Result; readonly ms: number }>): Promise<Result>
  stats(): QueueStats
  /** Whether the ticket would find no place now: asked before anything else is done for it, and counted as a refusal. */
  turnsAway(ticket: Ticket): boolean
  /**
   * Somebody with this ticket is let in and will want a turn: from now until the returned function is called they count where
   * others are turned away. Else many would be let in for one free place, and all but one refused after half of the work.
   */
  enter(ticket: Ticket): () => void
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
/** How much of the deadline the places take: with all of it, work that becomes a little slower would make the last ones wait in vain. */
const FILLED = 0.8
/** An event loop that is busy makes each piece of work later, but one that stands still for once says nothing of the next ones. */
const MOST_BESIDE = 2

export function createFairQueue({ width, deadlineMs, guessMs, watch }: FairQueueOptions): FairQueue {
  const lines = { sign_in: createLine(), sign_up: createLine() }
  let running = 0
  let meanMs = guessMs
  const inside = createCounts<string | undefined>()

  const queued = () => lines.sign_in.length() + lines.sign_up.length()
  const places = () => Math.max(1, Math.floor((deadlineMs * FILLED * width) / Math.max(meanMs, 0.01)))

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

  /** The same for one who is still outside: those inside will be before them. */
  function refusalOutside(ticket: Ticket): Refusal | undefined {
    const all = places()
    const { network } = ticket
    if (network !== undefined && inside.of(network) >= width + Math.max(1, all * NETWORK_PART)) return 'address'
    if (inside.all() >= width + all && leaverFor(ticket) === undefined) return 'full'
    return running < width ? undefined : refusalOf(ticket)
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
    await waitIn(lines[ticket.priority], ticket, { deadlineMs, watch })
  }

  /** Hands the turn to the next, or gives it back. */
  function leave(): void {
    const next = lines.sign_in.next() ?? lines.sign_up.next()
    if (next === undefined) running -= 1
    else next.start()
  }

  return {
    turnsAway(ticket) {
      const reason = refusalOutside(ticket)
      if (reason !== undefined) watch?.refused(reason, ticket.priority)
      return reason !== undefined
    },
    enter({ network }) {
      inside.change(network, 1)
      return () => inside.change(network, -1)
    },
    stats: () => ({ running, queued: queued(), signUps: lines.sign_up.length(), width, places: places() }),
    async run(ticket, work) {
      const came = performance.now()
      await turn(ticket)
      const began = performance.now()
      watch?.waited(ticket.priority, (began - came) / 1000)
      const { result, ms } = await work().finally(leave)
      meanMs = meanMs * 0.8 + Math.min(performance.now() - began, ms * MOST_BESIDE) * 0.2
      return result
    },
  }
}

/** Resolves when the turn of the ticket comes; rejects when it does not come in time, or its place is another's. */
function waitIn(line: Line, ticket: Ticket, { deadlineMs, watch }: Pick<FairQueueOptions, 'deadlineMs' | 'watch'>) {
  return new Promise<void>((resolve, reject) => {
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
    const timer = setTimeout(() => waiting.refuse('late'), deadlineMs).unref()
    line.add(waiting)
  })
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

/** How many there are of each name, and in all. */
function createCounts<Name>() {
  const counts = new Map<Name, number>()
  let all = 0
  return {
    all: () => all,
    of: (name: Name) => counts.get(name) ?? 0,
    change(name: Name, by: 1 | -1) {
      all += by
      const now = (counts.get(name) ?? 0) + by
      if (now === 0) counts.delete(name)
      else counts.set(name, now)
    },
  }
}

/** Those of one priority, in a row for each network; the first row has its turn and then goes behind the others. */
function createLine(): Line {
  const rows = new Map<string | undefined, Waiting[]>()
  const accounts = createCounts<string | undefined>()

  return {
    add(waiting) {
      const row = rows.get(waiting.network) ?? []
      row.push(waiting)
      rows.set(waiting.network, row)
      accounts.change(waiting.account, 1)
    },
    remove(waiting) {
      const row = rows.get(waiting.network) ?? []
      const at = row.indexOf(waiting)
      if (at < 0) return
      row.splice(at, 1)
      if (row.length === 0) rows.delete(waiting.network)
      accounts.change(waiting.account, -1)
    },
    next() {
      const [first] = rows
      if (first === undefined) return undefined
      const [network, row] = first
      const waiting = row.shift()
      rows.delete(network)
      if (row.length > 0) rows.set(network, row)
      if (waiting !== undefined) accounts.change(waiting.account, -1)
      return waiting
    },
    longest(least = 0) {
      const row = [...rows.values()].reduce((most, other) => (other.length > most.length ? other : most), [])
      return row.length > least ? row.at(-1) : undefined
    },
    length: accounts.all,
    ofNetwork: (network) => rows.get(network)?.length ?? 0,
    ofAccount: accounts.of,
  }
}
