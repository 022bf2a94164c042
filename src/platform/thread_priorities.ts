/**
 * Beside its event loop a process has threads: libuv's pool, on which passwords are hashed, and one that helps V8. Where they and
 * an event loop want the same core, the system would let all run in turn, and everybody's tokens wait for the passwords of
 * a flood (A103). So those threads give way.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { promisify } from 'node:util'

/**
 * A nice value, each step of which is a quarter more or less of the processor; or `idle`: what nobody else wants (sched(7)).
 * Whoever wakes on the core of an idle thread has it at once, but on that of a nice one only when its turn is over, which may be
 * milliseconds.
 */
export type Way = number | 'idle'

const TASKS = '/proc/self/task'
const NICEST = 19

/**
 * Lets threads of this process give way, by their names. Where they have no priorities or names of their own, nothing is
 * changed; where there is no `chrt` (util-linux), idle ones are as nice as can be.
 */
export async function letThreadsGiveWay(ways: { readonly [thread: string]: Way }): Promise<void> {
  if (process.platform !== 'linux') return
  // Those of the pool are there from the first work on.
  await promisify(randomBytes)(1)
  try {
    const threads = readdirSync(TASKS).map((id) => ({ id, name: readFileSync(`${TASKS}/${id}/comm`, 'utf8').trim() }))
    const own = getPriority()
    for (const { id, name } of threads) {
      const way = ways[name] ?? own
      setPriority(Number(id), Math.max(own, way === 'idle' ? NICEST : way))
    }
    const idle = threads.filter(({ name }) => ways[name] === 'idle')
    await Promise.all(idle.map(({ id }) => promisify(execFile)('chrt', ['--idle', '--pid', '0', id])))
  } catch {
    // A sandbox forbids it: slower tokens in a flood are no reason not to serve.
  }
}
