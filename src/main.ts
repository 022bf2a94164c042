#!/usr/bin/env node
/**
 * The command line, and the only file that reads it: starts the server, or runs a command in the server that holds the data,
 * or opens the stores and runs it here. What opens stores is imported when it is needed: a command that a server runs is quick.
 */
import cluster from 'node:cluster'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Command as Program } from 'commander'
import type { Command } from './commands/command.ts'
import { COMMANDS, describe, execute } from './commands/execute.ts'
import { onDrain, supervise } from './commands/supervise.ts'
import { type Config, ConfigError, loadConfig } from './config.ts'
import type { Foundation } from './foundation.ts'
import type { House } from './house.ts'
import { type CommandRequest, type CommandResult, listenForCommands, sendCommand } from './platform/command_socket.ts'
import { lockDataDir } from './platform/data_lock.ts'
import { createLogger, type Logger } from './platform/logger.ts'

const CLOSE_MS = 29_000
const SOCKET = 'genkan.sock'
const REDIS_MS = 2000
/** A server that is starting holds the data before its socket answers. */
const SOCKET_TRIES = 50
const SOCKET_WAIT_MS = 200

const print = (output: string) => process.stdout.write(output)
const complain = (message: string) => process.stderr.write(`genkan: ${message}\n`)

await main()

async function main(): Promise<void> {
  try {
    await program().parseAsync(process.argv)
  } catch (error) {
    if (error instanceof ConfigError) complain(`the configuration has problems:\n  ${error.problems.join('\n  ')}`)
    else complain(describe(error))
    process.exit(1)
  }
}

function program(): Program {
  const root = new Program('genkan').description('Self-hosted OpenID Connect provider').showHelpAfterError()
  root
    .command('serve')
    .description('start the server; SIGTERM drains it')
    .option('--workers <number>', 'processes to run (needs PostgreSQL and Redis)', '1')
    .option('--no-migrate', 'refuse to start when migrations are missing, instead of applying them')
    .option('--worker <slot>', 'internal')
    .action(serve)
  for (const command of COMMANDS) addCommand(root, command)
  groupOf(root, 'backup')
    .command('restore')
    .description('put a backup in the place of the configured database; stop the servers first')
    .argument('<folder>', 'made by backup create')
    .option('--force', 'replace the data that is there')
    .action(async (folder: string, options: { force?: boolean }) => {
      const { restoreBackup } = await import('./commands/restore.ts')
      await restoreBackup(loadConfig(), resolve(folder), options.force === true, { line: (line) => print(`${line}\n`) })
    })
  return root
}

function groupOf(root: Program, name: string): Program {
  const descriptions: { readonly [group: string]: string } = {
    clients: 'applications that may ask for tokens',
    brands: 'how pages and mails look',
    upstreams: 'whom people may come from',
    realms: 'e-mail domains whose people sign in by a provider',
    proofings: 'checks of who people are',
    accounts: 'people who sign in',
    support: 'help for people who lost their second factors, by two together',
    keys: 'signing keys and secret keys',
    audit: 'the ledger of what happened',
    mail: 'what people are written',
    backup: 'database and keys together',
  }
  return (
    root.commands.find((group) => group.name() === name) ?? root.command(name).description(descriptions[name] ?? name)
  )
}

function addCommand(root: Program, command: Command): void {
  const [first = '', verb] = command.name.split(' ')
  const line = (verb === undefined ? root.command(first) : groupOf(root, first).command(verb)).description(
    command.summary,
  )
  for (const { name, description } of command.arguments ?? []) line.argument(`<${name}>`, description)
  for (const { flags, description } of command.options ?? []) line.option(flags, description)
  line.action(async () => {
    const config = loadConfig()
    const result = await run(config, await toRequest(command, line.args, line.opts()))
    if (result.error !== undefined) complain(result.error)
    process.exitCode = result.exit
  })
}

async function toRequest(
  command: Command,
  args: readonly string[],
  options: { readonly [name: string]: string | boolean | string[] },
): Promise<CommandRequest> {
  const read = async (name: string, value: string | boolean | string[]) => {
    const content = command.options?.find(({ flags }) => longName(flags) === name)?.content
    if (content === undefined || typeof value !== 'string') return value
    const file = value === '-' ? await buffer(process.stdin) : await readFile(value)
    return file.toString(content === 'base64' ? 'base64' : 'utf8')
  }
  const entries = await Promise.all(
    Object.entries(options).map(async ([name, value]) => [name, await read(name, value)] as const),
  )
  return {
    command: command.name,
    args: args.map((value, i) => (command.arguments?.[i]?.path === true ? resolve(value) : value)),
    options: Object.fromEntries(entries),
  }
}

function longName(flags: string): string {
  return /--(\w+)/.exec(flags)?.[1] ?? flags
}

/** Runs a command where the data is. */
async function run(config: Config, request: CommandRequest): Promise<CommandResult> {
  if (!config.embedded) return runHere(config, request)
  for (let attempt = 1; ; attempt++) {
    const there = await sendCommand(join(config.dataDir, SOCKET), request, print)
    if (there !== undefined) return there
    const lock = await lockDataDir(config.dataDir).catch((error: unknown) => {
      if (attempt >= SOCKET_TRIES) throw error
    })
    if (lock === undefined) await sleep(SOCKET_WAIT_MS)
    else return runHere(config, request).finally(() => lock.release())
  }
}

async function runHere(config: Config, request: CommandRequest): Promise<CommandResult> {
  const [{ layFoundation }, { createHouse }, { commandServices }] = await Promise.all([
    import('./foundation.ts'),
    import('./house.ts'),
    import('./command_services.ts'),
  ])
  const foundation = await layFoundation(config, createLogger({ level: 'silent' }))
  try {
    const house = createHouse(foundation)
    // What a command states is delivered by the server, or at its next start.
    await house.stop()
    await connected(foundation)
    return await execute(commandServices(foundation, house), request, print)
  } finally {
    await foundation.close()
  }
}

/** Redis answers at once or not at all; a server has time to connect before its first request, a command has not. */
async function connected({ redis }: Foundation): Promise<void> {
  if (redis === undefined || redis.status === 'ready') return
  await once(redis, 'ready', { signal: AbortSignal.timeout(REDIS_MS) }).catch(() => {})
}

interface ServeOptions {
  readonly workers: string
  readonly migrate: boolean
  readonly worker?: string
}

async function serve(options: ServeOptions): Promise<void> {
  const config = loadConfig()
  const workers = Number(options.workers)
  if (!Number.isInteger(workers) || workers < 1 || workers > 64)
    throw new Error('--workers: write a number from 1 to 64')
  const logger = createLogger({ level: config.logLevel })
  if (options.worker !== undefined && cluster.isWorker)
    return serveHere(forWorker(config, options.worker), logger, false)
  if (workers === 1) return serveHere(config, logger, options.migrate)
  if (config.embedded)
    throw new Error('--workers: the embedded database has one process; set DATABASE_URL and REDIS_URL')
  if (config.redisUrl === undefined) throw new Error('--workers: several processes need REDIS_URL')
  if (options.migrate) {
    const result = await runHere(config, { command: 'migrate', args: [], options: {} })
    if (result.exit !== 0) throw new Error(result.error)
  }
  const args = (slot: number) => ['serve', '--worker', String(slot), '--no-migrate']
  process.exit(await supervise({ workers, args, report: (message) => logger.warn(message) }))
}

/** Each worker has its own counters, so each has its own management port, counted up from the configured one. */
function forWorker(config: Config, slot: string): Config {
  if (config.managementPort === 0) return config
  return { ...config, managementPort: config.managementPort + Number(slot) - 1 }
}

async function serveHere(config: Config, logger: Logger, migrate: boolean): Promise<void> {
  // What has been opened so far, to be closed in the opposite order.
  const closers: (() => Promise<void>)[] = []
  endWithSignals(logger, async () => {
    for (const close of closers.reverse()) await close()
  })
  const [{ layFoundation }, { createApp }] = await Promise.all([import('./foundation.ts'), import('./app.ts')])
  const lock = config.embedded ? await lockDataDir(config.dataDir) : undefined
  if (lock !== undefined) closers.push(lock.release)
  const foundation = await layFoundation(config, logger)
  const app = createApp(foundation)
  closers.push(app.close)
  const ports = await app.listen()
  await app.prepare({ migrate })
  if (lock !== undefined) closers.push((await openSocket(config, foundation, app.house)).close)
  logger.info({ issuer: config.issuer, ...ports }, 'ready')
}

async function openSocket(config: Config, foundation: Foundation, house: House): Promise<{ close(): Promise<void> }> {
  const { commandServices } = await import('./command_services.ts')
  const provided = commandServices(foundation, house)
  return listenForCommands(join(config.dataDir, SOCKET), (request, out) => execute(provided, request, out))
}

/** The first signal drains, the second ends at once. What nobody handled ends the process: its state is unknown. */
function endWithSignals(logger: Logger, close: () => Promise<void>): void {
  let stopping = false
  const drain = () => {
    if (stopping) process.exit(1)
    stopping = true
    logger.info('draining')
    setTimeout(() => process.exit(1), CLOSE_MS).unref()
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'could not close')
        process.exit(1)
      },
    )
  }
  if (cluster.isWorker) onDrain(drain)
  else for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, drain)
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error: unknown) => {
      logger.fatal({ err: error }, event)
      process.exit(1)
    })
  }
}
