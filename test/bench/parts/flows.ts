/** Every flow against the bare engine, in interleaved rounds: server CPU and its ratio, latencies, memory. */
import { atLeast, type Context, type Findings, type Part } from '../part.ts'
import { memory } from '../processes.ts'
import { type Measured, measureRounds, type Pair, type Plan, type Side, warmUp } from '../rounds.ts'
import * as scenarios from '../scenarios.ts'
import { CHEAP_HASH, DEFAULT_HASH } from '../stores.ts'
import { type Subject, startBare, startGenkan, withSubjects } from '../subjects.ts'

export const PLAIN = [
  scenarios.DISCOVERY,
  scenarios.JWKS,
  scenarios.CREDENTIALS_OPAQUE,
  scenarios.CREDENTIALS_JWT,
  scenarios.CREDENTIALS_KEY,
  scenarios.REFRESH,
  scenarios.INTROSPECTION,
  scenarios.USERINFO,
  scenarios.SSO,
]

export const FLOWS: Part = {
  name: 'flows',
  title: 'Server CPU per flow',
  what: 'Each flow on the bare engine and on Genkan in turn, in a closed loop. A ratio above 1 means that Genkan needs less than bare. What the server does in the background meanwhile (sealing the ledger, deliveries, clean-up) counts as part of the flows.',
  minutes: { full: 4, quick: 0.7 },
  run: (context) => {
    const starts = [
      () => startBare(),
      () => startGenkan(),
      () => startGenkan({ accounts: 6000, hash: CHEAP_HASH }),
    ] as const
    return withSubjects(starts, (bare, ours, cheap) => measure(context, bare, ours, cheap))
  },
}

function planOf(quick: boolean): Plan {
  const load = (milliseconds: number, most: number) => ({ milliseconds, most })
  return quick
    ? { rounds: 1, lanes: 4, load: load(400, 5000), warmUp: load(200, 1000), warmUpFlows: 1 }
    : { rounds: 3, lanes: 8, load: load(1800, 30_000), warmUp: load(1000, 10_000), warmUpFlows: 1000 }
}

async function measure({ quick, say }: Context, bare: Subject, ours: Subject, cheap: Subject): Promise<Findings> {
  const plan = planOf(quick)
  await warmUp(cheap, PLAIN, plan)
  const plain = PLAIN.map((scenario): Pair => ({ scenario, base: bare, ours }))
  const logins: Pair[] = [
    { scenario: scenarios.LOGIN, base: bare, ours: cheap, hash: CHEAP_HASH },
    { scenario: scenarios.LOGIN, base: bare, ours, hash: DEFAULT_HASH },
  ]
  const measured = await measureRounds([...plain, ...logins], plan, say)
  const [hashExcluded, hashIncluded] = measured.slice(-2)
  if (hashExcluded === undefined || hashIncluded === undefined) throw new Error('nothing was measured')
  const rows = [...measured.slice(0, -2).map(plainRow), hashExcludedRow(hashExcluded), hashIncludedRow(hashIncluded)]
  const { rounds, load, lanes } = plan
  return {
    ...findingsOf(rows, hashIncluded.hash, [bare, ours]),
    notes: [
      `${rounds} interleaved rounds of ${load.milliseconds / 1000} s for each flow and side, ${lanes} at a time.`,
      `One argon2id hash (m=19456, t=2, p=1) costs ${Math.round(hashIncluded.hash)} µs by itself. "Hash excluded" is measured with the cheapest parameters that the product accepts, and the cost of that hash is taken off. The login with argon2id is compared with one hash plus the bare flow; it may cost 1.25 times that (ratio 0.80).`,
    ],
  }
}

interface Row {
  readonly name: string
  readonly bare: Side
  readonly ours: Side
  /** What the ratio is taken of: hashing is left out of one row and added to the bare side of another. */
  readonly bareCpu: number
  readonly ourCpu: number
  readonly floor: number | undefined
  readonly goal: number | undefined
}

/** A scenario without hashing. */
function plainRow({ scenario, base: bare, ours }: Measured): Row {
  const { name, floor, goal } = scenario
  return { name, bare, ours, bareCpu: bare.cpu, ourCpu: ours.cpu, floor, goal }
}

/** A login with the cost of its hash taken off. */
function hashExcludedRow({ scenario, base: bare, ours, hash }: Measured): Row {
  const { floor, goal } = scenario
  const name = `${scenario.name}, hash excluded`
  return { name, bare, ours, bareCpu: bare.cpu, ourCpu: ours.cpu - hash, floor, goal }
}

/** A login as it is, against one hash plus the bare flow: at most 1.25 times that. */
function hashIncludedRow({ base: bare, ours, hash }: Measured): Row {
  const name = 'login with argon2id m=19456,t=2,p=1'
  return { name, bare, ours, bareCpu: bare.cpu + hash, ourCpu: ours.cpu, floor: 0.8, goal: 0.9 }
}

/** Table, gates and plot of the rows. */
function findingsOf(rows: readonly Row[], hash: number, subjects: readonly Subject[]): Findings {
  const ratio = ({ bareCpu, ourCpu }: Row) => bareCpu / ourCpu
  return {
    tables: [
      {
        columns: [
          ...[{ title: 'flow' }, { title: 'bare µs' }, { title: 'Genkan µs' }, { title: 'bare ÷ Genkan', digits: 2 }],
          ...[{ title: 'floor', digits: 2 }, { title: 'goal', digits: 2 }, { title: '' }],
          ...[
            { title: 'bare p50 ms', digits: 1 },
            { title: 'p99', digits: 1 },
          ],
          ...[{ title: 'Genkan p50 ms', digits: 1 }, { title: 'p99', digits: 1 }, { title: 'per core and second' }],
        ],
        rows: rows.map((row) => [
          ...[row.name, row.bareCpu, row.ourCpu, ratio(row), row.floor ?? null, row.goal ?? null],
          verdict(ratio(row), row.floor, row.goal),
          ...[row.bare.p50, row.bare.p99, row.ours.p50, row.ours.p99, 1_000_000 / row.ourCpu],
        ]),
      },
      {
        columns: [{ title: 'process' }, { title: 'resident MB after the load' }, { title: 'peak MB' }],
        rows: subjects.map((subject) => {
          const { now, peak } = memory(subject.pid)
          return [subject.name, now, peak]
        }),
      },
    ],
    gatesInTables: true,
    gates: rows.flatMap((row) => (row.floor === undefined ? [] : [atLeast(row.name, ratio(row), row.floor)])),
    plots: [
      {
        ...{ title: 'Bare ÷ Genkan: above 1 Genkan needs less', kind: 'bars', x: '', y: 'ratio' },
        series: [{ name: 'bare ÷ Genkan', points: rows.map((row, index) => [index, ratio(row)] as const) }],
        labels: rows.map(({ name }) => name),
      },
      {
        ...{ title: `Server CPU (a hash by itself: ${Math.round(hash)} µs)`, kind: 'bars', x: '', y: 'µs' },
        series: [
          { name: 'bare', points: rows.map(({ bareCpu }, index) => [index, bareCpu] as const) },
          { name: 'Genkan', points: rows.map(({ ourCpu }, index) => [index, ourCpu] as const) },
        ],
        labels: rows.map(({ name }) => name),
      },
    ],
    notes: [],
  }
}

function verdict(ratio: number, floor = 0, goal = 0): string {
  if (ratio >= goal) return 'goal reached'
  return ratio >= floor ? 'above the floor' : '**below the floor**'
}
