/**
 * The open-loop load generator, a process of its own: it starts each flow when the schedule says, whether the server has answered
 * the earlier ones or not, and takes every latency from the intended start. Told what to do over the IPC channel (open_loop.ts).
 */
import { type Target, WrongAnswer } from './flows.ts'
import { createLeanHttp } from './lean_http.ts'
import type { Ask, Stream, ToGenerator } from './open_loop.ts'
import { type Scenario, scenarioNamed } from './scenarios.ts'
import { intendedStarts } from './schedule.ts'
import { createTally, type Fate, type StreamResult, type Tally } from './tally.ts'

type Flow = (lane: number) => Promise<unknown>

interface Ready {
  readonly flow: Flow
  readonly scenario: Scenario
  /** Lanes that no flow uses now. A lane is a session or a token that only one flow at a time may use. */
  readonly free: number[]
  readonly waiting: ((lane: number) => void)[]
}

const CONNECTIONS = 8000
/** How long after the end of a run its last flows may take. */
const DRAIN_MS = 35_000

let origins: readonly string[] = []
const ready = new Map<string, Ready>()

async function prepare({ origin, accounts, streams }: Ask['prepare']): Promise<void> {
  origins = [origin]
  const http = createLeanHttp(CONNECTIONS)
  let account = 0
  let turn = 0
  const target: Target = {
    get issuer() {
      turn += 1
      return origins[turn % origins.length] ?? ''
    },
    http,
    nextAccount: () => accounts[account++ % accounts.length] ?? '',
  }
  for (const { scenario: name, lanes } of streams) {
    const scenario = scenarioNamed(name)
    const flow = await scenario.prepare(target, lanes)
    ready.set(name, { flow, scenario, free: Array.from({ length: lanes }, (_, lane) => lane), waiting: [] })
  }
}

async function run({ streams, seconds, seed }: Ask['run']): Promise<StreamResult[]> {
  const start = performance.now()
  return Promise.all(streams.map((stream, index) => runStream(stream, seconds, seed + index, start)))
}

async function runStream(stream: Stream, seconds: number, seed: number, start: number): Promise<StreamResult> {
  const each = stream.scenarios.map((name) => {
    const found = ready.get(name)
    if (found === undefined) throw new Error(`${name} was not prepared`)
    return found
  })
  const [from, to] = stream.window ?? [0, seconds]
  const tally = createTally(stream.name, from, to)
  const { arrivals } = stream
  const end = to * 1000
  if (arrivals.kind === 'closed') await closedLoop(each, arrivals.lanes, start, end, tally)
  else await openLoop(each, startsFrom(from * 1000, intendedStarts(arrivals, seed)), start, end, tally)
  return tally.result()
}

function* startsFrom(from: number, starts: Iterable<number>) {
  for (const start of starts) yield from + start
}

async function closedLoop(each: readonly Ready[], lanes: number, start: number, end: number, tally: Tally) {
  let turn = 0
  const lane = async () => {
    for (let now = performance.now() - start; now < end; now = performance.now() - start) {
      const one = each[turn++ % each.length]
      if (one !== undefined) await performFlow(one, now, start, tally)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

function openLoop(
  each: readonly Ready[],
  starts: Iterator<number, unknown, unknown>,
  start: number,
  end: number,
  tally: Tally,
): Promise<void> {
  let next = Number(starts.next().value)
  let turn = 0
  let running = 0
  return new Promise((resolve) => {
    let over = false
    const settled = () => {
      running -= 1
      if (over && running === 0) resolve()
    }
    const begin = () => {
      const now = performance.now() - start
      while (next <= now && next < end) {
        const one = each[turn++ % each.length]
        running += 1
        if (one !== undefined) performFlow(one, next, start, tally).then(settled, settled)
        next = Number(starts.next().value)
      }
      if (next < end) return void setTimeout(begin, Math.max(0, next - (performance.now() - start)))
      over = true
      if (running === 0) resolve()
      else setTimeout(resolve, DRAIN_MS).unref()
    }
    begin()
  })
}

async function performFlow(one: Ready, intended: number, start: number, tally: Tally): Promise<void> {
  const lane = one.scenario.stateless ? 0 : await takeLane(one)
  const sent = performance.now() - start
  try {
    await one.flow(lane)
    tally.add({ intended, sent, ended: performance.now() - start, fate: 'done' })
  } catch (error) {
    tally.add({ intended, sent, ended: performance.now() - start, ...fateOf(error) })
  } finally {
    if (!one.scenario.stateless) leaveLane(one, lane)
  }
}

function fateOf(error: unknown): { fate: Fate; retryAfter?: boolean; reason?: string } {
  if (!(error instanceof WrongAnswer)) return { fate: 'broken', reason: String(error).slice(0, 200) }
  if (error.status === 429 || error.status === 503) {
    return { fate: 'refused', retryAfter: error.retryAfter !== undefined }
  }
  return { fate: 'failed', reason: error.message.slice(0, 200) }
}

/** Oldest first, so that every session is used as often as the others. */
function takeLane({ free, waiting }: Ready): Promise<number> | number {
  return free.shift() ?? new Promise<number>((resolve) => waiting.push(resolve))
}

function leaveLane({ free, waiting }: Ready, lane: number): void {
  const next = waiting.shift()
  if (next === undefined) free.push(lane)
  else next(lane)
}

async function perform(ask: Ask[keyof Ask]): Promise<StreamResult[] | undefined> {
  if (ask.operation === 'run') return run(ask)
  if (ask.operation === 'prepare') await prepare(ask)
  else origins = ask.origins
  return undefined
}

process.on('message', async ({ id, ...ask }: ToGenerator) => {
  try {
    process.send?.({ id, value: (await perform(ask)) ?? null })
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
})
// Whoever started us is gone.
process.on('disconnect', () => process.exit())
