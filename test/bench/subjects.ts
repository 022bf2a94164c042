/** What is measured: the bare provider and Genkan, each as a process with stores of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import argon2 from 'argon2'
import { openDatabase } from '../../src/platform/postgres.ts'
import { accountColumns, databaseKeys } from '../support/personal_columns.ts'
import { entrust, freePort, freshDatabaseUrl, startRedis } from '../support/services.ts'
import { setup } from './clients.ts'
import { PASSWORD } from './flows.ts'
import { postgresReader, type Relay, redisReader, startRelay } from './wire.ts'

export interface Subject {
  readonly name: string
  readonly issuer: string
  readonly pid: number
  /** E-mail address of an account that exists and was not used before. */
  nextAccount(): string
  /** Commands and statements sent since the last call; empty unless started with `count`. */
  taken(): { readonly redis: readonly string[]; readonly sql: readonly string[] }
  stop(): Promise<void>
}

export interface HashParameters {
  readonly memoryKib: number
  readonly passes: number
}
/** The product's default, and the cheapest that it accepts. */
export const DEFAULT_HASH: HashParameters = { memoryKib: 19_456, passes: 2 }
export const CHEAP_HASH: HashParameters = { memoryKib: 7168, passes: 1 }

/** As the image starts its server (Dockerfile), and the bare one the same. */
const FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=16']

const START_MS = 30_000
const STOP_MS = 15_000
const root = new URL('../../', import.meta.url).pathname

/** Starts the bare provider; with `count` its Redis is behind a relay. */
export async function startBare({ count = false } = {}): Promise<Subject> {
  const redis = await behindRelay((await startRedis()).url, count, redisReader)
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const env = { ISSUER: issuer, PORT: String(port), REDIS_URL: redis.url, BENCH_SETUP: JSON.stringify(setup) }
  const started = await startProcess('bare', ['test/bench/bare/server.ts'], env, `${issuer}/jwks`)
  let last = 0
  return {
    name: 'bare',
    issuer,
    pid: started.pid,
    nextAccount: () => `person${++last}@bench.example`,
    taken: () => ({ redis: redis.relay?.take() ?? [], sql: [] }),
    stop: async () => {
      await started.stop()
      await redis.relay?.close()
    },
  }
}

/** Starts Genkan on PostgreSQL and Redis with everything on and `accounts` accounts whose password is known. */
export async function startGenkan({ count = false, accounts = 3000, hash = DEFAULT_HASH } = {}): Promise<Subject> {
  const databaseUrl = await freshDatabaseUrl()
  const secretKey = randomBytes(32)
  const addresses = await createAccounts(databaseUrl, secretKey, accounts, hash)
  const redis = await behindRelay((await startRedis()).url, count, redisReader)
  const postgres = await behindRelay(databaseUrl, count, postgresReader)
  const port = await freePort()
  const managementPort = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const folder = mkdtempSync(join(tmpdir(), 'genkan-bench-'))
  // JSON is YAML. The limits are counted as ever but not reached.
  const settings = {
    ...setup,
    passwords: { memory_kib: hash.memoryKib, passes: hash.passes, queue_ms: 10_000 },
    limits: { sign_in_per_address: 1_000_000_000, sign_in_per_identifier: 1_000_000_000 },
  }
  writeFileSync(join(folder, 'genkan.yaml'), JSON.stringify(settings))
  const env = {
    GENKAN_ISSUER: issuer,
    GENKAN_CONFIG: join(folder, 'genkan.yaml'),
    GENKAN_SECRET_KEYS: secretKey.toString('base64'),
    PORT: String(port),
    HOST: '127.0.0.1',
    MANAGEMENT_PORT: String(managementPort),
    DATA_DIR: folder,
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
  }
  const started = await startProcess(
    'genkan',
    ['src/main.ts', 'serve'],
    env,
    `http://127.0.0.1:${managementPort}/readyz`,
  ).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true })
    throw error
  })
  return {
    name: 'genkan',
    issuer,
    pid: started.pid,
    nextAccount: () => {
      const address = addresses.pop()
      if (address === undefined) throw new Error(`all ${accounts} accounts are used up`)
      return address
    },
    taken: () => ({ redis: redis.relay?.take() ?? [], sql: postgres.relay?.take() ?? [] }),
    stop: async () => {
      await started.stop()
      await Promise.all([redis.relay?.close(), postgres.relay?.close()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function behindRelay(
  url: string,
  count: boolean,
  reader: Parameters<typeof startRelay>[1],
): Promise<{ url: string; relay?: Relay }> {
  if (!count) return { url }
  const relay = await startRelay(url, reader)
  return { url: relay.url, relay }
}

/** Proven accounts, straight into the tables: registering thousands would take longer than measuring. */
async function createAccounts(
  databaseUrl: string,
  secretKey: Buffer,
  count: number,
  { memoryKib, passes }: HashParameters,
): Promise<string[]> {
  const hash = await argon2.hash(PASSWORD, { memoryCost: memoryKib, timeCost: passes, parallelism: 1 })
  const database = await openDatabase({ databaseUrl })
  try {
    const box = await (await databaseKeys(database, [secretKey])).box()
    const rows = Array.from({ length: count }, (_, i) => {
      const [id, email] = [`bench${i + 1}`, `person${i + 1}@bench.example`]
      return { id, ...accountColumns(id, email, { name: 'Somebody' }, box) }
    })
    await database.db.raw(
      `insert into accounts (id, email_hash, sealed_personal, email_verified_at, state, created_at, updated_at)
       select id, email_hash, sealed_personal, now(), 'active', now(), now()
       from jsonb_to_recordset(?::jsonb) as r(id text, email_hash text, sealed_personal text)`,
      [JSON.stringify(rows)],
    )
    await database.db.raw('insert into passwords (account_id, hash, changed_at) select id, ?, now() from accounts', [
      hash,
    ])
    await database.db.raw('analyze')
  } finally {
    await database.close()
  }
  return Array.from({ length: count }, (_, i) => `person${count - i}@bench.example`)
}

interface Started {
  readonly pid: number
  stop(): Promise<void>
}

async function startProcess(
  name: string,
  args: readonly string[],
  env: { readonly [name: string]: string },
  readyUrl: string,
): Promise<Started> {
  const folder = mkdtempSync(join(tmpdir(), 'genkan-bench-log-'))
  const log = join(folder, `${name}.log`)
  const file = openSync(log, 'w')
  const child = spawn(process.execPath, [...FLAGS, ...args], {
    cwd: root,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', file, file],
  })
  closeSync(file)
  const release = await entrust(child.pid ?? 0)
  const stop = async () => {
    await stopProcess(child)
    await release()
    rmSync(folder, { recursive: true, force: true })
  }
  const until = Date.now() + START_MS
  while (!(await ready(readyUrl))) {
    if (child.exitCode === null && Date.now() < until) {
      await sleep(50)
      continue
    }
    const said = readFileSync(log, 'utf8')
    await stop()
    throw new Error(`${name} does not start:\n${said.slice(-4000)}`)
  }
  return { pid: child.pid ?? 0, stop }
}

async function ready(url: string): Promise<boolean> {
  const answer = await fetch(url).catch(() => undefined)
  await answer?.body?.cancel()
  return answer?.status === 200
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  await ended
  clearTimeout(force)
}
