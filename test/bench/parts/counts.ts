/** What one flow sends to the stores, exactly. */
import { BUDGETS } from '../budgets.ts'
import { type Counts, countFlow } from '../measure.ts'
import { atMost, type Cell, type Context, type Findings, type Gate, type Part } from '../part.ts'
import { LOGIN, LOGIN_CONSENT } from '../scenarios.ts'
import { CHEAP_HASH } from '../stores.ts'
import { startBare, startGenkan, withSubjects } from '../subjects.ts'
import { PLAIN } from './flows.ts'

/** The documents send nothing. */
const COUNTED = [...PLAIN.slice(2), LOGIN, LOGIN_CONSENT]

interface Counted {
  readonly name: string
  readonly bare: Counts
  readonly ours: Counts
}

export const COUNTS: Part = {
  name: 'counts',
  title: 'What one flow sends',
  what: 'Counted on the wire between the server and its stores; a script is one command, BEGIN and COMMIT do not count. The budgets are checked by `test/bench/budgets.test.ts`.',
  minutes: { full: 0.7, quick: 0.4 },
  run: async (context) => findingsOf(await count(context)),
}

export function count({ quick }: Context): Promise<Counted[]> {
  const starts = [
    () => startBare({ count: true }),
    () => startGenkan({ count: true, accounts: 200, hash: CHEAP_HASH }),
  ] as const
  return withSubjects(starts, async (bare, ours) => {
    const done: Counted[] = []
    for (const scenario of COUNTED) {
      const { name } = scenario
      const repeat = quick ? 5 : 9
      done.push({ name, bare: await countFlow(bare, scenario, repeat), ours: await countFlow(ours, scenario, repeat) })
    }
    return done
  })
}

function findingsOf(counts: readonly Counted[]): Findings {
  return {
    tables: [
      {
        columns: [
          ...[{ title: 'flow' }, { title: 'requests' }, { title: 'Redis bare' }, { title: 'Redis Genkan' }],
          ...[{ title: 'budget' }, { title: 'SQL Genkan' }, { title: 'budget' }, { title: '' }],
        ],
        rows: counts.map(cells),
      },
    ],
    gatesInTables: true,
    gates: counts.flatMap(gatesOf),
    plots: [],
    notes: [betterThanBudgeted(counts)].filter(Boolean),
  }
}

const budgetOf = (name: string) => BUDGETS.find(({ scenario }) => scenario.name === name)

function cells({ name, bare, ours }: Counted): Cell[] {
  const budget = budgetOf(name)
  const over =
    budget !== undefined && (ours.redis > budget.redis || ours.sql > budget.sql || ours.requests > budget.requests)
  return [
    ...[name, ours.requests, bare.redis, ours.redis, budget?.redis ?? null],
    ...[ours.sql, budget?.sql ?? null, over ? '**over budget**' : ''],
  ]
}

function gatesOf({ name, ours }: Counted): Gate[] {
  const budget = budgetOf(name)
  if (budget === undefined) return []
  return [
    atMost(`${name}: Redis`, ours.redis, budget.redis, 'count', 'commands'),
    atMost(`${name}: SQL`, ours.sql, budget.sql, 'count', 'statements'),
  ]
}

function betterThanBudgeted(counts: readonly Counted[]): string {
  const better = counts.flatMap(({ name, ours }) => {
    const budget = budgetOf(name)
    return budget !== undefined && ours.redis < budget.redis ? [`${name} (${ours.redis} of ${budget.redis})`] : []
  })
  return better.length === 0 ? '' : `Fewer Redis commands than budgeted: ${better.join(', ')}.`
}
