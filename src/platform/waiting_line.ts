/**
 * A line of people in front of a process that can take only so many a second: first come, first served, without a store and
 * without a word between processes. Whoever waits holds a signed ticket with the time of arrival and comes again with it. Each
 * process counts those who came lately, and lets in the oldest of them at its own rate. Who stays away is forgotten; a new
 * process knows the line as soon as everybody came once. A ticket lets in a few times in each process, so that handing it to
 * others moves nobody forward.
 */

export interface Arrival {
  /** As it came with the request. */
  readonly ticket?: string | undefined
  /** What the ticket belongs to, beside whoever holds it: another browser's is none. */
  readonly holder: string
  /** Whether anybody may be let in just now. */
  readonly closed?: boolean
}

export type Verdict =
  | { readonly admitted: true }
  | {
      readonly admitted: false
      /** To come again with. */
      readonly ticket: string
      /** About how long it takes. */
      readonly waitSeconds: number
      /** When to come again. */
      readonly againSeconds: number
    }

export interface WaitingLine {
  come(arrival: Arrival): Verdict
  /** Whether there is a line at all. */
  isOn(): boolean
  stats(): { readonly waiting: number; readonly rate: number; readonly admitted: number }
  /** Sees whether there is more to do than can be done; to be called each second. */
  tick(): void
}

export interface WaitingLineOptions {
  /** Milliseconds since 1970, much the same in every process. */
  readonly now: () => number
  readonly newId: () => string
  readonly mac: (value: string) => string
  readonly macMatches: (value: string, mac: string) => boolean
  /** Most that are let in in a second. Without it there is no line until there is too much to do. */
  readonly perSecond?: number | undefined
  readonly isTooMuch: () => boolean
}

/** How long people may come again with a ticket. */
const TICKET_MS = 2 * 3_600_000
/** How often one ticket lets in: a page that did not load, a second tab. */
const USES = 3
const SOONEST_SECONDS = 5
const LATEST_SECONDS = 30
/** Who was told to come again and did not within this much more is not counted: late, a ticket is as good as before. */
const PATIENCE_MS = 4000
/** Those let in have this long to come and take it; what they leave is others'. */
const SAVED_SECONDS = 6
/** From which part of that on it is taken for left over. */
const LEFT_OVER = 3 / 4
/** A process that begins while there is a line lets nobody in before it knows who is in it. */
const LEARNING_MS = 10_000
/** More are not counted: the line is then as long as anybody needs to know. */
const MOST = 50_000
const USED_IDS = 50_000
/** Without a number from the operator: what is left of the rate when it is too much, and how it grows again. */
const LESS = 0.7
const MORE = 1.1
const SLOWEST = 0.5
/** Seconds of quiet after which there is no line any more. */
const QUIET = 5

interface Held {
  readonly id: string
  readonly arrivedAt: number
}

interface Waiting {
  readonly arrivedAt: number
  /** When it is thought to have left. */
  readonly goneAt: number
}

export function createWaitingLine(options: WaitingLineOptions): WaitingLine {
  const { now, perSecond, isTooMuch } = options
  const tickets = createTickets(options)
  const waiting = new Map<string, Waiting>()
  const uses = new Map<string, number>()
  const budget = createBudget(now, perSecond)
  /** Arrivals of those who wait, the oldest first, as of the last tick. */
  let order = new Float64Array()
  let orderedAt = 0
  /** Of those in `order` who were let in since. */
  let letIn: number[] = []
  let admitted = 0
  let quiet = 0
  const began = now()
  let learnsUntil = 0

  /** How many came before, as far as is known. */
  function ahead(arrivedAt: number): number {
    if (arrivedAt >= orderedAt) return waiting.size
    const before = lowerBound(order, arrivedAt) - letIn.filter((each) => each < arrivedAt).length
    return Math.max(0, before)
  }

  function admit(held: Held | undefined): Verdict {
    admitted += 1
    budget.take()
    if (held === undefined) return { admitted: true }
    if (waiting.delete(held.id)) letIn.push(held.arrivedAt)
    uses.set(held.id, (uses.get(held.id) ?? 0) + 1)
    const [oldest] = uses.keys()
    if (uses.size > USED_IDS && oldest !== undefined) uses.delete(oldest)
    return { admitted: true }
  }

  function wait(held: Held, holder: string, isNew: boolean): Verdict {
    const waitSeconds = (ahead(held.arrivedAt) + 1) / Math.max(budget.rate(), SLOWEST)
    // Who comes for the first time may be a program that never comes again.
    const latest = isNew ? SOONEST_SECONDS : LATEST_SECONDS
    const againSeconds = Math.ceil(Math.min(latest, Math.max(SOONEST_SECONDS, waitSeconds / 3)))
    if (waiting.size < MOST || waiting.has(held.id)) {
      const goneAt = now() + againSeconds * 1000 + PATIENCE_MS
      waiting.set(held.id, { arrivedAt: held.arrivedAt, goneAt })
    }
    return { admitted: false, ticket: tickets.write(held, holder), waitSeconds, againSeconds }
  }

  return {
    come({ ticket, holder, closed = false }) {
      if (budget.isOff()) {
        if (!closed) {
          admitted += 1
          return { admitted: true }
        }
        budget.begin(admitted)
      }
      const known = ticket === undefined ? undefined : tickets.read(ticket, holder)
      const held = known !== undefined && (uses.get(known.id) ?? 0) < USES ? known : undefined
      const place = held ?? tickets.create()
      if (held !== undefined && held.arrivedAt < began && learnsUntil === 0) learnsUntil = began + LEARNING_MS
      // Whoever was let in already needs no second place in the line.
      const isBack = held !== undefined && uses.has(held.id)
      const before = held === undefined ? waiting.size : ahead(held.arrivedAt)
      if (!closed && now() >= learnsUntil && (isBack || before < budget.places())) return admit(held)
      return wait(place, holder, held === undefined)
    },
    isOn: () => !budget.isOff(),
    stats: () => ({ waiting: waiting.size, rate: budget.rate(), admitted }),
    tick() {
      const time = now()
      for (const [id, { goneAt }] of waiting) if (goneAt < time) waiting.delete(id)
      order = Float64Array.from(waiting.values(), ({ arrivedAt }) => arrivedAt).sort()
      orderedAt = time
      letIn = []
      const tooMuch = isTooMuch()
      quiet = tooMuch || waiting.size > 0 ? 0 : quiet + 1
      budget.adjust({ tooMuch, isQuiet: quiet > QUIET, admitted, waiting: waiting.size })
    },
  }
}

/** What happened in a second, and how it stands at its end. */
interface Second {
  readonly tooMuch: boolean
  readonly isQuiet: boolean
  /** Since the process began. */
  readonly admitted: number
  /** People in the line. */
  readonly waiting: number
}

/** How many may be let in. With a number from the operator never more than that; else as many as were no trouble. */
function createBudget(now: () => number, perSecond: number | undefined) {
  const most = perSecond ?? Number.POSITIVE_INFINITY
  let rate = most
  let tokens = Math.max(1, Math.min(most, Number.MAX_SAFE_INTEGER))
  let spare = 0
  let readAt = now()
  /** Of the last second without a line. */
  let measured = 1
  let before = 0

  const depth = () => Math.max(1, rate * SAVED_SECONDS)

  function refill(): number {
    const time = now()
    tokens = Math.min(depth(), tokens + (rate * Math.max(0, time - readAt)) / 1000)
    readAt = time
    return tokens
  }

  function begin(admitted: number): void {
    rate = Math.max(SLOWEST, Math.max(measured, admitted - before) * LESS)
    tokens = 0
    spare = 0
    readAt = now()
  }

  return {
    isOff: () => rate === Number.POSITIVE_INFINITY,
    rate: () => (rate === Number.POSITIVE_INFINITY ? 0 : rate),
    /** From how many of the oldest one is let in. */
    places: () => (refill() < 1 ? 0 : Math.floor(tokens + spare)),
    take() {
      tokens -= 1
    },
    begin,
    adjust({ tooMuch, isQuiet, admitted, waiting }: Second) {
      const lately = admitted - before
      if (rate === Number.POSITIVE_INFINITY) {
        if (tooMuch) begin(admitted)
        else measured = Math.max(1, (measured + lately) / 2)
      } else if (tooMuch) rate = Math.max(Math.min(SLOWEST, most), rate * LESS)
      else if (isQuiet) rate = most
      // Nobody knows whether more would be too much while fewer come.
      else if (lately >= rate * 0.8) rate = Math.min(most, rate * MORE + 0.1)
      // What is left over was meant for people who are being let in elsewhere: call more of those who wait. A quiet night calls
      // nobody, or the first line of the morning would have no order.
      if (rate === Number.POSITIVE_INFINITY) spare = 0
      else if (refill() >= depth() * LEFT_OVER) spare = Math.min(waiting, spare + rate)
      else spare = Math.min(waiting, Math.max(0, spare - rate / 2))
      before = admitted
    },
  }
}

/** `<time of arrival>.<id>.<signature>`: nothing in it is secret, and nobody can write one. */
function createTickets({ now, newId, mac, macMatches }: WaitingLineOptions) {
  const signed = ({ id, arrivedAt }: Held, holder: string) => JSON.stringify([id, arrivedAt, holder])
  return {
    create: (): Held => ({ id: newId(), arrivedAt: now() }),
    write: (held: Held, holder: string) => `${held.arrivedAt.toString(36)}.${held.id}.${mac(signed(held, holder))}`,
    read(ticket: string, holder: string): Held | undefined {
      const [, time, id, signature] = /^([0-9a-z]{1,9})\.([\w-]{1,64})\.([\w-]{43})$/.exec(ticket) ?? []
      if (time === undefined || id === undefined || signature === undefined) return undefined
      const held = { id, arrivedAt: Number.parseInt(time, 36) }
      // Two processes' clocks may differ by a little.
      const isCurrent = now() - held.arrivedAt < TICKET_MS && held.arrivedAt - now() < PATIENCE_MS
      return isCurrent && macMatches(signed(held, holder), signature) ? held : undefined
    },
  }
}

/** How many of the sorted numbers are less. */
function lowerBound(sorted: Float64Array, value: number): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? 0) < value) low = middle + 1
    else high = middle
  }
  return low
}
