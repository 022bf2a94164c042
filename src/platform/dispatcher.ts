/** Seals and delivers soon after a commit: the job does the same each second, this makes mail leave at once. */
import { setTimeout as sleep } from 'node:timers/promises'

interface Deps {
  readonly seal: () => Promise<unknown>
  readonly deliveries: { deliver(): Promise<unknown>; stop(): Promise<void> }
  readonly logger: { warn(facts: object, message: string): void }
}

export interface Dispatcher {
  /** Asks for a run within 20 ms; calls in the meantime share it. */
  wake(): void
  /** Seals, and starts the deliveries without waiting for slow consumers. The job calls it each second. */
  run(): Promise<void>
  /** Takes no more wakes, claims nothing more, waits for what is in flight: 20 s at the most, its lease brings the rest back. */
  stop(): Promise<void>
}

const GATHER_MS = 20
const STOP_MS = 20_000

/** Makes the dispatcher of one process. */
export function createDispatcher({ seal, deliveries, logger }: Deps): Dispatcher {
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const run = async () => {
    await seal()
    deliveries
      .deliver()
      .catch((error: unknown) => logger.warn({ err: error }, 'deliveries stopped; the next run goes on'))
  }
  return {
    wake() {
      if (stopped || timer !== undefined) return
      timer = setTimeout(() => {
        // Cleared first: a commit during this run may be too late for its sealing and needs another.
        timer = undefined
        run().catch((error: unknown) => logger.warn({ err: error }, 'sealing failed; the next run goes on'))
      }, GATHER_MS)
      timer.unref()
    },
    run,
    async stop() {
      stopped = true
      clearTimeout(timer)
      const settled = new AbortController()
      const late = sleep(STOP_MS, undefined, { signal: settled.signal }).catch(() => {})
      await Promise.race([deliveries.stop(), late])
      settled.abort()
    },
  }
}
