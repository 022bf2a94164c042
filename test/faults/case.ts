/** What a row of the fault table is: data, what breaks, what heals, and what must hold beyond the invariants. */
import type { Journal } from './journal.ts'
import type { World, WorldOptions } from './world.ts'

export type Mode = 'idle' | 'load'

export interface Stage {
  readonly world: World
  readonly journal: Journal
  readonly mode: Mode
  /** Durations and counts as the row says; otherwise the shortest that still cross every limit of the product. */
  readonly deep: boolean
  /** One of each kind is enough: `npm test`. */
  readonly quick: boolean
  /** From the seed of the run. */
  random(): number
  /** Notes a failure and goes on. */
  check(ok: boolean, otherwise: string): void
  /** Milliseconds: of the row, or short. */
  lasting(row: number, short: number): number
  /** Called at the end, whatever happened. */
  later(undo: () => Promise<unknown>): void
}

export interface Case {
  readonly id: string
  readonly title: string
  /** Runs in `npm test` too. */
  readonly quick?: true
  /** A world of its own, which is thrown away; else the one that most rows share. */
  readonly world?: WorldOptions
  /** Redis loses what it holds: people sign in again at most. */
  readonly forgets?: true
  /** A process dies or a connection is cut: answers of that moment are lost. */
  readonly cuts?: true
  /** `/readyz` must say 503 meanwhile. */
  readonly unready?: true
  /** A mail may come twice, under the same id: the process died between its sending and its note of it. */
  readonly repeats?: true
  /** Nothing is taken away: what the load asks for must be done. */
  readonly harmless?: true
  inject(stage: Stage): Promise<void>
  during?(stage: Stage): Promise<void>
  heal(stage: Stage): Promise<void>
  /** Healed and ready again. */
  after?(stage: Stage): Promise<void>
}
