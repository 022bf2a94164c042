/** Four times what the server can do, for minutes: does it go on with what it can do, and is all well after? */
import { lateNote, onGround, reasonsOf, stream, streamTable } from '../ground.ts'
import type { Stream } from '../open_loop.ts'
import { atLeast, atMost, type Gate, type Part, type Plot } from '../part.ts'
import { memory, placementNote } from '../processes.ts'
import { CREDENTIALS_JWT, CREDENTIALS_OPAQUE } from '../scenarios.ts'
import { median } from '../statistics.ts'
import type { Second, StreamResult } from '../tally.ts'

const TIMES = 4
const PROBE = 0.2
const BEFORE = 5
const AFTER = 15
const TRAFFIC = [CREDENTIALS_OPAQUE, CREDENTIALS_JWT]
const NAMES = TRAFFIC.map(({ name }) => name)

export const OVERLOAD: Part = {
  name: 'overload',
  title: 'Overload',
  what: 'client_credentials at four times the measured capacity for five minutes; a fifth of the capacity comes before, during and after it, and shows when all is normal again.',
  minutes: { full: 6.5, quick: 0.7 },
  run: (context) =>
    onGround(context, { scenarios: TRAFFIC.map((scenario) => ({ scenario, lanes: 1 })) }, async (ground) => {
      const { generator, genkan } = ground
      const seconds = context.quick ? 8 : 300
      const lanes: Stream = { name: 'capacity', scenarios: NAMES, arrivals: { kind: 'closed', lanes: 32 } }
      await generator.run([lanes], context.quick ? 2 : 10)
      const [full] = await generator.run([lanes], context.quick ? 3 : 20)
      if (full === undefined) throw new Error('nothing was measured')
      const capacity = full.inTime / full.seconds
      const before = memory(genkan.pid).now
      const samples: number[] = []
      const sampling = setInterval(() => samples.push(memory(genkan.pid).now), 1000)
      await genkan.metric('nodejs_eventloop_lag_p99_seconds')
      const [overload, probe] = await generator.run(
        [
          { ...stream(context, 'overload', TRAFFIC, (TIMES - PROBE) * capacity), window: [BEFORE, BEFORE + seconds] },
          stream(context, 'probe', TRAFFIC, PROBE * capacity),
        ],
        BEFORE + seconds + AFTER,
      )
      clearInterval(sampling)
      if (overload === undefined || probe === undefined) throw new Error('nothing was measured')
      const loopDelay = (await genkan.metric('nodejs_eventloop_lag_p99_seconds')) ?? Number.NaN
      const whole = { capacity, overload, probe, growth: Math.max(...samples, before) / before, seconds }
      return {
        tables: [
          streamTable([
            ['capacity (closed loop)', full],
            ['overload', overload],
            ['a fifth, all along', probe],
          ]),
        ],
        gates: gatesOf(whole),
        plots: plotsOf(overload, probe, samples),
        notes: [
          `Capacity ${Math.round(capacity)} requests/s; the event loop's delay p99 since the start of the overload was ${Math.round(loopDelay * 1000)} ms.`,
          placementNote(ground.place),
          ...lateNote([overload, probe]),
          ...reasonsOf([overload, probe]),
        ],
      }
    }),
}

interface Whole {
  readonly capacity: number
  readonly overload: StreamResult
  readonly probe: StreamResult
  readonly growth: number
  readonly seconds: number
}

function gatesOf({ capacity, overload, probe, growth, seconds }: Whole): Gate[] {
  const during = probe.bySecond.slice(BEFORE, BEFORE + seconds)
  const probed = during.reduce((total, { done }) => total + done, 0)
  const { refused, failed, broken } = overload
  const normal = recovery(probe.bySecond, BEFORE, BEFORE + seconds)
  return [
    atLeast('goodput to capacity', (overload.inTime + probed) / seconds / capacity, 0.9),
    atMost('answers that are errors', failed + probe.failed, 0, 'count', 'answers'),
    atMost('requests without an answer', broken + probe.broken, 0, 'count', 'requests'),
    atMost('refusals without Retry-After', refused.count - overload.refusedWithRetryAfter, 0, 'count', 'answers'),
    atMost('resident memory to before', growth, 1.3),
    atMost('accepted requests, p99', overload.done.p99, 1000, 'absolute', 'ms'),
    ...(refused.count === 0 ? [] : [atMost('refusals, p99', refused.p99, 100, 'absolute', 'ms')]),
    atMost('normal again after', normal, 10, 'absolute', 's'),
  ]
}

const CALM_SECONDS = 3

/** Seconds after the overload until p99 is at most three times what it was before, for three seconds, and nothing is refused; all of the time that was watched when that does not come. */
export function recovery(probe: readonly Second[], from: number, to: number): number {
  const usual = median(probe.slice(0, from).map(({ p99 }) => p99))
  const calm = ({ p99, refused, wrong }: Second) => p99 <= Math.max(3 * usual, 20) && refused + wrong === 0
  for (let at = to; at + CALM_SECONDS <= probe.length; at++) {
    if (probe.slice(at, at + CALM_SECONDS).every(calm)) return at - to
  }
  return probe.length - to
}

function plotsOf(overload: StreamResult, probe: StreamResult, samples: readonly number[]): Plot[] {
  const points = (of: (second: Second) => number, { bySecond }: StreamResult) =>
    bySecond.map((second, at) => [at, of(second)] as const)
  return [
    {
      ...{ title: 'Answers by second of the intended start', kind: 'lines', x: 'second', y: 'per second' },
      series: [
        { name: 'done', points: points(({ done }) => done, overload) },
        { name: 'refused', points: points(({ refused }) => refused, overload) },
        { name: 'wrong or none', points: points(({ wrong }) => wrong, overload) },
      ],
    },
    {
      ...{ title: 'A fifth of the capacity before, during and after', kind: 'lines', x: 'second', y: 'p99 ms' },
      series: [{ name: 'p99', points: points(({ p99 }) => p99, probe) }],
    },
    {
      ...{ title: 'Resident memory', kind: 'lines', x: 'second', y: 'MB' },
      series: [{ name: 'RSS', points: samples.map((megabytes, at) => [at, megabytes] as const) }],
    },
  ]
}
