/**
 * Beside the event loop a process has threads that hash (libuv's pool) and one that helps V8. Where they and the loop want the
 * same core, the system would let all run in turn, and everybody's tokens wait for the passwords of a flood (A103). So those
 * threads give way: who hashes has what the loop leaves, and who collects garbage a tenth of what it has.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { promisify } from 'node:util'

const TASKS = '/proc/self/task'
/** Nice values by the name of the thread: each step is a quarter more or less of the processor (sched(7)). */
const NICE: { readonly [name: string]: number } = { 'libuv-worker': 19, V8Worker: 10 }

/** Lets the threads of this process give way. Where they have no priorities or names of their own, nothing is changed. */
export async function letThreadsGiveWay(): Promise<void> {
  if (process.platform !== 'linux') return
  // Those of the pool are there from the first work on.
  await promisify(randomBytes)(1)
  try {
    const threads = readdirSync(TASKS).map((id) => ({ id, name: readFileSync(`${TASKS}/${id}/comm`, 'utf8').trim() }))
    const own = getPriority()
    for (const { id, name } of threads) setPriority(Number(id), Math.max(own, NICE[name] ?? own))
  } catch {
    // A sandbox forbids it: slower tokens in a flood are no reason not to serve.
  }
}
