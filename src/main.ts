#!/usr/bin/env node
/** The process: reads the command line, and serves until a signal ends it. */
import cluster from 'node:cluster'
import type { Ending } from './app.ts'
import { runCommandLine, runHere, type ServeOptions, type Terminal } from './command_line.ts'
import { beat, obey, onHangup, supervise } from './commands/supervise.ts'
import { type Config, loadConfig } from './config/config.ts'
import { createLogger, type Logger } from './platform/logger.ts'
import { type Serving, type StartOptions, startServing } from './serving.ts'

const CLOSE_MS = 29_000

const terminal: Terminal = {
  print: (text) => void process.stdout.write(text),
  complain: (text) => void process.stderr.write(text),
}

let begun = false
const code = await runCommandLine(process.argv.slice(2), terminal, (options) => {
  begun = true
  return serve(options)
})
// What a server that cannot start has opened would keep the process; a command has closed everything.
if (begun && code !== 0) process.exit(code)
process.exitCode = code

async function serve(options: ServeOptions): Promise<void> {
  const config = loadConfig(undefined, options.config)
  const logger = createLogger({ level: config.logLevel })
  if (options.worker !== undefined && cluster.isWorker)
    return serveHere(forWorker(config, options.worker), logger, { migrate: false, late: options.late === true })
  if (options.workers === undefined) return serveHere(config, logger, { migrate: options.migrate, late: false })
  const workers = Number(options.workers)
  if (!Number.isInteger(workers) || workers < 1 || workers > 64)
    throw new Error('--workers: write a number from 1 to 64')
  if (config.embedded)
    throw new Error('--workers: the embedded database has one process; set DATABASE_URL and REDIS_URL')
  if (config.redisUrl === undefined) throw new Error('--workers: several processes need REDIS_URL')
  if (options.migrate) {
    const result = await runHere(config, { command: 'migrate', args: [], options: {} }, terminal.print)
    if (result.exit !== 0) throw new Error(result.error)
  }
  const file = options.config === undefined ? [] : ['--config', options.config]
  process.exit(
    await supervise({
      workers,
      args: (place, late) => ['serve', ...file, '--worker', String(place), '--no-migrate', ...(late ? ['--late'] : [])],
      check: () => void loadConfig(undefined, options.config),
      blockedMs: config.workerBlockedMs,
      report: (level, message, fields = {}) => logger[level](fields, message),
    }),
  )
}

/** Each worker has its own counters, so each has its own management port, counted up from the configured one. */
function forWorker(config: Config, slot: string): Config {
  if (config.managementPort === 0) return config
  return { ...config, managementPort: config.managementPort + Number(slot) - 1 }
}

async function serveHere(config: Config, logger: Logger, options: StartOptions): Promise<void> {
  const serving = startServing(config, logger, options)
  endWithSignals(logger, serving.close)
  await serving.ready
  if (cluster.isWorker) beat()
}

/** The first signal drains, the second ends at once. What nobody handled ends the process: its state is unknown. */
function endWithSignals(logger: Logger, close: Serving['close']): void {
  let stopping = false
  const drain = (why: Ending) => {
    if (stopping) process.exit(1)
    stopping = true
    logger.info({ why }, 'draining')
    setTimeout(() => process.exit(1), CLOSE_MS).unref()
    close(why).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'could not close')
        process.exit(1)
      },
    )
  }
  if (cluster.isWorker) obey(drain)
  else {
    process.on('SIGTERM', () => drain('stopped'))
    process.on('SIGINT', () => drain('interrupted'))
    onHangup(
      () => drain('interrupted'),
      () => logger.warn('SIGHUP: one process cannot replace itself; start with --workers, or restart it'),
    )
  }
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      logger.fatal({ err: error }, event)
      process.exit(1)
    })
  }
}
