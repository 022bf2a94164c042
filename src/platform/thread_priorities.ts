/**
 * Beside its event loop a process has threads: libuv's pool, on which passwords are hashed, and one that helps V8. Where they and
 * an event loop want the same core, the system would let all run in turn, and everybody's tokens wait for the passwords of
 * a flood (A103). So those threads give way.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { promisify } from 'node:util'

const TASKS = '/proc/self/task'
/**
 * Gives threads of this process nice values by their names; each step is a quarter more or less of the processor (sched(7)).
 * Where they have no priorities or names of their own, nothing is changed.
 */
export async function letThreadsGiveWay(nice: { readonly [thread: string]: number }): Promise<void> {
  if (process.platform !== 'linux') return
  // Those of the pool are there from the first work on.
  await promisify(randomBytes)(1)
  try {
    const threads = readdirSync(TASKS).map((id) => ({ id, name: readFileSync(`${TASKS}/${id}/comm`, 'utf8').trim() }))
    const own = getPriority()
    for (const { id, name } of threads) setPriority(Number(id), Math.max(own, nice[name] ?? own))
  } catch {
    // A sandbox forbids it: slower tokens in a flood are no reason not to serve.
  }
}
