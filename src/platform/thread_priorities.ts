/**
 * Beside the event loop a process has threads that hash (libuv's pool) and one that helps V8. Where they and the loop want the
 * same core, the system would let all run in turn, and everybody's tokens wait for the passwords of a flood (A103). So those
 * threads give way: who hashes has what nobody else wants, and who collects garbage a tenth of what the loop has.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { promisify } from 'node:util'

const TASKS = '/proc/self/task'
const HASHING = 'libuv-worker'
/** Nice values by the name of the thread: each step is a quarter more or less of the processor (sched(7)). */
const NICE: { readonly [name: string]: number } = { [HASHING]: 19, V8Worker: 10 }

/**
 * A nice thread still ends its turn, up to 4 ms, before the loop that woke up has its own; one of the idle class is stopped at
 * once. Node cannot ask for that class: this program of util-linux and of busybox can.
 */
const CHRT = '/usr/bin/chrt'
const CHRT_MS = 2000

/** Lets the threads of this process give way. Where they have no priorities or names of their own, nothing is changed. */
export async function letThreadsGiveWay(): Promise<void> {
  if (process.platform !== 'linux') return
  // Those of the pool are there from the first work on.
  await promisify(randomBytes)(1)
  try {
    const threads = readdirSync(TASKS).map((id) => ({ id, name: readFileSync(`${TASKS}/${id}/comm`, 'utf8').trim() }))
    const own = getPriority()
    for (const { id, name } of threads) setPriority(Number(id), Math.max(own, NICE[name] ?? own))
    await Promise.all(threads.filter(({ name }) => name === HASHING).map(({ id }) => makeIdle(id)))
  } catch {
    // A sandbox forbids it: slower tokens in a flood are no reason not to serve.
  }
}

const makeIdle = (thread: string) => promisify(execFile)(CHRT, ['-i', '-p', '0', thread], { env: {}, timeout: CHRT_MS })
