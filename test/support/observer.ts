/**
 * Preloaded into a server under attack (`node --import`): on SIGUSR2 it writes one line to standard error that says how many
 * password hashes have run, whether `Object.prototype` is clean, and how long the event loop was held since the last line.
 * It changes nothing of what the server does.
 */
import type { ChildProcess } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
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

let hashes = 0
// Passwords are sent to the process that hashes. A child has its `send` only after it was told of.
subscribe('child_process', (message) => {
  const { process: child } = message as { process: ChildProcess }
  queueMicrotask(() => {
    const send = child.send?.bind(child) as ((...values: unknown[]) => boolean) | undefined
    if (send === undefined) return
    const counted = (...values: unknown[]) => {
      if ('password' in Object(values[0])) hashes += 1
      return send(...values)
    }
    child.send = counted as ChildProcess['send']
  })
})

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
