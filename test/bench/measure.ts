/** Measures: CPU and latencies under bounded load, and what one flow sends to the stores. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Target } from './flows.ts'
import { createHttp } from './http.ts'
import { cpuMicroseconds } from './processes.ts'
import type { Scenario } from './scenarios.ts'
import { median, sum } from './statistics.ts'
import type { Subject } from './subjects.ts'
import { isJobStatement } from './wire.ts'

export interface Load {
  /** Both bound the load: it ends at whichever comes first. */
  readonly milliseconds: number
  readonly most: number
}

export interface Sample {
  readonly flows: number
  readonly cpu: number
  readonly storeCpu: number
  readonly latencies: readonly number[]
}

/** A place for flows of this process. */
export function targetOf(subject: Subject, lanes: number): Target & { close(): void } {
  const http = createHttp(lanes)
  return { issuer: subject.origin, http, nextAccount: subject.nextAccount, close: http.close }
}

/** Each lane starts its next flow when the last one ended; returns the milliseconds of each. */
export async function closedLoop(
  flow: (lane: number) => Promise<unknown>,
  lanes: number,
  { milliseconds, most }: Load,
): Promise<number[]> {
  const latencies: number[] = []
  const start = performance.now()
  let started = 0
  const lane = async (index: number) => {
    while (started < most && performance.now() - start < milliseconds) {
      started += 1
      const from = performance.now()
      await flow(index)
      latencies.push(performance.now() - from)
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)))
  return latencies
}

/** A scenario made ready for one subject: its sessions and tokens serve every round. */
export interface Prepared {
  /** Runs flows in closed-loop lanes and measures the server meanwhile. Any failed flow fails the measurement. */
  run(load: Load): Promise<Sample>
  close(): void
}

export async function prepare(subject: Subject, scenario: Scenario, lanes: number): Promise<Prepared> {
  const target = targetOf(subject, lanes)
  const flow = await scenario.prepare(target, lanes)
  return {
    close: target.close,
    async run(load) {
      const cpu = () => cpuMicroseconds(subject.pid)
      const storeCpu = () => sum(subject.storePids.map(cpuMicroseconds))
      const before = { cpu: cpu(), storeCpu: storeCpu() }
      const latencies = await closedLoop(flow, lanes, load)
      return {
        ...{ flows: latencies.length, latencies },
        ...{ cpu: cpu() - before.cpu, storeCpu: storeCpu() - before.storeCpu },
      }
    },
  }
}

export interface Counts {
  /** Of the flow in the middle when sorted: background jobs that fell into another flow do not show. */
  readonly redis: number
  readonly sql: number
  readonly requests: number
  /** What exactly was sent in the flow with the fewest commands and statements. */
  readonly trace: readonly string[]
}

/** Long enough for what a server sends just after its answer. */
const SETTLE_MS = 15

/** Counts what one flow sends, over `repeat` flows one after the other. The subject must have been started with `count`. */
export async function countFlow(subject: Subject, scenario: Scenario, repeat = 9): Promise<Counts> {
  const target = targetOf(subject, 1)
  try {
    const flow = await scenario.prepare(target, 1)
    // The first one fills caches and prepares statements.
    await flow(0)
    const seen: { redis: readonly string[]; sql: readonly string[]; requests: number }[] = []
    for (let i = 0; i < repeat; i++) {
      await sleep(SETTLE_MS)
      subject.taken()
      const before = target.http.sent()
      await flow(0)
      await sleep(SETTLE_MS)
      const { redis: all, sql } = subject.taken()
      // A connection that listens says every 300 ms that it is there, whether anybody signs in or not.
      const redis = all.filter((command) => command !== 'PING')
      seen.push({ redis, sql: sql.filter((text) => !isJobStatement(text)), requests: target.http.sent() - before })
    }
    const fewest = seen.toSorted((a, b) => a.redis.length + a.sql.length - b.redis.length - b.sql.length)[0]
    return {
      redis: median(seen.map((one) => one.redis.length)),
      sql: median(seen.map((one) => one.sql.length)),
      requests: median(seen.map((one) => one.requests)),
      trace: [...(fewest?.redis ?? []), ...(fewest?.sql ?? [])],
    }
  } finally {
    target.close()
  }
}
