/**
 * How much more a process is asked for than it can do, and what is turned away for it: the least urgent first. Two things
 * tell: the number of requests in flight, at once, and how late the event loop is, smoothed. Requests in flight that wait for a
 * slow store do no harm; those that wait for the processor only make each other late, so far fewer of them are taken.
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'

/** In the order in which they are turned away. */
export const RANKS = ['sign_up', 'sign_in', 'under_way', 'protocol'] as const
export type Rank = (typeof RANKS)[number]

export interface Pressure {
  /** Whether a request of this rank has to be turned away now. */
  sheds(rank: Rank): boolean
  /** Counts a request in; the function counts it out, once. */
  enter(): () => void
  inFlight(): number
  /** 0: none; each whole number is a rank that is turned away, a fraction is that part of the next. */
  level(): number
  /** Begins to watch the event loop; returns what ends it. */
  watch(): () => void
}

export interface PressureOptions {
  readonly maxInFlight: number
  readonly loopDelayMs: number
  /** A number from 0 to 1. */
  readonly random?: () => number
  /** Which part of the time since the last call the event loop has worked. */
  readonly busyPart?: () => number
}

/** Which part of all that may be in flight is enough to turn a rank away. */
const PARTS: { readonly [rank in Rank]: number } = { sign_up: 0.5, sign_in: 0.7, under_way: 0.85, protocol: 1 }

/** From which part on the event loop has no rest, how often that is looked at, and what is left of `maxInFlight` then. */
const RESTLESS = 0.95
const LOOK_MS = 100
const RESTLESS_PART = 0.35
/** So many are never too many. */
const LEAST = 100

const TICK_MS = 500
const RESOLUTION_MS = 20
/** Quick to close, slower to open again: from all to nothing in six seconds. */
const UP = 0.5
const DOWN = 0.25
/** Tokens are never refused for a late loop: refusing all of them at once and none after it does less than serving late. */
const HIGHEST = RANKS.indexOf('protocol')

export function createPressure(options: PressureOptions): Pressure {
  const { maxInFlight, loopDelayMs, random = Math.random, busyPart = createBusyPart() } = options
  let inFlight = 0
  let level = 0
  let most = maxInFlight
  let lookedAt = Number.POSITIVE_INFINITY

  function look(): void {
    const now = performance.now()
    if (now < lookedAt + LOOK_MS) return
    lookedAt = now
    most = busyPart() >= RESTLESS ? Math.max(maxInFlight * RESTLESS_PART, Math.min(maxInFlight, LEAST)) : maxInFlight
  }

  function note(delayMs: number): void {
    if (delayMs > loopDelayMs) level = Math.min(HIGHEST, level + UP)
    else if (delayMs < loopDelayMs / 2) level = Math.max(0, level - DOWN)
  }

  return {
    sheds(rank) {
      look()
      // As with a late loop: who asks for tokens is served late, and not refused.
      if (inFlight >= Math.ceil((rank === 'protocol' ? maxInFlight : most) * PARTS[rank])) return true
      const part = level - RANKS.indexOf(rank)
      return part > 0 && (part >= 1 || random() < part)
    },
    enter() {
      inFlight += 1
      let left = false
      return () => {
        if (!left) inFlight -= 1
        left = true
      }
    },
    inFlight: () => inFlight,
    level: () => level,
    watch() {
      const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
      histogram.enable()
      lookedAt = performance.now()
      const timer = setInterval(() => {
        note(delayIn(histogram))
        histogram.reset()
      }, TICK_MS).unref()
      return () => {
        clearInterval(timer)
        histogram.disable()
        lookedAt = Number.POSITIVE_INFINITY
        most = maxInFlight
      }
    },
  }
}

/** The median: one long piece of work is no overload. What is measured holds the interval itself. */
function delayIn(histogram: ReturnType<typeof monitorEventLoopDelay>): number {
  return histogram.count === 0 ? Number.POSITIVE_INFINITY : histogram.percentile(50) / 1e6 - RESOLUTION_MS
}

function createBusyPart(): () => number {
  let before = performance.eventLoopUtilization()
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    return utilization
  }
}
