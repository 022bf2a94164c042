/** Four times what the server can do, for minutes: does it go on with what it can do, and is all well after? */
import { type Ground, lateNote, onGround, reasonsOf, stream, streamTable, TOKENS } from '../ground.ts'
import type { Stream } from '../open_loop.ts'
import { atLeast, atMost, type Context, type Gate, type Part, type Plot } from '../part.ts'
import { memory, placementNote } from '../processes.ts'
import { LOGIN, type Scenario, SSO } from '../scenarios.ts'
import { median, sum } from '../statistics.ts'
import type { Second, StreamResult } from '../tally.ts'

const TIMES = 4
/** Of all flows: as in the mixed load. */
const TRAFFIC: readonly { readonly name: string; readonly scenarios: readonly Scenario[]; readonly tenths: number }[] =
  [
    { name: 'tokens', scenarios: TOKENS, tenths: 7 },
    { name: 'SSO', scenarios: [SSO], tenths: 2 },
    { name: 'logins', scenarios: [LOGIN], tenths: 1 },
  ]
const PROBE = 0.2
/** Flows at a time that keep the server busy all the time, and of whom nobody is refused. */
const LANES = 6
const BEFORE = 5
const AFTER = 15

export const OVERLOAD: Part = {
  name: 'overload',
  title: 'Overload',
  what: 'The mixed load (70 % tokens, 20 % SSO, 10 % password logins) at four times the measured capacity for five minutes; token requests at a fifth of the capacity come before, during and after it, and show when all is normal again. Tokens go before sign-ins, so that logins are what is turned away: whoever drives this does not come again, as people in the waiting room do.',
  minutes: { full: 6.5, quick: 0.8 },
  run: (context) => {
    const lanes = context.quick ? 60 : 400
    const scenarios = [...TOKENS, SSO, LOGIN].map((scenario) => ({ scenario, lanes }))
    return onGround(context, { scenarios }, async (ground) => {
      const { generator, genkan } = ground
      const seconds = context.quick ? 8 : 300
      // What is cold seems slow, and calls people into a line.
      for (const { scenarios: each } of TRAFFIC) await ground.cost(each)
      const capacity = await capacityOf(ground, context)
      const before = memory(genkan.pid).now
      const samples: number[] = []
      const sampling = setInterval(() => samples.push(memory(genkan.pid).now), 1000)
      await genkan.metric('nodejs_eventloop_lag_p99_seconds')
      const streams = TRAFFIC.map(({ name, scenarios: each, tenths }) => ({
        ...stream(context, name, each, ((TIMES - PROBE) * capacity * tenths) / 10),
        window: [BEFORE, BEFORE + seconds] as const,
      }))
      const run = [...streams, stream(context, 'probe', TOKENS, PROBE * capacity)]
      const results = await generator.run(run, BEFORE + seconds + AFTER)
      clearInterval(sampling)
      const [overload, probe] = [results.slice(0, -1), results.at(-1)]
      if (probe === undefined) throw new Error('nothing was measured')
      const loopDelay = (await genkan.metric('nodejs_eventloop_lag_p99_seconds')) ?? Number.NaN
      const growth = Math.max(...samples, before) / before
      return {
        tables: [
          streamTable([
            ...overload.map((result) => [`${result.name}, overload`, result] as const),
            ['tokens, all along', probe] as const,
          ]),
        ],
        gates: gatesOf({ capacity, overload, probe, growth, seconds }),
        plots: plotsOf(overload, probe, samples),
        notes: [
          `Capacity ${Math.round(capacity)} flows/s; the event loop's delay p99 since the start of the overload was ${Math.round(loopDelay * 1000)} ms.`,
          placementNote(ground.place),
          ...lateNote(results),
          ...reasonsOf(results),
        ],
      }
    })
  },
}

/** Flows of the mix that are done in a second when the next begins as soon as one ends. */
async function capacityOf({ generator }: Ground, { quick }: Context): Promise<number> {
  const parts = TRAFFIC.flatMap(({ scenarios, tenths }) =>
    Array.from({ length: tenths }, (_, turn) => scenarios[turn % scenarios.length]?.name ?? ''),
  )
  const lanes: Stream = { name: 'capacity', scenarios: parts, arrivals: { kind: 'closed', lanes: LANES } }
  await generator.run([lanes], quick ? 2 : 10)
  const [full] = await generator.run([lanes], quick ? 3 : 20)
  if (full === undefined || full.refused.count > 0) throw new Error('somebody was refused before there was too much')
  return full.inTime / full.seconds
}

interface Whole {
  readonly capacity: number
  readonly overload: readonly StreamResult[]
  readonly probe: StreamResult
  readonly growth: number
  readonly seconds: number
}

function gatesOf({ capacity, overload, probe, growth, seconds }: Whole): Gate[] {
  const probed = sum(probe.bySecond.slice(BEFORE, BEFORE + seconds).map(({ done }) => done))
  const [tokens] = overload
  const all = [...overload, probe]
  const total = (of: (result: StreamResult) => number) => sum(all.map(of))
  const refused = all.filter((result) => result.refused.count > 0)
  const normal = recovery(probe.bySecond, BEFORE, BEFORE + seconds)
  return [
    atLeast('goodput to capacity', (sum(overload.map(({ inTime }) => inTime)) + probed) / seconds / capacity, 0.9),
    atLeast('tokens done to tokens asked for', (tokens?.inTime ?? 0) / askedOf(tokens), 0.9),
    ...[
      atMost(
        'answers that are errors',
        total(({ failed }) => failed),
        0,
        'count',
        'answers',
      ),
      atMost(
        'flows without an answer',
        total(({ broken }) => broken),
        0,
        'count',
        'flows',
      ),
    ],
    atMost(
      'refusals without Retry-After',
      total((one) => one.refused.count - one.refusedWithRetryAfter),
      0,
      'count',
      'answers',
    ),
    atMost('resident memory to before', growth, 1.3),
    ...overload.map((one) => atMost(`accepted ${one.name}, p99`, one.done.p99, 1000, 'absolute', 'ms')),
    ...refused.map((one) => atMost(`refused ${one.name}, p99`, one.refused.p99, 100, 'absolute', 'ms')),
    atMost('normal again after', normal, 10, 'absolute', 's'),
  ]
}

function askedOf(result: StreamResult | undefined): number {
  return result === undefined ? 0 : result.done.count + result.refused.count + result.failed + result.broken
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

function plotsOf(overload: readonly StreamResult[], probe: StreamResult, samples: readonly number[]): Plot[] {
  const points = (of: (second: Second) => number, { bySecond }: StreamResult) =>
    bySecond.map((second, at) => [at, of(second)] as const)
  return [
    {
      ...{ title: 'Answers by second of the intended start', kind: 'lines', x: 'second', y: 'per second' },
      series: overload.flatMap((result) => [
        { name: `${result.name} done`, points: points(({ done }) => done, result) },
        { name: `${result.name} refused`, points: points(({ refused }) => refused, result) },
      ]),
    },
    {
      ...{ title: 'Tokens before, during and after', kind: 'lines', x: 'second', y: 'p99 ms' },
      series: [{ name: 'p99', points: points(({ p99 }) => p99, probe) }],
    },
    {
      ...{ title: 'Resident memory', kind: 'lines', x: 'second', y: 'MB' },
      series: [{ name: 'RSS', points: samples.map((megabytes, at) => [at, megabytes] as const) }],
    },
  ]
}
