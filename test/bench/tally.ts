/** What became of the flows of one stream: latencies from the *intended* start, by outcome, in all and by second. */
import { quantile } from './statistics.ts'

/** `refused`: 429 or 503. `failed`: any other wrong answer. `broken`: no answer. */
export type Fate = 'done' | 'refused' | 'failed' | 'broken'

export interface Latencies {
  readonly count: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

export interface Second {
  readonly done: number
  readonly refused: number
  /** Failed and broken. */
  readonly wrong: number
  /** Of what was done; 0 when nothing was. */
  readonly p99: number
}

export interface StreamResult {
  readonly name: string
  readonly seconds: number
  readonly done: Latencies
  /** Done before the stream's end: what is answered after it is no throughput. */
  readonly inTime: number
  readonly refused: Latencies
  /** Refusals that said when to come again. */
  readonly refusedWithRetryAfter: number
  readonly failed: number
  readonly broken: number
  /** How much later than intended the generator sent: beyond some milliseconds it was itself too slow. */
  readonly lag: Latencies
  /** By the second of the intended start. */
  readonly bySecond: readonly Second[]
  /** A few of the reasons for what was failed or broken. */
  readonly reasons: readonly string[]
}

export interface Happening {
  /** All in milliseconds since the beginning of the run. */
  readonly intended: number
  readonly sent: number
  readonly ended: number
  readonly fate: Fate
  readonly retryAfter?: boolean
  readonly reason?: string
}

export interface Tally {
  add(happening: Happening): void
  result(): StreamResult
}

const MOST_REASONS = 5

/** Of a stream that starts flows from second `from` to second `to`. */
export function createTally(name: string, from: number, to: number): Tally {
  const taken: Record<Fate, number[]> = { done: [], refused: [], failed: [], broken: [] }
  const seconds: { done: number[]; refused: number; wrong: number }[] = []
  const lags: number[] = []
  const reasons = new Set<string>()
  let polite = 0
  let inTime = 0
  return {
    add({ intended, sent, ended, fate, retryAfter, reason }) {
      const latency = ended - intended
      taken[fate].push(latency)
      lags.push(sent - intended)
      if (fate === 'refused' && retryAfter) polite += 1
      if (fate === 'done' && ended <= to * 1000) inTime += 1
      if (reason !== undefined && reasons.size < MOST_REASONS) reasons.add(reason)
      const at = Math.max(0, Math.floor(intended / 1000))
      while (seconds.length <= at) seconds.push({ done: [], refused: 0, wrong: 0 })
      const second = seconds[at]
      if (second === undefined) return
      if (fate === 'done') second.done.push(latency)
      else second[fate === 'refused' ? 'refused' : 'wrong'] += 1
    },
    result: () => ({
      ...{ name, inTime, seconds: to - from },
      done: latencies(taken.done),
      refused: latencies(taken.refused),
      refusedWithRetryAfter: polite,
      failed: taken.failed.length,
      broken: taken.broken.length,
      lag: latencies(lags),
      bySecond: seconds.map(({ done, refused, wrong }) => ({
        ...{ done: done.length, refused, wrong },
        p99: done.length === 0 ? 0 : quantile(done, 0.99),
      })),
      reasons: [...reasons],
    }),
  }
}

function latencies(values: readonly number[]): Latencies {
  if (values.length === 0) return { count: 0, p50: 0, p90: 0, p99: 0, max: 0 }
  const [p50 = 0, p90 = 0, p99 = 0, max = 0] = [0.5, 0.9, 0.99, 1].map((share) => quantile(values, share))
  return { count: values.length, p50, p90, p99, max }
}
