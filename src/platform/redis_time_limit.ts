/** How long a command to Redis may wait for its answer. */
import type { Command } from 'ioredis'
import { createNotes } from './notes.ts'

/** How many answered commands may stand before the first that waits. */
const LEFT_BEHIND = 256

/**
 * One timer for all that wait, since all have the same time. The driver's own limit, besides having a timer for each, would
 * refuse answers that are there: a turn that computed for a second (the first password of a process, on a busy machine) runs
 * its timers before it reads. One more turn lets it read first.
 */
export function createTimeLimit(milliseconds: number): (command: Command) => void {
  /** In the order of sending, which is that of the answers. Those before `first` were answered. */
  let waiting: (Command | undefined)[] = []
  let first = 0
  const sentAt = createNotes<Command, number>()
  let isTimed = false
  const lookAfter = (left: number) => {
    isTimed = true
    setTimeout(look, left).unref()
  }
  const refuse = (command: Command) => {
    if (!command.isSettled) command.reject(new Error('Command timed out'))
  }
  const dropFirst = () => {
    waiting[first] = undefined
    first += 1
    if (first < LEFT_BEHIND) return
    waiting = waiting.slice(first)
    first = 0
  }
  const look = () => {
    isTimed = false
    const now = performance.now()
    for (let command = waiting[first]; command !== undefined; command = waiting[first]) {
      const waited = now - (sentAt.get(command) ?? 0)
      if (!command.isSettled && waited < milliseconds) return lookAfter(milliseconds - waited)
      dropFirst()
      setImmediate(refuse, command)
    }
  }
  return (command) => {
    while (waiting[first]?.isSettled) dropFirst()
    // One that is sent again, to another master, has what is left of its second.
    if (sentAt.get(command) === undefined) {
      sentAt.set(command, performance.now())
      waiting.push(command)
    }
    if (!isTimed) lookAfter(milliseconds)
  }
}
