/** The same flows on few and on many rows: what does a hundred times the data cost? */
import pg from 'pg'
import type { Context, Findings, Part } from '../part.ts'
import { atLeast, atMost } from '../part.ts'
import { type Measured, measureRounds, type Pair, type Plan } from '../rounds.ts'
import { LOGIN, REFRESH, SSO, USERINFO } from '../scenarios.ts'
import { median } from '../statistics.ts'
import { CHEAP_HASH, type Stores } from '../stores.ts'
import { type Genkan, startGenkan, withSubjects } from '../subjects.ts'
import { addAccounts, addSessions } from './scale_rows.ts'

interface Size {
  readonly accounts: number
  readonly sessions: number
}

export const SCALE: Part = {
  name: 'scale',
  title: 'Data scale',
  what: 'Two servers, one with 10,000 accounts and 1,000 sessions, one with 1,000,000 and 100,000, measured in turn. Rows and keys are made in bulk from one real account and one real sign-in.',
  minutes: { full: 5, quick: 0.8 },
  run: (context) => {
    const { quick, say } = context
    const small: Size = quick ? { accounts: 1000, sessions: 100 } : { accounts: 10_000, sessions: 1000 }
    const large: Size = quick ? { accounts: 50_000, sessions: 3000 } : { accounts: 1_000_000, sessions: 100_000 }
    const own = quick ? 600 : 3000
    const start = () => startGenkan({ accounts: own, hash: CHEAP_HASH })
    return withSubjects([start, start], async (few, many) => {
      for (const [genkan, size] of [
        [few, small],
        [many, large],
      ] as const) {
        say(`  makes ${size.accounts} accounts and ${size.sessions} sessions`)
        await addAccounts(genkan.stores, size.accounts)
        await addSessions(genkan, size.sessions)
      }
      return measure(context, few, many, [small, large])
    })
  },
}

async function measure(
  context: Context,
  few: Genkan,
  many: Genkan,
  [small, large]: readonly [Size, Size],
): Promise<Findings> {
  const plan: Plan = context.quick
    ? { rounds: 1, lanes: 4, ...loads(400, 200), warmUpFlows: 1 }
    : { rounds: 3, lanes: 8, ...loads(1500, 1000), warmUpFlows: 500 }
  const lookups = await compareLookups(few.stores, many.stores, context.quick ? 300 : 3000)
  const pairs = [REFRESH, USERINFO, SSO, LOGIN].map((scenario): Pair => ({ scenario, base: few, ours: many }))
  const measured = await measureRounds(pairs, plan, context.say)
  const cost = (side: Measured['base']) => side.cpu + side.storeCpu
  return {
    tables: [
      {
        columns: [
          { title: 'flow' },
          { title: `CPU µs at ${small.accounts.toLocaleString('en')} accounts` },
          { title: `at ${large.accounts.toLocaleString('en')}` },
          { title: 'small ÷ large', digits: 2 },
          { title: 'p50 ms, small', digits: 1 },
          { title: 'large', digits: 1 },
        ],
        rows: measured.map(({ scenario, base, ours }) => [
          scenario.name,
          ...[cost(base), cost(ours), cost(base) / cost(ours), base.p50, ours.p50],
        ]),
      },
      {
        columns: [{ title: 'account by address, SQL' }, { title: 'median µs' }],
        rows: [
          [`${small.accounts.toLocaleString('en')} accounts`, lookups.few],
          [`${large.accounts.toLocaleString('en')} accounts`, lookups.many],
        ],
      },
    ],
    gates: [
      atMost('account lookup, large to small', lookups.many / lookups.few, 2),
      ...measured.map(({ scenario, base, ours }) =>
        atLeast(`${scenario.name}: what it costs with few rows to with many`, cost(base) / cost(ours), 0.9),
      ),
    ],
    plots: [],
    notes: ['CPU of server and stores together. Both servers use the same PostgreSQL and Redis.'],
  }
}

function loads(milliseconds: number, warmUp: number): Pick<Plan, 'load' | 'warmUp'> {
  return { load: { milliseconds, most: 30_000 }, warmUp: { milliseconds: warmUp, most: 10_000 } }
}

const LOOKUP = `
  select a.id, a.sealed_personal, p.hash from accounts a left join passwords p on p.account_id = a.id
  where a.email_hash = $1 and a.email_verified_at is not null`

/** The lookup of a sign-in, of random accounts, in both databases in turn; medians in µs. */
async function compareLookups(few: Stores, many: Stores, times: number): Promise<{ few: number; many: number }> {
  const sides = await Promise.all(
    [few, many].map(async ({ databaseUrl }) => {
      const sql = new pg.Client({ connectionString: databaseUrl })
      await sql.connect()
      const { rows } = await sql.query<{ email_hash: string }>(
        'select email_hash from accounts order by random() limit $1',
        [times],
      )
      return { sql, hashes: rows.map(({ email_hash }) => email_hash), taken: [] as number[] }
    }),
  )
  for (let i = 0; i < times; i++) {
    for (const { sql, hashes, taken } of sides) {
      const began = performance.now()
      await sql.query({ name: 'lookup', text: LOOKUP, values: [hashes[i % hashes.length]] })
      taken.push((performance.now() - began) * 1000)
    }
  }
  await Promise.all(sides.map(({ sql }) => sql.end()))
  const [first = 0, second = 0] = sides.map(({ taken }) => median(taken))
  return { few: first, many: second }
}
