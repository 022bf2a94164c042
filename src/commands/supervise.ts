/** Several server processes on one port, for machines with more cores: forked, replaced when they die, drained together. */
import cluster, { type Worker } from 'node:cluster'

/** A process that dies sooner than this never came up. */
const YOUNG_MS = 5000
const YOUNG_DEATHS = 5
const PAUSE_MS = 1000
const DRAIN = 'drain'

export interface Supervision {
  readonly workers: number
  /** Command-line arguments of the worker in this slot, from 1. */
  readonly args: (slot: number) => readonly string[]
  readonly report: (message: string) => void
}

/** Runs in the first process. Resolves with the exit code when all workers have ended. */
export async function supervise({ workers, args, report }: Supervision): Promise<number> {
  const running = new Map<number, Worker>()
  let stopping = false
  let youngDeaths = 0
  let code = 0

  const begin = (slot: number, ended: () => void) => {
    cluster.setupPrimary({ args: [...args(slot)] })
    const worker = cluster.fork()
    const bornAt = Date.now()
    running.set(slot, worker)
    worker.once('exit', (exitCode, signal) => {
      running.delete(slot)
      if (exitCode !== 0 && stopping) code = 1
      if (stopping) return ended()
      report(`worker ${slot} ended (${signal ?? exitCode})`)
      youngDeaths = Date.now() - bornAt < YOUNG_MS ? youngDeaths + 1 : 0
      if (youngDeaths >= YOUNG_DEATHS) {
        report('workers do not come up')
        code = 1
        stop()
        return ended()
      }
      setTimeout(() => (stopping ? ended() : begin(slot, ended)), PAUSE_MS)
    })
  }
  const stop = () => {
    if (stopping) process.exit(1)
    stopping = true
    // A message and not a signal: Ctrl-C reaches all processes of the terminal, and a second signal means "at once".
    for (const worker of running.values()) worker.send(DRAIN, () => {})
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  await Promise.all(Array.from({ length: workers }, (_, i) => new Promise<void>((resolve) => begin(i + 1, resolve))))
  return code
}

/** In a worker: calls `drain` when the first process says so. Signals of the terminal are its business, not ours. */
export function onDrain(drain: () => void): void {
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => {})
  process.on('message', (message) => {
    if (message === DRAIN) drain()
  })
}
