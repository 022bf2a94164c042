/**
 * The process that hashes for a server, and judges new passwords. Threads that hash beside the event loop share its locks, its map
 * of memory and the pool that signs tokens: in a flood of logins everybody's tokens wait for them (A103). On the loop itself they
 * would wait for each estimate and for the dictionaries. It gets passwords, and words that they must not be made of: no setting
 * and no key.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AppError } from '../errors.ts'
import type { Done, HashParameters } from './argon2id.ts'
import type { Logger } from './logger.ts'
import type { Weakness } from './password_strength.ts'

/**
 * Argon2id. `expectedMs` is what a core of its own would take; both reject with AppError `temporarily_unavailable` when it is not
 * done in many times that.
 */
export interface Hashing {
  hash(password: string, parameters: HashParameters, expectedMs: number): Promise<Done<string>>
  verify(encoded: string, password: string, expectedMs: number): Promise<Done<boolean>>
}

export interface Judging {
  /** What makes a password easy to guess (`password_strength.ts`). Rejects with AppError `temporarily_unavailable` after seconds. */
  weaknessOf(password: string, own: readonly string[]): Promise<Done<Weakness | undefined>>
}

export interface HashingProcess extends Hashing, Judging {
  /** Starts the process, which the first hash would do; resolves when it can hash, and rejects when it ends instead. */
  begin(): Promise<void>
  /** Ends the process; what it has not done is refused. */
  close(): Promise<void>
}

type Work =
  | { readonly password: string; readonly parameters: HashParameters }
  | { readonly password: string; readonly encoded: string }
  | { readonly password: string; readonly own: readonly string[] }
export type Task = Work & { readonly id: number }
/** How its threads give way: they take only what nobody else wants, or a little of what others want. */
export type Manner = 'idle' | 'nice'
/** The first one has no id: it says that the process can hash. */
export type Answer = { readonly id?: number; readonly error?: string } & Partial<Done<Result>>
type Result = string | boolean | null

const PROGRAM = fileURLToPath(new URL(`./hashing_process${extname(import.meta.url)}`, import.meta.url))
/** A process that hangs is not waited for: with the wait for a turn nobody waits five seconds. */
const PATIENCE_MS = 3300
const PATIENCE_TIMES = 20
/** From when on a hash is late: what others leave of the processor is not enough. */
const LATE_MS = 100
const LATE_TIMES = 10
/** Long enough to load the dictionaries on a busy machine. */
const JUDGEMENT_MS = 3000
/** A process that has not judged for so long hangs, and no hash may come by that would find out. */
const SILENCE_MS = 10_000
const GOODBYE_MS = 2000
/** One that ends at once is not started again by each of a flood of logins. */
const PAUSE_MS = 500

interface Options {
  /** Hashes at once. */
  readonly width: number
  readonly logger: Pick<Logger, 'error' | 'warn'>
  /** How long threads are only nice after a hash was late, in milliseconds. */
  readonly niceMs?: number
}

/**
 * What the process takes with it when it ends, or keeps for too long, is refused; the next hash starts another. Its threads take
 * only what others leave of the processor. Where that is next to nothing (a backup that compresses on all cores), its work goes
 * to a process whose threads are no more than nice, for a minute, so that nobody is kept from signing in.
 */
export function createHashingProcess({ width, logger, niceMs = 60_000 }: Options): HashingProcess {
  let worker: Worker | undefined
  let [begunAt, lateAt] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]
  let last = 0

  /** The one to ask. One that is no longer nice for a reason is replaced while it has nothing to do. */
  function present(): Worker {
    const now = performance.now()
    if (worker?.manner === 'nice' && worker.pieces.size === 0 && now > lateAt + niceMs) {
      void worker.end()
      worker = undefined
    }
    if (worker === undefined && now - begunAt < PAUSE_MS) throw unavailable()
    worker ??= startAnother()
    if (worker === undefined) throw unavailable()
    return worker
  }

  /** Undefined when the system gives no process, memory or file descriptor for it. */
  function startAnother(): Worker | undefined {
    begunAt = performance.now()
    const over = (started: Worker, why: object) => {
      if (worker !== started && started.process.pid !== undefined) return
      if (worker === started) worker = undefined
      logger.error(why, 'the process that hashes passwords ended')
      started.refuseAll()
    }
    try {
      const started = startWorker(width, begunAt < lateAt + niceMs ? 'nice' : 'idle', over)
      return started.process.pid === undefined ? undefined : started
    } catch (err) {
      logger.error({ err }, 'no process that hashes passwords can be started')
      return undefined
    }
  }

  function insist(id: number): void {
    // After a halt of the event loop the answer may be there unread; and one that only begins is not slow.
    if (!worker?.pieces.has(id) || !worker.isReady()) return
    lateAt = performance.now()
    if (worker.manner === 'nice') return
    const [slow, other] = [worker, startAnother()]
    // Late is better than not at all.
    if (other === undefined) return
    worker = other
    for (const piece of slow.pieces.values()) other.give(piece)
    logger.warn(
      { hashes: slow.pieces.size },
      'hashes are late: for a minute they take more than others leave of the processor',
    )
    slow.process.kill('SIGKILL')
  }

  const watches = createWatches(() => worker, insist)

  async function ask<Told extends Result>(work: Work, watch: Watch): Promise<Done<Told>> {
    const asked = present()
    last += 1
    const id = last
    const unwatch = watch(id)
    try {
      return await new Promise((resolve, reject) => {
        asked.give({ task: { id, ...work }, resolve: (done) => resolve(done as Done<Told>), reject })
      })
    } finally {
      unwatch()
    }
  }

  return {
    hash: (password, parameters, expectedMs) => ask({ password, parameters }, watches.hash(expectedMs)),
    verify: (encoded, password, expectedMs) => ask({ encoded, password }, watches.hash(expectedMs)),
    async weaknessOf(password, own) {
      const { result, ms } = await ask<Weakness | null>({ password, own }, watches.judgement)
      return { result: result ?? undefined, ms }
    },
    async begin() {
      await begun(present().process)
    },
    async close() {
      const ending = worker
      worker = undefined
      ending?.refuseAll()
      await ending?.end()
    },
  }
}

async function begun(child: ChildProcess): Promise<void> {
  const said = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => undefined)])
  if (said === undefined) throw new Error('the process that hashes passwords cannot be started')
}

/** Looks after a piece of work until the returned function is called. */
type Watch = (id: number) => () => void

function createWatches(worker: () => Worker | undefined, insist: (id: number) => void) {
  return {
    hash:
      (expectedMs: number): Watch =>
      (id) => {
        const late = setInterval(() => setImmediate(insist, id), LATE_MS + LATE_TIMES * expectedMs)
        // One that hangs would hang for all who come.
        const hangs = setTimeout(() => worker()?.process.kill('SIGKILL'), PATIENCE_MS + PATIENCE_TIMES * expectedMs)
        return () => {
          clearInterval(late)
          clearTimeout(hangs)
        }
      },
    /** That one is late says nothing of hashes, which may be under way. */
    judgement: (id: number) => {
      const late = setTimeout(() => worker()?.pieces.get(id)?.reject(unavailable()), JUDGEMENT_MS)
      const isMissing = () => worker()?.pieces.has(id) === true
      // As above, an answer may be there unread.
      setTimeout(() => setImmediate(() => isMissing() && worker()?.process.kill('SIGKILL')), SILENCE_MS).unref()
      return () => clearTimeout(late)
    },
  }
}

interface Piece {
  readonly task: Task
  resolve(done: Done<Result>): void
  reject(error: Error): void
}

interface Worker {
  readonly process: ChildProcess
  readonly manner: Manner
  /** Whether it can hash. */
  isReady(): boolean
  /** What it was given and has not done. */
  readonly pieces: ReadonlyMap<number, Piece>
  give(piece: Piece): void
  refuseAll(): void
  end(): Promise<void>
}

function startWorker(width: number, manner: Manner, over: (worker: Worker, why: object) => void): Worker {
  const pieces = new Map<number, Piece>()
  const child = fork(PROGRAM, [], {
    execArgv: ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1', '--v8-pool-size=1'],
    env: { UV_THREADPOOL_SIZE: String(width), MALLOC_ARENA_MAX: '1' },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  let isReady = false
  // What cannot be sent is told when the process ends, which is why.
  const tell = (message: Manner | Task) => child.connected && child.send(message, () => {})
  tell(manner)
  child.on('message', ({ id = 0, result, ms = 0, error }: Answer) => {
    isReady = true
    const piece = pieces.get(id)
    pieces.delete(id)
    if (result !== undefined) piece?.resolve({ result, ms })
    else piece?.reject(new Error(error))
  })
  child.on('error', (err) => over(worker, { err }))
  child.on('exit', (code, signal) => over(worker, { code, signal }))
  const worker: Worker = {
    process: child,
    manner,
    pieces,
    isReady: () => isReady,
    give(piece) {
      pieces.set(piece.task.id, piece)
      tell(piece.task)
    },
    refuseAll() {
      for (const { reject } of pieces.values()) reject(unavailable())
      pieces.clear()
    },
    async end() {
      if (!child.connected) return
      // One that hangs does not hear of it.
      const late = setTimeout(() => child.kill('SIGKILL'), GOODBYE_MS)
      child.disconnect()
      await once(child, 'exit')
      clearTimeout(late)
    },
  }
  return worker
}

function unavailable(): AppError {
  return new AppError('temporarily_unavailable', { retryAfter: 1 })
}
