/** One server in this process: what it opens, in order, and how that is closed again. */
import { join } from 'node:path'
import type { Ending } from './app.ts'
import { execute } from './commands/execute.ts'
import type { Config } from './config/config.ts'
import type { Foundation } from './foundation.ts'
import type { House } from './house.ts'
import { listenForCommands } from './platform/command_socket.ts'
import { lockDataDir } from './platform/data_lock.ts'
import type { Logger } from './platform/logger.ts'
import { letThreadsGiveWay } from './platform/thread_priorities.ts'

/** In the data directory: where a running server takes commands. */
export const SOCKET = 'genkan.sock'

export interface Serving {
  /** Resolves when it answers; rejects when it cannot start. */
  readonly ready: Promise<void>
  /** Drains, then closes in the opposite order whatever has been opened so far. */
  close(why?: Ending): Promise<void>
}

export interface StartOptions {
  readonly migrate: boolean
  /** Opens the ports when it is ready, not before: others serve there meanwhile. */
  readonly late?: boolean
}

type Close = (why?: Ending) => Promise<void>

/** Starts the server. */
export function startServing(config: Config, logger: Logger, options: StartOptions): Serving {
  const closers: Close[] = []
  return {
    ready: serve(config, logger, options, closers),
    close: async (why) => {
      for (const close of closers.reverse()) await close(why)
    },
  }
}

async function serve(config: Config, logger: Logger, options: StartOptions, closers: Close[]): Promise<void> {
  const [{ layFoundation }, { createApp }] = await Promise.all([import('./foundation.ts'), import('./app.ts')])
  const lock = config.embedded ? await lockDataDir(config.dataDir) : undefined
  if (lock !== undefined) closers.push(() => lock.release())
  const foundation = await layFoundation(config, logger)
  const app = createApp(foundation)
  closers.push(app.close)
  if (options.late === true) await app.prepare(options)
  const ports = await app.listen()
  if (options.late !== true) await app.prepare(options)
  if (lock !== undefined) closers.push((await openSocket(config, foundation, app.house)).close)
  await letThreadsGiveWay({ V8Worker: 10 })
  logger.info({ issuer: config.issuer, ...ports }, 'ready')
}

async function openSocket(config: Config, foundation: Foundation, house: House): Promise<{ close(): Promise<void> }> {
  const { commandServices } = await import('./command_services.ts')
  const provided = commandServices(foundation, house)
  return listenForCommands(join(config.dataDir, SOCKET), (request, out) => execute(provided, request, out))
}
