/**
 * `npm run bench`: measures Genkan against the bare engine on real PostgreSQL and Redis and writes BENCHMARKS.md.
 * `--quick` takes a sample of everything and only prints; `--counts` only counts, and shows what exactly each flow sends.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { Redis } from 'ioredis'
import pg from 'pg'
import { startPostgres, startRedis, startServices } from '../support/services.ts'
import { type Counts, countFlow, type Load, memory } from './measure.ts'
import { hashExcludedRow, hashIncludedRow, type Machine, plainRow, type Result, toMarkdown } from './report.ts'
import { measureRounds, type Pair, type Plan } from './rounds.ts'
import * as scenarios from './scenarios.ts'
import { CHEAP_HASH, DEFAULT_HASH, startBare, startGenkan } from './subjects.ts'

const quick = process.argv.includes('--quick')
const root = new URL('../../', import.meta.url)

const plan: Plan = quick
  ? { rounds: 1, lanes: 4, load: load(400, 5000), warmUp: load(200, 1000), warmUpFlows: 1 }
  : { rounds: 3, lanes: 8, load: load(1800, 30_000), warmUp: load(1000, 10_000), warmUpFlows: 400 }

function load(milliseconds: number, most: number): Load {
  return { milliseconds, most }
}

const COUNTED = [
  scenarios.CREDENTIALS_OPAQUE,
  scenarios.CREDENTIALS_JWT,
  scenarios.CREDENTIALS_KEY,
  scenarios.REFRESH,
  scenarios.INTROSPECTION,
  scenarios.USERINFO,
  scenarios.SSO,
  scenarios.LOGIN,
  scenarios.LOGIN_CONSENT,
]

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
  const bare = await startBare({ count: true })
  const ours = await startGenkan({ count: true, accounts: 200, hash: CHEAP_HASH })
  const counts: { name: string; bare: Counts; ours: Counts }[] = []
  try {
    for (const scenario of COUNTED) {
      const repeat = quick ? 5 : 9
      counts.push({
        name: scenario.name,
        bare: await countFlow(bare, scenario, repeat),
        ours: await countFlow(ours, scenario, repeat),
      })
    }
  } finally {
    await Promise.all([bare.stop(), ours.stop()])
  }
  if (process.argv.includes('--counts')) {
    for (const { name, bare, ours } of counts) {
      say(`${name}: ${ours.requests} requests, Redis ${ours.redis} (bare ${bare.redis}), SQL ${ours.sql}`)
      for (const sent of ours.trace) say(`    ${sent}`)
    }
  }
  return counts
}

async function measure(): Promise<Omit<Result, 'counts' | 'machine'>> {
  const bare = await startBare()
  const ours = await startGenkan()
  const cheap = await startGenkan({ accounts: 6000, hash: CHEAP_HASH })
  try {
    const plain = [
      scenarios.DISCOVERY,
      scenarios.JWKS,
      scenarios.CREDENTIALS_OPAQUE,
      scenarios.CREDENTIALS_JWT,
      scenarios.CREDENTIALS_KEY,
      scenarios.REFRESH,
      scenarios.INTROSPECTION,
      scenarios.USERINFO,
      scenarios.SSO,
    ].map((scenario): Pair => ({ scenario, bare, ours }))
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
  } finally {
    await Promise.all([bare.stop(), ours.stop(), cheap.stop()])
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
    }
  } finally {
    redis.disconnect()
    await client.end()
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
