/**
 * Hashing runs in libuv's pool of threads. Where it and the event loop want the same core, the system would let both run in turn,
 * and everybody's tokens wait for the passwords of a flood (A103). So those threads give way: they have what the loop leaves.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { promisify } from 'node:util'

const POOL = 'libuv-worker'
const TASKS = '/proc/self/task'
const LEAST_URGENT = 19

/** Lets the pool of this process give way. Where threads have no priorities or names of their own, nothing is changed. */
export async function letPoolGiveWay(): Promise<void> {
  if (process.platform !== 'linux') return
  // Its threads are there from the first work on.
  await promisify(randomBytes)(1)
  try {
    for (const thread of readdirSync(TASKS)) {
      if (readFileSync(`${TASKS}/${thread}/comm`, 'utf8').trim() === POOL) setPriority(Number(thread), LEAST_URGENT)
    }
  } catch {
    // A sandbox forbids it: slower tokens in a flood are no reason not to serve.
  }
}
