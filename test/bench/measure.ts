/** Measures: CPU of a process tree, memory, latencies under bounded load, and what one flow sends to the stores. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Target } from './flows.ts'
import { createHttp } from './http.ts'
import type { Scenario } from './scenarios.ts'
import type { Subject } from './subjects.ts'
import { isJobStatement } from './wire.ts'

/** Linux counts CPU time in hundredths of a second for everybody who asks. */
const TICK_US = 10_000

/** User and system time of a process, all its threads and its children, in µs. */
function cpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name may have blanks and brackets in it: fields count from after the last bracket, where field 3 is.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const own = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0) * TICK_US
  return children(pid).reduce((sum, child) => sum + cpuMicroseconds(child), own)
}

function children(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  )
}

/** Resident memory now and at its highest, in MB. */
export function memory(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const megabytes = (name: string) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024)
  return { now: megabytes('VmRSS'), peak: megabytes('VmHWM') }
}

export interface Load {
  /** Both bound the load: it ends at whichever comes first. */
  readonly milliseconds: number
  readonly most: number
}

export interface Sample {
  readonly flows: number
  readonly cpu: number
  readonly latencies: readonly number[]
}

function targetOf(subject: Subject, lanes: number): Target & { close(): void } {
  const http = createHttp(lanes)
  return { issuer: subject.issuer, http, nextAccount: subject.nextAccount, close: http.close }
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
    async run({ milliseconds, most }) {
      const latencies: number[] = []
      const start = performance.now()
      const cpuBefore = cpuMicroseconds(subject.pid)
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
      return { flows: latencies.length, cpu: cpuMicroseconds(subject.pid) - cpuBefore, latencies }
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

function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
