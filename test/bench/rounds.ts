/** Interleaved rounds: both sides of every scenario in turn, so that a slow moment of the machine hits both. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Load, type Prepared, prepare, type Sample } from './measure.ts'
import type { Scenario } from './scenarios.ts'
import { mean, quantile } from './statistics.ts'
import type { HashParameters } from './stores.ts'
import type { Subject } from './subjects.ts'

export interface Plan {
  readonly rounds: number
  readonly lanes: number
  readonly load: Load
  readonly warmUp: Load
  readonly warmUpFlows: number
}

const MOST_WARM_UPS = 20

/** One line of the measurement: a scenario and who is asked on each side. */
export interface Pair {
  readonly scenario: Scenario
  readonly base: Subject
  readonly ours: Subject
  /** With it, the cost of one hash is measured beside each round. */
  readonly hash?: HashParameters
}

export interface Side {
  /** Server CPU of one flow, µs. */
  readonly cpu: number
  /** CPU of the stores for one flow, µs: of everybody who uses them meanwhile. */
  readonly storeCpu: number
  readonly p50: number
  readonly p99: number
  readonly flows: number
}

export interface Measured {
  readonly scenario: Scenario
  readonly base: Side
  readonly ours: Side
  /** CPU of one hash by itself, µs; 0 without hashing. */
  readonly hash: number
}

/** Runs all pairs. `tell` hears of each round. */
export async function measureRounds(
  pairs: readonly Pair[],
  plan: Plan,
  tell: (line: string) => void,
): Promise<Measured[]> {
  const ready: {
    pair: Pair
    base: Prepared
    ours: Prepared
    samples: { base: Sample[]; ours: Sample[]; hash: number[] }
  }[] = []
  for (const pair of pairs) {
    const base = await prepare(pair.base, pair.scenario, plan.lanes)
    const ours = await prepare(pair.ours, pair.scenario, plan.lanes)
    for (const side of [base, ours]) await settle(side, plan)
    ready.push({ pair, base, ours, samples: { base: [], ours: [], hash: [] } })
  }
  for (let round = 1; round <= plan.rounds; round++) {
    tell(`round ${round} of ${plan.rounds}`)
    for (const { pair, base, ours, samples } of ready) {
      const sides = [
        async () => samples.base.push(await base.run(plan.load)),
        async () => samples.ours.push(await ours.run(plan.load)),
      ]
      for (const side of round % 2 === 1 ? sides : sides.reverse()) await side()
      if (pair.hash) samples.hash.push(await hashCost(pair.hash, plan.load.milliseconds))
    }
  }
  return ready.map(({ pair, base, ours, samples }) => {
    base.close()
    ours.close()
    return { scenario: pair.scenario, base: side(samples.base), ours: side(samples.ours), hash: mean(samples.hash) }
  })
}

/** Compilers and caches settle before anything counts: that takes flows, not time, and slow flows get more of it. */
async function settle(prepared: Prepared, plan: Plan): Promise<void> {
  for (let times = 0, flows = 0; times < MOST_WARM_UPS && flows < plan.warmUpFlows; times++) {
    flows += (await prepared.run(plan.warmUp)).flows
  }
}

/**
 * Lets a subject that is measured by one scenario run the others first. The bare engine has run them all by then, and what
 * they have in common is compiled: a process that just started takes twice the CPU for its first hundreds of sign-ins.
 */
export async function warmUp(subject: Subject, scenarios: readonly Scenario[], plan: Plan): Promise<void> {
  for (const scenario of scenarios) {
    const prepared = await prepare(subject, scenario, plan.lanes)
    await settle(prepared, plan)
    prepared.close()
  }
}

function side(samples: readonly Sample[]): Side {
  const flows = samples.reduce((sum, sample) => sum + sample.flows, 0)
  const latencies = samples.flatMap((sample) => sample.latencies)
  return {
    cpu: samples.reduce((sum, sample) => sum + sample.cpu, 0) / flows,
    storeCpu: samples.reduce((sum, sample) => sum + sample.storeCpu, 0) / flows,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    flows,
  }
}

async function hashCost({ memoryKib, passes }: HashParameters, milliseconds: number): Promise<number> {
  const times = Math.max(10, Math.round(milliseconds / 50))
  const script = fileURLToPath(new URL('hash.ts', import.meta.url))
  const args = ['--disable-warning=ExperimentalWarning', script, memoryKib, passes, times].map(String)
  return Number((await promisify(execFile)(process.execPath, args)).stdout)
}
