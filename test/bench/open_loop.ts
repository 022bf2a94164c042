/** The side of the load generator that starts it and tells it what to do. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { entrust } from '../support/services.ts'
import { SECRET } from './clients.ts'
import { behind, pinned } from './processes.ts'
import type { Arrivals } from './schedule.ts'
import type { StreamResult } from './tally.ts'

/** Flows that come by one schedule: of several scenarios, each in turn. */
export interface Stream {
  readonly name: string
  readonly scenarios: readonly string[]
  readonly arrivals: Arrivals
  /** Seconds of the run in which flows start; left out, all of them. */
  readonly window?: readonly [from: number, to: number]
}

export interface Ask {
  readonly prepare: {
    readonly operation: 'prepare'
    readonly origin: string
    readonly accounts: readonly string[]
    readonly streams: readonly { readonly scenario: string; readonly lanes: number }[]
  }
  readonly spread: {
    readonly operation: 'spread'
    readonly origins: readonly string[]
  }
  readonly run: {
    readonly operation: 'run'
    readonly streams: readonly Stream[]
    readonly seconds: number
    readonly seed: number
  }
}
export type ToGenerator = { readonly id: number } & Ask[keyof Ask]

export interface Generator {
  readonly pid: number
  /** Signs in and collects what the scenarios need. */
  prepare(asked: Omit<Ask['prepare'], 'operation'>): Promise<void>
  /** From now on these are asked in turn. */
  spread(origins: readonly string[]): Promise<void>
  /** Runs the streams beside each other; the results are in their order. */
  run(streams: readonly Stream[], seconds: number): Promise<StreamResult[]>
  stop(): Promise<void>
}

const SCRIPT = fileURLToPath(new URL('generator.ts', import.meta.url))
const FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=32']

/** Starts a generator on the given CPUs, or on any; `behind` the one that measures, it has what that one leaves. */
export async function startGenerator(cpus: string | undefined, place?: 'behind'): Promise<Generator> {
  const started = pinned(cpus, process.execPath, [...FLAGS, SCRIPT])
  const [command, args] = place === 'behind' ? behind(...started) : started
  const child = spawn(command, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { PATH: process.env.PATH, BENCH_SECRET: SECRET },
  })
  const release = await entrust(child.pid ?? 0)
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  let last = 0
  child.on('message', ({ id, value, error }: { id: number; value?: unknown; error?: string }) => {
    const waiter = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) waiter?.resolve(value)
    else waiter?.reject(new Error(`generator: ${error}`))
  })
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      for (const waiter of waiting.values()) waiter.reject(new Error('the generator has ended'))
      resolve()
    })
  })
  const ask = (what: Ask[keyof Ask]) =>
    new Promise<unknown>((resolve, reject) => {
      last += 1
      waiting.set(last, { resolve, reject })
      child.send({ id: last, ...what })
    })
  let seed = 1
  return {
    pid: child.pid ?? 0,
    prepare: async (asked) => {
      await ask({ operation: 'prepare', ...asked })
    },
    spread: async (origins) => {
      await ask({ operation: 'spread', origins })
    },
    run: async (streams, seconds) => {
      seed += streams.length
      return (await ask({ operation: 'run', streams, seconds, seed })) as StreamResult[]
    },
    stop: async () => {
      child.kill('SIGKILL')
      await ended
      await release()
    },
  }
}
