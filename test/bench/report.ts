/** The result as Markdown: the same text goes to the terminal and to BENCHMARKS.md. */
import { BUDGETS } from './budgets.ts'
import type { Counts } from './measure.ts'
import type { Measured, Side } from './rounds.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly node: string
  readonly redis: string
  readonly postgres: string
  readonly engine: string
  /** Load average of the last minute before the run: what others did to this machine. */
  readonly loadBefore: number
}

export interface Row {
  readonly name: string
  readonly bare: Side
  readonly ours: Side
  /** What the ratio is taken of: hashing is left out of one row and added to the bare side of another. */
  readonly bareCpu: number
  readonly ourCpu: number
  readonly floor: number | undefined
  readonly goal: number | undefined
}

export interface Result {
  readonly machine: Machine
  readonly rows: readonly Row[]
  readonly counts: readonly { readonly name: string; readonly bare: Counts; readonly ours: Counts }[]
  readonly memory: readonly { readonly name: string; readonly now: number; readonly peak: number }[]
  readonly hash: number
  readonly rounds: string
}

/** A scenario without hashing. */
export function plainRow({ scenario, bare, ours }: Measured): Row {
  const { name, floor, goal } = scenario
  return { name, bare, ours, bareCpu: bare.cpu, ourCpu: ours.cpu, floor, goal }
}

/** A login with the cost of its hash taken off. */
export function hashExcludedRow({ scenario, bare, ours, hash }: Measured): Row {
  const { floor, goal } = scenario
  return {
    name: `${scenario.name}, hash excluded`,
    bare,
    ours,
    bareCpu: bare.cpu,
    ourCpu: ours.cpu - hash,
    floor,
    goal,
  }
}

/** A login as it is, against one hash plus the bare flow: at most 1.25 times that. */
export function hashIncludedRow({ bare, ours, hash }: Measured): Row {
  const name = 'login with argon2id m=19456,t=2,p=1'
  return { name, bare, ours, bareCpu: bare.cpu + hash, ourCpu: ours.cpu, floor: 0.8, goal: 0.9 }
}

export function toMarkdown(result: Result): string {
  const { machine } = result
  return `# Benchmarks

Made by \`npm run bench\`, which measures anew and writes this file. *Bare* is oidc-provider ${machine.engine} by itself with the Redis adapter that
its documentation shows, static clients, no pages and no passwords (\`test/bench/bare\`). *Genkan* is the whole product on PostgreSQL and
Redis: audit, limits, metrics. Same Node and flags, same algorithms, same clients, one process each. Bare keeps no accounts: where Genkan
asks or tells PostgreSQL (userinfo, sign-in), bare makes the answer up, so those ratios also show what that work costs.

Machine: ${machine.cpu}, ${machine.cores} cores; Node ${machine.node}, Redis ${machine.redis}, PostgreSQL ${machine.postgres}; load average before the run ${machine.loadBefore.toFixed(1)}. The load generator, both stores and the
server share these cores, so absolute times are noise; **server CPU per flow, the ratio within one run, and exact counts** are
what to look at.

## Server CPU per flow

${result.rounds} A ratio above 1 means that Genkan needs less than bare. What the
server does in the background meanwhile (sealing the ledger, deliveries, clean-up) counts as part of the flows.

${table(
  [
    'flow',
    'bare µs',
    'Genkan µs',
    'bare ÷ Genkan',
    'floor',
    'goal',
    '',
    'bare p50/p99 ms',
    'Genkan p50/p99 ms',
    'per core and second',
  ],
  result.rows.map(cpuCells),
)}

One argon2id hash (m=19456, t=2, p=1) costs ${Math.round(result.hash)} µs by itself. "Hash excluded" is measured with the cheapest parameters that the product
accepts, and the cost of that hash is taken off. The login with argon2id is compared with one hash plus the bare flow; it may cost
1.25 times that (ratio 0.80).

## What one flow sends

Counted on the wire between the server and its stores; a script is one command, BEGIN and COMMIT do not count. The budgets are
checked by \`test/bench/budgets.test.ts\`.

${table(
  ['flow', 'requests', 'Redis bare', 'Redis Genkan', 'budget', 'SQL Genkan', 'budget', ''],
  result.counts.map(countCells),
)}

${budgetSentence(result)}

## Memory

${table(
  ['process', 'resident MB after the load', 'peak MB'],
  result.memory.map(({ name, now, peak }) => [name, String(now), String(peak)]),
)}
`
}

function cpuCells({ name, bare, ours, bareCpu, ourCpu, floor, goal }: Row): string[] {
  const ratio = bareCpu / ourCpu
  const perCore = Math.round(1_000_000 / ourCpu)
  return [
    name,
    Math.round(bareCpu).toString(),
    Math.round(ourCpu).toString(),
    ratio.toFixed(2),
    floor?.toFixed(2) ?? '',
    goal?.toFixed(2) ?? '',
    verdict(ratio, floor, goal),
    `${bare.p50.toFixed(1)} / ${bare.p99.toFixed(1)}`,
    `${ours.p50.toFixed(1)} / ${ours.p99.toFixed(1)}`,
    perCore.toLocaleString('en'),
  ]
}

function verdict(ratio: number, floor = 0, goal = 0): string {
  if (ratio >= goal) return 'goal reached'
  return ratio >= floor ? 'above the floor' : '**below the floor**'
}

function countCells({ name, bare, ours }: Result['counts'][number]): string[] {
  const budget = BUDGETS.find(({ scenario }) => scenario.name === name)
  const over =
    budget !== undefined && (ours.redis > budget.redis || ours.sql > budget.sql || ours.requests > budget.requests)
  return [
    name,
    String(ours.requests),
    String(bare.redis),
    String(ours.redis),
    budget === undefined ? '' : String(budget.redis),
    String(ours.sql),
    budget === undefined ? '' : String(budget.sql),
    over ? '**over budget**' : '',
  ]
}

function budgetSentence({ counts }: Result): string {
  const better = counts.flatMap(({ name, ours }) => {
    const budget = BUDGETS.find(({ scenario }) => scenario.name === name)
    return budget !== undefined && ours.redis < budget.redis ? [`${name} (${ours.redis} of ${budget.redis})`] : []
  })
  return better.length === 0 ? '' : `Fewer Redis commands than budgeted: ${better.join(', ')}.`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}
