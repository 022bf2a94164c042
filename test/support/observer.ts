/**
 * Preloaded into a server under attack (`node --import`): on SIGUSR2 it writes one line to standard error that says how many
 * password hashes have run, whether `Object.prototype` is clean, and how long the event loop was held since the last line.
 * It changes nothing of what the server does.
 */
import { createRequire } from 'node:module'
import { monitorEventLoopDelay } from 'node:perf_hooks'

export interface Observation {
  /** Password hashes made or verified since the start. */
  readonly hashes: number
  /** Enumerable names that somebody put on `Object.prototype`. */
  readonly polluted: readonly string[]
  /** The longest time in which nothing else ran, since the last observation. */
  readonly heldMs: number
}

/** What the line begins with. */
export const MARK = 'observed '

type Work = (...values: readonly unknown[]) => Promise<unknown>

// Modules that import a CommonJS package later see what is on its exports by then.
const argon2 = createRequire(import.meta.url)('argon2') as { hash: Work; verify: Work }
let hashes = 0
for (const name of ['hash', 'verify'] as const) {
  const work = argon2[name]
  argon2[name] = (...values) => {
    hashes += 1
    return work(...values)
  }
}

const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()

export function observed(): Observation {
  const polluted: string[] = []
  for (const name in {}) polluted.push(name)
  const observation: Observation = { hashes, polluted, heldMs: delay.max / 1e6 }
  delay.reset()
  return observation
}

process.on('SIGUSR2', () => process.stderr.write(`${MARK}${JSON.stringify(observed())}\n`))
