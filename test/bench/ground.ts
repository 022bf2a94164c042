/** What the parts under open-loop load share: a pinned server, a generator beside it, and what flows cost there. */
import { type Load, prepare } from './measure.ts'
import { type Generator, type Stream, startGenerator } from './open_loop.ts'
import type { Cell, Column, Context, Findings, Plot, Table } from './part.ts'
import { type Placement, placement } from './processes.ts'
import { CREDENTIALS_JWT, CREDENTIALS_OPAQUE, REFRESH, type Scenario } from './scenarios.ts'
import { mean } from './statistics.ts'
import { type Genkan, type GenkanOptions, startGenkan } from './subjects.ts'
import type { StreamResult } from './tally.ts'

/** Token traffic, each in turn. */
export const TOKENS: readonly Scenario[] = [REFRESH, CREDENTIALS_OPAQUE, CREDENTIALS_JWT]

export interface Ground {
  readonly genkan: Genkan
  readonly generator: Generator
  /** For `floods`, in a process of its own that gives way to `generator`. */
  readonly flooder: Generator
  readonly place: Placement
  /** CPUs that the server may use. */
  readonly cpus: number
  /** Server CPU of one flow, µs: measured now, on a server that is warm. */
  cost(scenarios: readonly Scenario[]): Promise<number>
}

interface Lanes {
  readonly scenario: Scenario
  readonly lanes: number
}

interface Wanted {
  readonly options?: GenkanOptions
  readonly scenarios: readonly Lanes[]
  /** What only makes trouble for `scenarios`. */
  readonly floods?: readonly Lanes[]
}

const COST_LANES = 6

/** As people may wait for their turn to hash: the product's default. */
const QUEUE_MS = 800

/** Starts the server and the generators, prepares the scenarios in these, and stops all after `work`. */
export async function onGround(
  context: Context,
  { options, scenarios, floods = [] }: Wanted,
  work: (ground: Ground) => Promise<Findings>,
): Promise<Findings> {
  const place = placement(context.cores)
  const genkan = await startGenkan({ queueMs: QUEUE_MS, cpus: place.server, accounts: 2000, ...options })
  const generators: Generator[] = []
  const start = async (lanes: readonly Lanes[], accounts: readonly string[], behind?: 'behind') => {
    const generator = await startGenerator(place.generator, behind)
    generators.push(generator)
    const streams = lanes.map(({ scenario, lanes }) => ({ scenario: scenario.name, lanes }))
    await generator.prepare({ origin: genkan.origin, accounts, streams })
    return generator
  }
  try {
    const { addresses } = genkan.stores
    const generator = await start(scenarios, addresses)
    const flooder = await start(floods, [...addresses].reverse(), 'behind')
    const cpus = place.server === undefined ? context.cores : Math.max(1, Math.floor(context.cores / 2))
    const cost = async (asked: readonly Scenario[]) => {
      const each: number[] = []
      for (const scenario of asked) each.push(await costOf(genkan, scenario, context.quick))
      return mean(each)
    }
    return await work({ genkan, generator, flooder, place, cpus, cost })
  } finally {
    await Promise.all(generators.map((generator) => generator.stop()))
    await genkan.stop()
  }
}

/** Few at a time, so that nobody is refused, and of accounts enough that none is tried too often; the first run warms up. */
async function costOf(genkan: Genkan, scenario: Scenario, quick: boolean): Promise<number> {
  const prepared = await prepare(genkan, scenario, COST_LANES)
  const load: Load = { milliseconds: quick ? 400 : 2500, most: 20_000 }
  try {
    await prepared.run(load)
    const { cpu, flows } = await prepared.run(load)
    // Hundredths of a second are all that is counted: less than one flow's worth is no figure.
    return Math.max(cpu / flows, 10)
  } finally {
    prepared.close()
  }
}

/** Flows of these scenarios, each in turn, so many a second. */
export function stream(
  { arrivals: kind }: Context,
  name: string,
  scenarios: readonly Scenario[],
  perSecond: number,
): Stream {
  return { name, scenarios: scenarios.map((scenario) => scenario.name), arrivals: { kind, perSecond } }
}

const COLUMNS: readonly Column[] = [
  { title: 'load' },
  { title: 'flows/s done', digits: 1 },
  { title: 'p50 ms', digits: 1 },
  { title: 'p99 ms', digits: 1 },
  { title: 'max ms', digits: 0 },
  { title: 'refused' },
  { title: 'refused p99 ms', digits: 1 },
  { title: 'failed' },
  { title: 'no answer' },
  { title: 'generator late p99 ms', digits: 1 },
]

/** One line for each stream; latencies are from the intended start. */
export function streamTable(results: readonly (readonly [label: string, result: StreamResult])[]): Table {
  const row = ([label, { seconds, inTime, done, refused, failed, broken, lag }]: (typeof results)[number]): Cell[] => [
    ...[label, inTime / seconds, done.p50, done.p99, done.max],
    ...[refused.count, refused.count === 0 ? null : refused.p99, failed, broken, lag.p99],
  ]
  return { columns: COLUMNS, rows: results.map(row) }
}

/** Reasons for wrong answers, once each. */
export function reasonsOf(results: readonly StreamResult[]): string[] {
  return [...new Set(results.flatMap(({ reasons }) => reasons))].map((reason) => `Wrong answer: ${reason}`)
}

const LATE_MS = 50

/** Says it when the generator was what could not keep up. */
export function lateNote(results: readonly StreamResult[]): string[] {
  const late = Math.max(...results.map(({ lag }) => lag.p99))
  return late > LATE_MS
    ? [
        `The generator itself (or its sessions, all in use) sent up to ${Math.round(late)} ms late (p99): the latencies include that.`,
      ]
    : []
}

export function latencyPlot(title: string, results: readonly (readonly [label: string, result: StreamResult])[]): Plot {
  return {
    ...{ title, kind: 'lines', x: 'second', y: 'p99 ms' },
    series: results.map(([name, { bySecond }]) => ({
      name,
      points: bySecond.map(({ p99 }, second) => [second, p99] as const),
    })),
  }
}
