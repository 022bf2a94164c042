/** `--profile`: where the CPU of the five hottest flows goes, by the owner of the code. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { closedLoop, targetOf } from './measure.ts'
import type { Context } from './part.ts'
import { busyOf, type CpuProfile, GROUPS, type Share, sharesOf } from './profile_shares.ts'
import { table } from './report.ts'
import { CREDENTIALS_JWT, INTROSPECTION, LOGIN, REFRESH, type Scenario, SSO } from './scenarios.ts'
import { CHEAP_HASH } from './stores.ts'
import { type Genkan, startGenkan } from './subjects.ts'

const HOTTEST: readonly Scenario[] = [CREDENTIALS_JWT, REFRESH, INTROSPECTION, SSO, LOGIN]
const LANES = 4
const TOP = 12

interface Window {
  readonly name: string
  readonly from: number
  readonly to: number
}

/** One server runs all flows, one after the other; its profile is cut by time. */
export async function profileFlows({ quick }: Context): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-bench-profile-'))
  const nodeFlags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=400']
  try {
    const genkan = await startGenkan({ accounts: 4000, hash: CHEAP_HASH, nodeFlags })
    const windows: Window[] = []
    try {
      for (const scenario of HOTTEST) windows.push(await load(genkan, scenario, quick))
    } finally {
      // The profile is written when the process ends.
      await genkan.stop()
    }
    const profile = readProfile(folder)
    return tell(windows.map(({ name, from, to }) => ({ name, shares: sharesOf(profile, from, to) })))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** V8 takes its times from the same monotonic clock. */
const microseconds = () => Number(process.hrtime.bigint() / 1000n)

async function load(genkan: Genkan, scenario: Scenario, quick: boolean): Promise<Window> {
  const target = targetOf(genkan, LANES)
  try {
    const flow = await scenario.prepare(target, LANES)
    await closedLoop(flow, LANES, { milliseconds: quick ? 500 : 4000, most: 1500 })
    const from = microseconds()
    await closedLoop(flow, LANES, { milliseconds: quick ? 1000 : 8000, most: 20_000 })
    return { name: scenario.name, from, to: microseconds() }
  } finally {
    target.close()
  }
}

/** That of a main thread (workers have profiles of their own), of the busiest process when there are several. */
function readProfile(folder: string): CpuProfile {
  const mains = readdirSync(folder).filter((file) => /\.\d+\.0\.\d+\.cpuprofile$/.test(file))
  const profiles = mains.map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile)
  const [busiest] = profiles.sort((a, b) => busyOf(b) - busyOf(a))
  if (busiest === undefined) throw new Error('the server left no profile')
  return busiest
}

interface Profiled {
  readonly name: string
  readonly shares: { readonly groups: ReadonlyMap<string, number>; readonly functions: readonly Share[] }
}

const percent = (share: number) => `${(share * 100).toFixed(1)} %`

function tell(flows: readonly Profiled[]): string {
  const summary = table({
    columns: [{ title: 'self time in' }, ...flows.map(({ name }) => ({ title: name }))],
    rows: GROUPS.map((group) => [group, ...flows.map(({ shares }) => percent(shares.groups.get(group) ?? 0))]),
  })
  const tops = flows.map(({ name, shares }) => {
    const rows = shares.functions.slice(0, TOP).map(({ share, group, name, at }) => [percent(share), group, name, at])
    const columns = ['self', 'of', 'function', 'at'].map((title) => ({ title }))
    return `### ${name}\n\n${table({ columns, rows })}`
  })
  return [
    summary,
    'Of the main thread while it was busy. Hashing runs on the thread pool and is not in it; logins hash as cheaply as the product accepts.',
    ...tops,
  ].join('\n\n')
}
