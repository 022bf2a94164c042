/** Runs plans and says how each of their modules ended. */
import type { Plan } from './plans.ts'
import type { Result, Suite } from './suite.ts'

export interface Line {
  readonly plan: string
  readonly module: string
  readonly result: Result
}

/** What a certificate may have. */
const GOOD: readonly Result[] = ['PASSED', 'WARNING', 'REVIEW', 'SKIPPED']

/**
 * Runs the plans one after the other, each module once, and prints a line for each: plan, module, result. Of one that did
 * not pass, what its log calls a failure is printed below. @returns all lines
 */
export async function runPlans(suite: Suite, plans: readonly Plan[], print: (line: string) => void): Promise<Line[]> {
  const lines: Line[] = []
  for (const plan of plans) {
    const { id, modules } = await suite.create(plan)
    for (const module of modules) {
      const ended = await suite.run(id, module)
      const variant = Object.values(module.variant ?? {}).join(', ')
      const name = variant === '' ? module.testModule : `${module.testModule} (${variant})`
      lines.push({ plan: plan.id, module: name, result: ended.result })
      print(`${plan.id}  ${name}  ${ended.result}`)
      if (GOOD.includes(ended.result)) continue
      const failures = (await suite.log(ended.id)).filter(({ result }) => result === 'FAILURE')
      for (const { src = '', msg = '' } of failures) print(`    ${src}: ${msg}`)
    }
  }
  return lines
}

/** `results` by how many there are of each, and whether a certificate could be asked for. */
export function summary(lines: readonly Line[]): { text: string; good: boolean } {
  const counts = Map.groupBy(lines, ({ result }) => result)
  const text = [...counts].map(([result, { length }]) => `${length} ${result}`).join(', ')
  return { text, good: lines.length > 0 && lines.every(({ result }) => GOOD.includes(result)) }
}
