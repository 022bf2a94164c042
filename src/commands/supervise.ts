/**
 * Several server processes on one port: started, watched, replaced when they die, block, or shall read new settings, and
 * drained together. A worker is replaced by one that is ready, so nobody is refused meanwhile.
 */
import cluster, { type Worker } from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Supervision {
  readonly workers: number
  /** Command-line arguments of the worker in this place, from 1; with `late` it opens its ports when it is ready. */
  readonly args: (place: number, late: boolean) => readonly string[]
  /** Reads the settings as a worker would; throws what is wrong with them. */
  readonly check: () => void
  /** How long a worker may be silent before it is taken for blocked. */
  readonly blockedMs: number
  readonly report: (level: 'info' | 'warn' | 'error', message: string, fields?: object) => void
}

/** Why a worker drains: all of it stops, at once at a terminal, or another worker has taken its place. */
type Order = 'stopped' | 'interrupted' | 'replaced'

interface Hand {
  readonly place: number
  readonly worker: Worker
  readonly bornAt: number
  /** When it last said that it lives; undefined until it is ready. */
  beatAt: number | undefined
  /** A second order means "at once" to it. */
  told: boolean
  /** Whether it became ready, or ended before. */
  readonly ready: Promise<boolean>
  readonly ended: Promise<void>
}

/** A place among the workers: who has it, and how often in a row they ended soon. */
interface Place {
  hand: Hand
  shortLives: number
}

/** What all parts of one supervision share. */
interface Crew {
  readonly options: Supervision
  readonly places: Map<number, Place>
  /** Every process that lives, those that drain included. */
  readonly hands: Set<Hand>
  order: Order | undefined
  everReady: boolean
  exitCode: number
  done: () => void
}

const BEAT = 'beat'
const BEAT_MS = 500
const WATCH_MS = 500
/** A newcomer that is not ready by then does not take its place over: the stores may be away. */
const READY_MS = 60_000
/** Whoever lived so long does not belong to a loop of crashes. */
const LONG_LIFE_MS = 60_000
const BACK_OFF_MS = 500
const LONGEST_BACK_OFF_MS = 30_000
/** Ends before the first worker was ever ready: the settings or the schema are at fault, and whoever started us is told. */
const HOPELESS = 5

/** Runs in the first process. Resolves with the exit code when all workers have ended. */
export async function supervise(options: Supervision): Promise<number> {
  const crew: Crew = {
    options,
    places: new Map(),
    hands: new Set(),
    order: undefined,
    everReady: false,
    exitCode: 0,
    done: () => {},
  }
  const over = new Promise<void>((resolve) => {
    crew.done = resolve
  })
  for (let place = 1; place <= options.workers; place++) {
    crew.places.set(place, { hand: hire(crew, place), shortLives: 0 })
  }
  process.on('SIGTERM', () => stop(crew, 'stopped'))
  process.on('SIGINT', () => stop(crew, 'interrupted'))
  const reload = oneAtATime(() => replaceAll(crew))
  onHangup(
    () => stop(crew, 'interrupted'),
    () => void reload(),
  )
  const watch = watchBeats(crew)
  await over
  clearInterval(watch)
  return crew.exitCode
}

/** In a worker: drains when the first process says so. Signals of the terminal are its business, not ours. */
export function obey(drain: (order: Order) => void): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  process.on('message', (message) => {
    if (message === 'stopped' || message === 'interrupted' || message === 'replaced') drain(message)
  })
}

/** In a worker that is ready: says again and again that its event loop turns. */
export function beat(): void {
  const say = () => {
    if (process.connected) process.send?.(BEAT, undefined, undefined, () => {})
  }
  say()
  setInterval(say, BEAT_MS).unref()
}

/** SIGHUP: a terminal that closes ends what runs in it; a daemon is asked for its settings again. */
export function onHangup(end: () => void, reload: () => void): void {
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  process.on('SIGHUP', atTerminal ? end : reload)
}

function hire(crew: Crew, place: number): Hand {
  // While others serve, nobody shall meet one that is still starting; while nobody does, it says that it lives.
  const late = [...crew.hands].some(({ beatAt }) => beatAt !== undefined)
  cluster.setupPrimary({ args: [...crew.options.args(place, late)] })
  const worker = cluster.fork()
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  let isReady: (up: boolean) => void = () => {}
  const ready = new Promise<boolean>((resolve) => {
    isReady = resolve
  })
  const hand: Hand = { place, worker, bornAt: performance.now(), beatAt: undefined, told: false, ready, ended }
  crew.hands.add(hand)
  worker.on('message', (message) => {
    if (message !== BEAT) return
    hand.beatAt = performance.now()
    crew.everReady = true
    isReady(true)
  })
  worker.on('error', (error) => crew.options.report('warn', 'a worker cannot be told', { place, err: error }))
  worker.once('exit', (code, signal) => {
    crew.hands.delete(hand)
    isReady(false)
    afterEnd(crew, hand, signal ?? code)
  })
  return hand
}

function afterEnd(crew: Crew, hand: Hand, how: string | number): void {
  const { report } = crew.options
  if (crew.order !== undefined) {
    if (how !== 0) crew.exitCode = 1
    if (crew.hands.size === 0) crew.done()
    return
  }
  const place = crew.places.get(hand.place)
  // It had been replaced, or was not ready to replace another.
  if (place?.hand !== hand) {
    if (how !== 0) report('warn', `worker ${hand.place} ended (${how}) outside of its place`)
    return
  }
  report('warn', `worker ${hand.place} ended (${how})`)
  place.shortLives = performance.now() - hand.bornAt < LONG_LIFE_MS ? place.shortLives + 1 : 0
  if (!crew.everReady && place.shortLives >= HOPELESS) {
    report('error', 'workers do not come up')
    crew.exitCode = 1
    stop(crew, 'interrupted')
    return
  }
  setTimeout(() => {
    if (crew.order === undefined && place.hand === hand) place.hand = hire(crew, hand.place)
  }, backOff(place.shortLives))
}

/** Two ends are no loop; the next ones wait twice as long each time, and no two places at the same moment. */
function backOff(shortLives: number): number {
  if (shortLives <= 2) return 0
  const longest = Math.min(LONGEST_BACK_OFF_MS, BACK_OFF_MS * 2 ** (shortLives - 2))
  return longest * (0.5 + Math.random() / 2)
}

function stop(crew: Crew, order: Order): void {
  if (crew.order !== undefined) process.exit(1)
  crew.order = order
  if (crew.hands.size === 0) crew.done()
  for (const hand of crew.hands) tell(hand, order)
}

/** A message and not a signal: Ctrl-C reaches all processes of the terminal, and a second signal means "at once". */
function tell(hand: Hand, order: Order): void {
  if (!hand.told && hand.worker.isConnected()) hand.worker.send(order, () => {})
  hand.told = true
}

/** One place after the other: a new worker comes up with the new settings, then the old one drains and ends. */
async function replaceAll(crew: Crew): Promise<void> {
  const { report, check } = crew.options
  try {
    check()
  } catch (error) {
    report('error', 'the settings cannot be read; the workers go on with the old ones', { err: error })
    return
  }
  for (const [number, place] of crew.places) {
    if (crew.order !== undefined) return
    const hand = hire(crew, number)
    const up = await Promise.race([hand.ready, sleep(READY_MS, false, { ref: false })])
    if (crew.order !== undefined) return
    if (!up) {
      hand.worker.process.kill('SIGKILL')
      report('error', `the new worker ${number} does not come up; the old ones that are left go on`)
      return
    }
    const old = place.hand
    place.hand = hand
    place.shortLives = 0
    tell(old, 'replaced')
    if (crew.hands.has(old)) await old.ended
  }
  report('info', 'all workers were replaced')
}

/** Runs the work; asked again meanwhile, once more afterwards. */
function oneAtATime(work: () => Promise<void>): () => Promise<void> {
  let running = false
  let again = false
  return async () => {
    again = true
    if (running) return
    running = true
    while (again) {
      again = false
      await work()
    }
    running = false
  }
}

/** Kills workers whose event loop stands still: they hear neither messages nor signals. */
function watchBeats({ hands, options: { blockedMs, report } }: Crew): NodeJS.Timeout {
  let last = performance.now()
  return setInterval(() => {
    const now = performance.now()
    // We were asleep ourselves (a suspended machine, no CPU): what they said meanwhile has not been read.
    const slept = now - last > 2 * WATCH_MS
    last = now
    for (const hand of hands) {
      if (hand.beatAt === undefined) continue
      if (slept) hand.beatAt = now
      if (now - hand.beatAt < blockedMs) continue
      report('error', `worker ${hand.place} is blocked; it is killed`)
      hand.beatAt = undefined
      hand.worker.process.kill('SIGKILL')
    }
  }, WATCH_MS)
}
