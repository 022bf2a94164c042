/**
 * `npm run bench`: measures Genkan against the bare engine on real PostgreSQL and Redis and writes BENCHMARKS.md.
 * `--quick` takes a sample of everything and only prints; `--counts` only counts, and shows what exactly each flow sends.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { Redis } from 'ioredis'
import pg from 'pg'
import { startPostgres, startRedis, startServices } from '../support/services.ts'
import { type Counts, countFlow, type Load, memory } from './measure.ts'
import { hashExcludedRow, hashIncludedRow, type Machine, plainRow, type Result, toMarkdown } from './report.ts'
import { measureRounds, type Pair, type Plan, warmUp } from './rounds.ts'
import * as scenarios from './scenarios.ts'
import { CHEAP_HASH, DEFAULT_HASH, type Subject, startBare, startGenkan } from './subjects.ts'

const quick = process.argv.includes('--quick')
const root = new URL('../../', import.meta.url)

const plan: Plan = quick
  ? { rounds: 1, lanes: 4, load: load(400, 5000), warmUp: load(200, 1000), warmUpFlows: 1 }
  : { rounds: 3, lanes: 8, load: load(1800, 30_000), warmUp: load(1000, 10_000), warmUpFlows: 1000 }

function load(milliseconds: number, most: number): Load {
  return { milliseconds, most }
}

const PLAIN = [
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
/** The documents send nothing. */
const COUNTED = [...PLAIN.slice(2), scenarios.LOGIN, scenarios.LOGIN_CONSENT]
const loadBefore = loadavg()[0] ?? 0
const services = await startServices()
try {
  const counts = await count()
  if (!process.argv.includes('--counts')) {
    const markdown = toMarkdown({ ...(await measure()), counts, machine: await machine() })
    say(markdown)
    if (!quick) writeFileSync(new URL('BENCHMARKS.md', root), markdown)
  }
} finally {
  await services.stop()
}
process.exit()

async function count(): Promise<Result['counts']> {
  const starts = [
    () => startBare({ count: true }),
    () => startGenkan({ count: true, accounts: 200, hash: CHEAP_HASH }),
  ] as const
  const counts = await withSubjects(starts, async (bare, ours) => {
    const done: { name: string; bare: Counts; ours: Counts }[] = []
    for (const scenario of COUNTED) {
      const { name } = scenario
      const repeat = quick ? 5 : 9
      done.push({ name, bare: await countFlow(bare, scenario, repeat), ours: await countFlow(ours, scenario, repeat) })
    }
    return done
  })
  if (!process.argv.includes('--counts')) return counts
  for (const { name, bare, ours } of counts) {
    say(`${name}: ${ours.requests} requests, Redis ${ours.redis} (bare ${bare.redis}), SQL ${ours.sql}`)
    for (const sent of ours.trace) say(`    ${sent}`)
  }
  return counts
}

function measure(): Promise<Omit<Result, 'counts' | 'machine'>> {
  const starts = [
    () => startBare(),
    () => startGenkan(),
    () => startGenkan({ accounts: 6000, hash: CHEAP_HASH }),
  ] as const
  return withSubjects(starts, async (bare, ours, cheap) => {
    await warmUp(cheap, PLAIN, plan)
    const plain = PLAIN.map((scenario): Pair => ({ scenario, bare, ours }))
    const logins: Pair[] = [
      { scenario: scenarios.LOGIN, bare, ours: cheap, hash: CHEAP_HASH },
      { scenario: scenarios.LOGIN, bare, ours, hash: DEFAULT_HASH },
    ]
    const measured = await measureRounds([...plain, ...logins], plan, say)
    const [hashExcluded, hashIncluded] = measured.slice(-2)
    if (hashExcluded === undefined || hashIncluded === undefined) throw new Error('nothing was measured')
    return {
      rows: [...measured.slice(0, -2).map(plainRow), hashExcludedRow(hashExcluded), hashIncludedRow(hashIncluded)],
      memory: [bare, ours].map((subject) => ({ name: subject.name, ...memory(subject.pid) })),
      hash: hashIncluded.hash,
      rounds: `${plan.rounds} interleaved rounds of ${plan.load.milliseconds / 1000} s for each flow and side, ${plan.lanes} at a time.`,
    }
  })
}

type Start = () => Promise<Subject>

/** Starts the subjects one after the other and stops whatever was started, also when a later one does not start. */
async function withSubjects<Starts extends readonly Start[], T>(
  starts: Starts,
  work: (...subjects: { [Index in keyof Starts]: Subject }) => Promise<T>,
): Promise<T> {
  const started: Subject[] = []
  try {
    for (const start of starts) started.push(await start())
    return await work(...(started as unknown as { [Index in keyof Starts]: Subject }))
  } finally {
    await Promise.all(started.map((subject) => subject.stop()))
  }
}

async function machine(): Promise<Machine> {
  const redis = new Redis((await startRedis()).url)
  const client = new pg.Client({ connectionString: (await startPostgres()).url })
  await client.connect()
  try {
    const engine = JSON.parse(readFileSync(new URL('node_modules/oidc-provider/package.json', root), 'utf8')) as {
      version: string
    }
    const { rows } = await client.query<{ server_version: string }>('show server_version')
    return {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      node: process.versions.node,
      redis: /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown',
      postgres: rows[0]?.server_version.split(' ')[0] ?? 'unknown',
      engine: engine.version,
      loadBefore,
    }
  } finally {
    redis.disconnect()
    await client.end()
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
