/** The result of a run as one object, which the JSON file, the HTML report and BENCHMARKS.md are written from. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import type { Machine } from './machine.ts'
import type { Findings } from './part.ts'

export interface PartResult {
  readonly name: string
  readonly title: string
  readonly what: string
  readonly quick: boolean
  /** ISO 8601. */
  readonly measuredAt: string
  readonly tookSeconds: number
  /** Load average before it. */
  readonly loadBefore: number
  readonly machine: Machine
  readonly findings: Findings
}

export interface Result {
  readonly format: 1
  readonly parts: readonly PartResult[]
}

/** New parts take the place of earlier ones of the same name; the order is that of `names`. */
export function merge(earlier: Result, parts: readonly PartResult[], names: readonly string[]): Result {
  const all = new Map([...earlier.parts, ...parts].map((part) => [part.name, part]))
  return { format: 1, parts: names.flatMap((name) => all.get(name) ?? []) }
}

/** What is no number is null in JSON. */
const number = z.union([z.number(), z.null().transform(() => Number.NaN)])
const point = z.tuple([z.number(), number])
const findings = z.object({
  skipped: z.string().optional(),
  tables: z.array(
    z.object({
      columns: z.array(z.object({ title: z.string(), digits: z.int().optional() })),
      rows: z.array(z.array(z.union([z.string(), z.number(), z.null()]))),
    }),
  ),
  gates: z.array(
    z.object({
      what: z.string(),
      kind: z.enum(['ratio', 'count', 'absolute']),
      value: number,
      comparison: z.enum(['at most', 'at least']),
      limit: z.number(),
      unit: z.string(),
      ok: z.boolean(),
    }),
  ),
  plots: z.array(
    z.object({
      title: z.string(),
      kind: z.enum(['lines', 'bars']),
      x: z.string(),
      y: z.string(),
      series: z.array(z.object({ name: z.string(), points: z.array(point) })),
      labels: z.array(z.string()).optional(),
    }),
  ),
  gatesInTables: z.boolean().optional(),
  notes: z.array(z.string()),
})
const machine = z.object({
  ...{ cpu: z.string(), cores: z.int(), memoryGb: z.int(), node: z.string() },
  ...{ redis: z.string(), postgres: z.string(), engine: z.string() },
})
const result = z.object({
  format: z.literal(1),
  parts: z.array(
    z.object({
      ...{ name: z.string(), title: z.string(), what: z.string(), quick: z.boolean(), measuredAt: z.iso.datetime() },
      ...{ tookSeconds: z.number(), loadBefore: z.number(), machine, findings },
    }),
  ),
})

/** @throws Error when it is no result of this format */
export function parseResult(text: string): Result {
  return result.parse(JSON.parse(text))
}

/** Nothing earlier, or nothing of this format, is an empty result. */
export function readResult(path: string): Result {
  try {
    if (existsSync(path)) return parseResult(readFileSync(path, 'utf8'))
  } catch {}
  return { format: 1, parts: [] }
}

export function writeFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}
