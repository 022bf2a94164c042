/** What the figures were measured on. */
import { readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { startPostgres, startRedis } from '../support/services.ts'
import { withStores } from './stores.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly node: string
  readonly redis: string
  readonly postgres: string
  readonly engine: string
}

export async function describeMachine(): Promise<Machine> {
  const stores = { databaseUrl: (await startPostgres()).url, redisUrl: (await startRedis()).url }
  return withStores(stores, async (sql, redis) => {
    const path = new URL('../../node_modules/oidc-provider/package.json', import.meta.url)
    const engine = JSON.parse(readFileSync(path, 'utf8')) as { version: string }
    const { rows } = await sql.query<{ server_version: string }>('show server_version')
    return {
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      memoryGb: Math.round(totalmem() / 1024 ** 3),
      node: process.versions.node,
      redis: /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown',
      postgres: rows[0]?.server_version.split(' ')[0] ?? 'unknown',
      engine: engine.version,
    }
  })
}

/** Load average of the last minute: what others do to this machine. */
export function loadNow(): number {
  return loadavg()[0] ?? 0
}
