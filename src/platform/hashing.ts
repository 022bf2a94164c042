/**
 * The process that hashes for a server. Threads that hash beside the event loop share its locks, its map of memory and the pool
 * that signs tokens: in a flood of logins everybody's tokens wait for them (A103). It gets passwords and nothing else:
 * no setting, no key, no address.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AppError } from '../errors.ts'
import type { Done, HashParameters } from './argon2id.ts'
import type { Logger } from './logger.ts'

/**
 * Argon2id. `expectedMs` is what a core of its own would take; both reject with AppError `temporarily_unavailable` when it is not
 * done in many times that.
 */
export interface Hashing {
  hash(password: string, parameters: HashParameters, expectedMs: number): Promise<Done<string>>
  verify(encoded: string, password: string, expectedMs: number): Promise<Done<boolean>>
}

export interface HashingProcess extends Hashing {
  /** Starts the process, which the first hash would do; resolves when it can hash, and rejects when it ends instead. */
  begin(): Promise<void>
  /** Ends the process; what it has not done is refused. */
  close(): Promise<void>
}

export type Task =
  | { readonly id: number; readonly password: string; readonly parameters: HashParameters }
  | { readonly id: number; readonly password: string; readonly encoded: string }
/** The first one has no id: it says that the process can hash. */
export type Answer = { readonly id?: number; readonly error?: string } & Partial<Done<string | boolean>>

const PROGRAM = fileURLToPath(new URL(`./hashing_process${extname(import.meta.url)}`, import.meta.url))
/** A process that hangs is not waited for: with the wait for a turn nobody waits five seconds. */
const PATIENCE_MS = 3300
const PATIENCE_TIMES = 20
const GOODBYE_MS = 2000
/** One that ends at once is not started again by each of a flood of logins. */
const PAUSE_MS = 500

interface Pending {
  resolve(done: Done<string | boolean>): void
  reject(error: Error): void
}

interface Options {
  /** Hashes at once. */
  readonly width: number
  readonly logger: Pick<Logger, 'error'>
}

/** What the process takes with it when it ends, or keeps for too long, is refused; the next hash starts another. */
export function createHashingProcess({ width, logger }: Options): HashingProcess {
  const pending = new Map<number, Pending>()
  let child: ChildProcess | undefined
  let begunAt = Number.NEGATIVE_INFINITY
  let last = 0

  function refuseAll(): void {
    for (const one of pending.values()) one.reject(unavailable())
    pending.clear()
  }

  function start(): ChildProcess {
    begunAt = performance.now()
    const started = fork(PROGRAM, [], {
      execArgv: ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1'],
      env: { UV_THREADPOOL_SIZE: String(width), MALLOC_ARENA_MAX: '1' },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const over = (why: object) => {
      if (child !== started) return
      child = undefined
      logger.error(why, 'the process that hashes passwords ended')
      refuseAll()
    }
    started.on('message', ({ id = 0, result, ms = 0, error }: Answer) => {
      const one = pending.get(id)
      pending.delete(id)
      if (result !== undefined) one?.resolve({ result, ms })
      else one?.reject(new Error(error))
    })
    started.on('error', (err) => over({ err }))
    started.on('exit', (code, signal) => over({ code, signal }))
    return started
  }

  async function ask<Result>(task: object, expectedMs: number): Promise<Done<Result>> {
    if (child === undefined && performance.now() - begunAt < PAUSE_MS) throw unavailable()
    child ??= start()
    const asked = child
    last += 1
    const id = last
    // One that hangs would hang for all who come.
    const late = setTimeout(() => asked.kill('SIGKILL'), PATIENCE_MS + PATIENCE_TIMES * expectedMs)
    try {
      return await new Promise((resolve, reject) => {
        pending.set(id, { resolve: (done) => resolve(done as Done<Result>), reject })
        asked.send({ id, ...task }, (error) => error && reject(unavailable()))
      })
    } finally {
      clearTimeout(late)
      pending.delete(id)
    }
  }

  return {
    hash: (password, parameters, expectedMs) => ask({ password, parameters }, expectedMs),
    verify: (encoded, password, expectedMs) => ask({ encoded, password }, expectedMs),
    async begin() {
      child ??= start()
      const first = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => undefined)])
      if (first === undefined) throw new Error('the process that hashes passwords cannot be started')
    },
    async close() {
      const ending = child
      child = undefined
      refuseAll()
      if (ending?.connected !== true) return
      // One that hangs does not hear of it.
      const late = setTimeout(() => ending.kill('SIGKILL'), GOODBYE_MS)
      ending.disconnect()
      await once(ending, 'exit')
      clearTimeout(late)
    },
  }
}

function unavailable(): AppError {
  return new AppError('temporarily_unavailable', { retryAfter: 1 })
}
