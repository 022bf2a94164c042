/** Runs one case in one mode: what must be there before it, the fault, and everything that is looked at afterwards. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Case, Mode, Stage } from './case.ts'
import {
  gather,
  holdingsOf,
  judgeExchange,
  judgeHoldings,
  judgeLogs,
  judgeMails,
  READY_MS,
  watchHealth,
} from './invariants.ts'
import { createJournal, seed, startLoad, verify } from './journal.ts'
import { until, type World } from './world.ts'

export interface Verdict {
  readonly id: string
  readonly mode: Mode
  readonly wrong: readonly string[]
  readonly seconds: number
  /** Outcomes of the load, for the table. */
  readonly note: string
}

interface Run {
  readonly world: World
  readonly mode: Mode
  readonly deep: boolean
  readonly quick?: boolean
  readonly random: () => number
}

/** How long the load runs before the fault and after it. */
const WARM_MS = 1500
const WARM_UP_MS = 6000
const LONGEST_CASE_MS = 20 * 60_000

export async function runCase(fault: Case, run: Run): Promise<Verdict> {
  const started = Date.now()
  const { world, mode } = run
  const journal = createJournal()
  const wrong: string[] = []
  const undo: (() => Promise<unknown>)[] = []
  let broken = false
  const stage: Stage = {
    ...{ world, journal, mode, deep: run.deep, quick: run.quick === true, random: run.random },
    check: (ok, otherwise) => void (ok || wrong.push(otherwise)),
    lasting: (row, short) => (run.deep ? row : short),
    later: (each) => void undo.push(each),
  }
  try {
    const mails = (await world.mailbox.all()).length
    await seed(world, journal)
    const load = mode === 'load' ? startLoad(world, journal, () => broken) : undefined
    if (load !== undefined) await sleep(WARM_MS)
    const before = holdingsOf(world)
    const lines = new Map(world.instances.map(({ server }) => [server.port, server.logs().length]))
    world.exchanges.length = 0
    const health = watchHealth(world)
    broken = fault.harmless !== true
    try {
      await within(LONGEST_CASE_MS, lastingFault(fault, stage))
      await until(world.ready, READY_MS, 'ready after healing').catch((error: Error) => wrong.push(error.message))
      if (fault.unready === true) stage.check(health.sawUnready(), '/readyz never said 503')
      await sleep(mode === 'load' ? WARM_MS : 0)
      broken = false
      await fault.after?.(stage)
      if (load !== undefined) await sleep(WARM_MS)
    } finally {
      health.stop()
      broken = true
      await load?.stop()
    }
    wrong.push(...gather(health.dead), ...gather(world.exchanges.map((each) => judgeExchange(each, fault))))
    wrong.push(...(await verify(world, journal, { mayForget: fault.forgets === true })))
    wrong.push(...(await judgeMails(world, journal, mails, fault)), ...judgeLogs(world, journal, lines))
    // A process that has just begun has no baseline.
    if (run.quick !== true) wrong.push(...(await judgeHoldings(world, before)))
  } catch (error) {
    wrong.push(`ended early: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  } finally {
    for (const each of undo.reverse()) await each().catch((error: unknown) => wrong.push(`undoing: ${String(error)}`))
  }
  const { done, refused, lost, strayed } = journal.outcomes
  const note = mode === 'idle' ? '' : `${done} done, ${refused} refused, ${lost} lost, ${strayed} strayed`
  return { id: fault.id, mode, wrong: gather(wrong), seconds: Math.round((Date.now() - started) / 1000), note }
}

/** A process that has served for a while: what it holds then is what it comes back to (I8). */
export async function warmUp(world: World): Promise<void> {
  const journal = createJournal()
  await seed(world, journal)
  const load = startLoad(world, journal, () => true)
  await sleep(WARM_UP_MS)
  await load.stop()
}

async function lastingFault(fault: Case, stage: Stage): Promise<void> {
  try {
    await fault.inject(stage)
    await fault.during?.(stage)
  } finally {
    await fault.heal(stage)
  }
}

async function within(milliseconds: number, work: Promise<void>): Promise<void> {
  const ended = new AbortController()
  const late = sleep(milliseconds, undefined, { signal: ended.signal }).then(() => {
    throw new Error(`not over after ${milliseconds / 1000} s`)
  })
  await Promise.race([work, late]).finally(() => {
    ended.abort()
    late.catch(() => {})
  })
}
