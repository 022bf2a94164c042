/** Copies of a Redis as it is on its disk, to bring it back without what it was told since. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { readyRedis } from './one_redis.ts'
import type { BreakableServer } from './services.ts'

export interface RedisCopy {
  /** Kills the server and starts it again with what it had when the copy was made: its last writes are lost. */
  comeBack(): Promise<void>
}

/** Copies the append-only file of a server that writes it at each command. */
export async function copyRedis(server: BreakableServer): Promise<RedisCopy> {
  const redis = await readyRedis(server.url)
  const [, folder = ''] = (await redis.config('GET', 'dir')) as string[]
  redis.disconnect()
  const kept = mkdtempSync(join(folder, 'copy-'))
  const [here, there] = [join(folder, 'appendonlydir'), join(kept, 'appendonlydir')]
  execFileSync('cp', ['-a', here, there])
  return {
    async comeBack() {
      await server.kill()
      rmSync(here, { recursive: true })
      execFileSync('cp', ['-a', there, here])
      await server.start()
    },
  }
}
