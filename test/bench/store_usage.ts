/** What the stores spend on flows: CPU and bytes by /proc, writes by their own statistics. */
import type { Redis } from 'ioredis'
import type { Client } from 'pg'
import { cpuMicroseconds, writtenBytes } from './processes.ts'
import { withStores } from './stores.ts'
import type { Genkan } from './subjects.ts'

/** All for one flow; undefined where the stores are not on this machine. */
export interface Used {
  readonly serverCpu: number
  readonly redisCpu: number | undefined
  readonly postgresCpu: number | undefined
  readonly redisBytes: number
  readonly postgresBytes: number
  /** Whether the bytes are the kernel's, or the stores' own count. */
  readonly fromKernel: boolean
  readonly redisWrites: number
  readonly postgresWrites: number
  /** Bytes that Redis keeps more. */
  readonly redisKept: number
}

type Reading = { readonly [Name in keyof Omit<Used, 'fromKernel'>]: number | undefined } & {
  readonly redisDisk: number | undefined
  readonly postgresDisk: number | undefined
}

/** Runs `work`, which says how many flows it did. */
export async function usageOf(genkan: Genkan, work: () => Promise<number>): Promise<Used> {
  return withStores(genkan.stores, async (sql, redis) => {
    const before = await read(genkan, sql, redis)
    const flows = await work()
    const after = await read(genkan, sql, redis)
    const per = (name: keyof Reading) => {
      const [from, to] = [before[name], after[name]]
      return from === undefined || to === undefined ? undefined : (to - from) / flows
    }
    const disk = { redis: per('redisDisk'), postgres: per('postgresDisk') }
    const fromKernel = (disk.redis ?? 0) > 0 && (disk.postgres ?? 0) > 0
    return {
      serverCpu: per('serverCpu') ?? Number.NaN,
      redisCpu: per('redisCpu'),
      postgresCpu: per('postgresCpu'),
      redisBytes: (fromKernel ? disk.redis : per('redisBytes')) ?? Number.NaN,
      postgresBytes: (fromKernel ? disk.postgres : per('postgresBytes')) ?? Number.NaN,
      fromKernel,
      redisWrites: per('redisWrites') ?? Number.NaN,
      postgresWrites: per('postgresWrites') ?? Number.NaN,
      redisKept: per('redisKept') ?? Number.NaN,
    }
  })
}

async function read({ pid, storePids }: Genkan, sql: Client, redis: Redis): Promise<Reading> {
  const [postgresPid, redisPid] = storePids
  const of = <T>(pid: number | undefined, ask: (pid: number) => T) => (pid === undefined ? undefined : ask(pid))
  const info = await redis.info('everything')
  const figure = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1])
  const { rows } = await sql.query<{ bytes: string; commits: string }>(`
    select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as bytes,
      (select xact_commit from pg_stat_database where datname = current_database()) as commits`)
  return {
    serverCpu: cpuMicroseconds(pid),
    redisCpu: of(redisPid, cpuMicroseconds),
    postgresCpu: of(postgresPid, cpuMicroseconds),
    redisDisk: of(redisPid, writtenBytes),
    postgresDisk: of(postgresPid, writtenBytes),
    redisBytes: figure('aof_current_size'),
    postgresBytes: Number(rows[0]?.bytes),
    redisWrites: writesOf(info),
    postgresWrites: Number(rows[0]?.commits),
    redisKept: figure('used_memory'),
  }
}

/** Commands that change something. Scripts are counted: most of ours do. */
const WRITES = ['set', 'del', 'unlink', 'expire', 'incr', 'incrby', 'hset', 'zadd', 'sadd', 'eval', 'evalsha', 'getdel']

function writesOf(info: string): number {
  return WRITES.reduce((total, name) => {
    const calls = new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(info)?.[1]
    return total + Number(calls ?? 0)
  }, 0)
}
