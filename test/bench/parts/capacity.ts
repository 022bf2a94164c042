/** What to buy: CPU, memory and disk for so many logins and token requests a second, of server and stores. */

import { TOKENS } from '../ground.ts'
import { prepare } from '../measure.ts'
import type { Column, Context, Findings, Part } from '../part.ts'
import { memory } from '../processes.ts'
import { LOGIN, type Scenario } from '../scenarios.ts'
import { type Used, usageOf } from '../store_usage.ts'
import { type Genkan, startGenkan } from '../subjects.ts'

interface Kind {
  readonly name: string
  readonly scenarios: readonly Scenario[]
  /** The table is for so many a second. */
  readonly perSecond: number
}

const KINDS: readonly Kind[] = [
  { name: 'password logins', scenarios: [LOGIN], perSecond: 100 },
  { name: 'token requests (refresh and client_credentials in turn)', scenarios: TOKENS, perSecond: 1000 },
]

export const CAPACITY: Part = {
  name: 'capacity',
  title: 'Capacity',
  what: 'Server, Redis and PostgreSQL measured together while one kind of flow runs in a closed loop: CPU, bytes and writes of each, taken to a rate. Logins hash with the default argon2id.',
  minutes: { full: 1.5, quick: 0.4 },
  run: async (context) => {
    const genkan = await startGenkan({ accounts: context.quick ? 500 : 3000 })
    try {
      const used: { kind: Kind; used: Used; megabytes: number }[] = []
      for (const kind of KINDS) {
        const measured = await measure(context, genkan, kind)
        used.push({ kind, used: measured, megabytes: memory(genkan.pid).now })
      }
      return tell(used)
    } finally {
      await genkan.stop()
    }
  },
}

async function measure({ quick }: Context, genkan: Genkan, { scenarios }: Kind): Promise<Used> {
  const ready = await Promise.all(scenarios.map((scenario) => prepare(genkan, scenario, 4)))
  const load = (milliseconds: number) => ({ milliseconds, most: 20_000 })
  const runAll = async (milliseconds: number) => {
    const samples = await Promise.all(ready.map((one) => one.run(load(milliseconds))))
    return samples.reduce((total, { flows }) => total + flows, 0)
  }
  try {
    await runAll(quick ? 500 : 5000)
    return await usageOf(genkan, () => runAll(quick ? 1500 : 15_000))
  } finally {
    for (const one of ready) one.close()
  }
}

const COLUMNS: readonly Column[] = [
  { title: 'for' },
  { title: 'vCPU server', digits: 2 },
  { title: 'vCPU Redis', digits: 2 },
  { title: 'vCPU PostgreSQL', digits: 2 },
  { title: 'vCPU in all', digits: 2 },
  { title: 'MB server' },
  { title: 'MB/s to disk, Redis', digits: 2 },
  { title: 'MB/s to disk, PostgreSQL', digits: 2 },
  { title: 'IOPS Redis' },
  { title: 'IOPS PostgreSQL' },
  { title: 'MB of Redis for 100,000', digits: 0 },
]

const MEGABYTE = 1024 ** 2

function tell(all: readonly { kind: Kind; used: Used; megabytes: number }[]): Findings {
  const first = all[0]?.used
  return {
    tables: [
      {
        columns: COLUMNS,
        rows: all.map(({ kind: { name, perSecond }, used, megabytes }) => {
          const rate = (perFlow: number | undefined, unit = 1) =>
            perFlow === undefined ? null : (perFlow * perSecond) / unit
          const cpu = [used.serverCpu, used.redisCpu, used.postgresCpu].map((each) => rate(each, 1_000_000))
          const server = (used.serverCpu * perSecond) / 1_000_000
          return [
            `${perSecond.toLocaleString('en')} ${name} a second`,
            ...[...cpu, rate(used.serverCpu + (used.redisCpu ?? 0) + (used.postgresCpu ?? 0), 1_000_000)],
            ...[Math.max(1, Math.ceil(server)) * megabytes],
            ...[rate(used.redisBytes, MEGABYTE), rate(used.postgresBytes, MEGABYTE)],
            ...[rate(used.redisWrites), rate(used.postgresWrites)],
            ...[(used.redisKept * 100_000) / MEGABYTE],
          ]
        }),
      },
    ],
    gates: [],
    plots: [],
    notes: [
      'MB of the server are one process for each vCPU, as big as it was under this load. IOPS of PostgreSQL are its commits, which is the most that it writes of its log (who only reads writes nothing, and who commits together writes once), those of Redis the commands that write, which is the most that `appendfsync always` asks for; `everysec` asks for one.',
      `Bytes to disk are ${first?.fromKernel ? 'what the kernel counted for the processes (/proc/PID/io)' : 'the growth of the write-ahead log and of the append-only file'}. Size for half of the CPU in use.`,
    ],
  }
}
