/** What a part of the measurement is and what it finds: every part has this shape, and every report is written from it. */

export interface Part {
  /** For `--only`. */
  readonly name: string
  readonly title: string
  /** One or two sentences: what is done, and how. */
  readonly what: string
  /** About how long it takes, in minutes. */
  readonly minutes: { readonly full: number; readonly quick: number }
  run(context: Context): Promise<Findings>
}

export interface Context {
  /** A sample of everything: shows that it works, measures little. */
  readonly quick: boolean
  /** Cores to reckon with. */
  readonly cores: number
  /** How flows of an open loop arrive. */
  readonly arrivals: 'constant' | 'poisson'
  say(line: string): void
}

export interface Findings {
  /** Why nothing was measured; the rest is empty then. */
  readonly skipped?: string | undefined
  readonly tables: readonly Table[]
  readonly gates: readonly Gate[]
  /** The tables say of each gate whether it holds: BENCHMARKS.md need not say it twice. */
  readonly gatesInTables?: boolean | undefined
  readonly plots: readonly Plot[]
  /** Sentences below the tables. */
  readonly notes: readonly string[]
}

export interface Column {
  readonly title: string
  /** Decimals of numbers; 0 when left out. */
  readonly digits?: number | undefined
}

export type Cell = string | number | null

export interface Table {
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly Cell[])[]
}

/**
 * One thing that must hold. Ratios and counts can fail a run (`--gate`); absolute figures are a matter of the machine and are
 * only told.
 */
export interface Gate {
  readonly what: string
  readonly kind: 'ratio' | 'count' | 'absolute'
  readonly value: number
  readonly comparison: 'at most' | 'at least'
  readonly limit: number
  readonly unit: string
  readonly ok: boolean
}

export interface Plot {
  readonly title: string
  readonly kind: 'lines' | 'bars'
  readonly x: string
  readonly y: string
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[]
  /** Names of the bars by their x, from 0. */
  readonly labels?: readonly string[] | undefined
}

const NOTHING: Findings = { tables: [], gates: [], plots: [], notes: [] }

export function skipped(why: string): Findings {
  return { ...NOTHING, skipped: why }
}

export function atMost(what: string, value: number, limit: number, kind: Gate['kind'] = 'ratio', unit = 'x'): Gate {
  return { what, kind, value, comparison: 'at most', limit, unit, ok: value <= limit }
}

export function atLeast(what: string, value: number, limit: number, kind: Gate['kind'] = 'ratio', unit = 'x'): Gate {
  return { what, kind, value, comparison: 'at least', limit, unit, ok: value >= limit }
}

/** Those that may fail a run: what could not be computed (NaN) does not hold. */
export function broken(gates: readonly Gate[]): Gate[] {
  return gates.filter(({ ok, kind }) => !ok && kind !== 'absolute')
}

export function formatCell(cell: Cell, { digits = 0 }: Column): string {
  if (typeof cell === 'string') return cell
  if (cell === null || !Number.isFinite(cell)) return ''
  return cell.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function formatGate({ what, value, comparison, limit, unit, ok, kind }: Gate): string {
  const number = (figure: number) => (Number.isInteger(figure) ? String(figure) : figure.toFixed(2))
  const held = ok ? 'held' : kind === 'absolute' ? 'missed here' : '**not held**'
  return `${what}: ${Number.isNaN(value) ? 'not measured' : number(value)}${unit === 'x' ? '' : ` ${unit}`}, ${comparison} ${number(limit)}${unit === 'x' ? '' : ` ${unit}`}: ${held}`
}
