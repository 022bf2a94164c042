/** How problems of settings are put into words. */
import type { z } from 'zod'

/** A line for each problem; an unknown key with the nearest valid one. */
export function describe(error: z.ZodError, schema: z.ZodType): string[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.join('.')
    if (issue.code !== 'unrecognized_keys') return [`${path || '(root)'}: ${issue.message}`]
    const known = Object.keys(shapeAt(schema, issue.path))
    return issue.keys.map((key) => `${path ? `${path}.` : ''}${key}: unknown key${suggestion(key, known)}`)
  })
}

function shapeAt(schema: z.ZodType, path: readonly PropertyKey[]): Record<string, unknown> {
  let current: unknown = schema
  for (const part of path) current = inner(current, part)
  return shapeOf(current) ?? {}
}

function shapeOf(type: unknown): Record<string, unknown> | undefined {
  const def = (type as { def?: { shape?: Record<string, unknown>; innerType?: unknown } } | undefined)?.def
  return def?.shape ?? (def?.innerType === undefined ? undefined : shapeOf(def.innerType))
}

function inner(type: unknown, part: PropertyKey): unknown {
  if (typeof part === 'number') {
    const def = (type as { def?: { element?: unknown; innerType?: unknown } } | undefined)?.def
    return def?.element ?? (def?.innerType === undefined ? undefined : inner(def.innerType, part))
  }
  return shapeOf(type)?.[String(part)]
}

/** What is there more than once, named once. */
export function repeated(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))]
}

/** `, did you mean …?` when one of the known names is near. */
export function suggestion(key: string, known: readonly string[]): string {
  const best = known.map((name) => ({ name, cost: distance(key, name) })).sort((a, b) => a.cost - b.cost)[0]
  return best !== undefined && best.cost <= Math.max(2, key.length / 3) ? `, did you mean ${best.name}?` : ''
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replace))
    }
    row = next
  }
  return row[b.length] ?? 0
}
