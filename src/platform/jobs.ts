/** Runs repeating work: each job on its own timer with jitter, never beside itself. */

interface RepeatedWork {
  readonly name: string
  readonly everySeconds: number
  /** Runs once more when the runner stops. */
  readonly atStop?: true
  run(now: Date): Promise<void>
}

export interface JobsDeps {
  readonly jobs: readonly RepeatedWork[]
  readonly logger: { error(facts: object, message: string): void }
  readonly clock: { now(): Date }
  /** Told of every failed run, for the metric. */
  readonly failed?: ((job: string) => void) | undefined
}

export interface Jobs {
  /** Starts the timers. The first runs are spread over the first seconds. */
  start(): void
  /** Stops the timers, waits for running work and for what still runs at the stop, 20 s at the most. */
  stop(): Promise<void>
  /** Runs everything that is due by the clock and waits for it: for tests and commands. */
  runDue(): Promise<void>
}

const STOP_MS = 20_000
const FIRST_RUN_MS = 5_000

interface Slot {
  readonly job: RepeatedWork
  timer?: NodeJS.Timeout
  running?: Promise<void> | undefined
  nextAt: number
  failures: number
}

/** Makes the runner; nothing runs before `start` or `runDue`. */
export function createJobs({ jobs, logger, clock, failed }: JobsDeps): Jobs {
  const slots: Slot[] = jobs.map((job) => ({ job, nextAt: 0, failures: 0 }))
  let stopped = true

  const attempt = async (slot: Slot) => {
    const { job } = slot
    const now = clock.now()
    slot.nextAt = now.getTime() + job.everySeconds * 1000
    try {
      await job.run(now)
      slot.failures = 0
    } catch (error) {
      failed?.(job.name)
      slot.failures += 1
      // A store that is away for an hour would fill the log: tell the 1st, 2nd, 4th, 8th … failure in a row.
      if (Number.isInteger(Math.log2(slot.failures))) {
        logger.error({ err: error, job: job.name, failures: slot.failures }, 'job failed')
      }
    }
  }
  const run = (slot: Slot): Promise<void> => {
    slot.running ??= attempt(slot).finally(() => {
      slot.running = undefined
    })
    return slot.running
  }
  const schedule = (slot: Slot, delay: number) => {
    slot.timer = setTimeout(() => {
      void run(slot).then(() => {
        // Jitter keeps several instances from working in step.
        if (!stopped) schedule(slot, slot.job.everySeconds * 1000 * (0.8 + 0.4 * Math.random()))
      })
    }, delay)
    slot.timer.unref()
  }

  return {
    start() {
      if (!stopped) return
      stopped = false
      for (const slot of slots) schedule(slot, Math.random() * Math.min(slot.job.everySeconds * 1000, FIRST_RUN_MS))
    },
    async stop() {
      const last = stopped ? [] : slots.filter(({ job }) => job.atStop)
      stopped = true
      for (const slot of slots) clearTimeout(slot.timer)
      const end = async () => {
        await Promise.all(slots.map((slot) => slot.running))
        // Not the run that was under way, which may have begun before the last request ended.
        await Promise.all(last.map(run))
      }
      let deadline: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        deadline = setTimeout(resolve, STOP_MS)
      })
      await Promise.race([end(), late])
      clearTimeout(deadline)
    },
    async runDue() {
      const now = clock.now().getTime()
      await Promise.all(slots.filter((slot) => slot.nextAt <= now).map(run))
    },
  }
}
