/**
 * The command line: runs a command in the server that holds the data, or opens the stores and runs it here. What opens stores is
 * imported when it is needed: a command that a server runs is quick.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { CommanderError, Command as Program } from 'commander'
import type { Command } from './commands/command.ts'
import { COMMANDS, describe, execute } from './commands/execute.ts'
import { type Config, ConfigError, loadConfig } from './config/config.ts'
import type { Foundation } from './foundation.ts'
import { type CommandRequest, type CommandResult, sendCommand } from './platform/command_socket.ts'
import { lockDataDir } from './platform/data_lock.ts'
import { createLogger } from './platform/logger.ts'
import { SOCKET } from './serving.ts'

/** Where a command finds its settings and leaves its words. */
export interface Terminal {
  /** Settings; those of the process when left out. */
  readonly env?: { readonly [name: string]: string | undefined } | undefined
  print(text: string): void
  complain(text: string): void
}

export interface ServeOptions {
  /** Without: one process, without another that looks after it. */
  readonly workers?: string
  readonly migrate: boolean
  readonly worker?: string
  /** Of a worker: its ports open when it is ready. */
  readonly late?: boolean
  readonly config?: string
}

type Serve = (options: ServeOptions) => Promise<void>

/** Of every command. */
const CONFIG = ['--config <file>', 'settings; stands in front of GENKAN_CONFIG'] as const
const REDIS_MS = 2000
/** A server that is starting holds the data before its socket answers. */
const SOCKET_TRIES = 50
const SOCKET_WAIT_MS = 200

/** Runs what `argv` (without program and script) asks for, and returns the exit code. `serve` has begun when it returns. */
export async function runCommandLine(argv: readonly string[], terminal: Terminal, serve: Serve): Promise<number> {
  const exit = { code: 0 }
  try {
    await program(terminal, serve, exit).parseAsync([...argv], { from: 'user' })
    return exit.code
  } catch (error) {
    // It has said what is wrong by itself.
    if (error instanceof CommanderError) return error.exitCode
    const problems = error instanceof ConfigError ? error.problems.join('\n  ') : undefined
    terminal.complain(
      `genkan: ${problems === undefined ? describe(error) : `the configuration has problems:\n  ${problems}`}\n`,
    )
    return 1
  }
}

function program(terminal: Terminal, serve: Serve, exit: { code: number }): Program {
  const root = new Program('genkan')
    .description('Self-hosted OpenID Connect provider')
    .showHelpAfterError()
    .exitOverride()
    .configureOutput({ writeOut: terminal.print, writeErr: terminal.complain })
  root
    .command('serve')
    .description('start the server; SIGTERM drains it')
    .option('--workers <number>', 'supervised processes, replaced one by one at SIGHUP (needs PostgreSQL and Redis)')
    .option('--no-migrate', 'refuse to start when migrations are missing, instead of applying them')
    .option('--worker <slot>', 'internal')
    .option('--late', 'internal')
    .option(...CONFIG)
    .action(serve)
  for (const command of COMMANDS) addCommand(root, command, terminal, exit)
  groupOf(root, 'backup')
    .command('restore')
    .description('put a backup in the place of the configured database; stop the servers first')
    .argument('<folder>', 'made by backup create')
    .option('--force', 'replace the data that is there')
    .option(...CONFIG)
    .action(async (folder: string, options: { force?: boolean; config?: string }) => {
      const { restoreBackup } = await import('./commands/restore.ts')
      const line = (text: string) => terminal.print(`${text}\n`)
      await restoreBackup(loadConfig(terminal.env, options.config), resolve(folder), options.force === true, { line })
    })
  return root
}

function groupOf(root: Program, name: string): Program {
  const descriptions: { readonly [group: string]: string } = {
    clients: 'applications that may ask for tokens',
    'registration-token': 'tokens by which clients may register themselves',
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

function addCommand(root: Program, command: Command, terminal: Terminal, exit: { code: number }): void {
  const groups = command.name.split(' ')
  const verb = groups.pop() ?? ''
  const line = groups.reduce(groupOf, root).command(verb).description(command.summary)
  for (const { name, description } of command.arguments ?? []) line.argument(`<${name}>`, description)
  for (const { flags, description } of command.options ?? []) line.option(flags, description)
  line.option(...CONFIG)
  line.action(async () => {
    const { config: file, ...options } = line.opts<{ config?: string }>()
    const config = loadConfig(terminal.env, file)
    const result = await run(config, await toRequest(command, line.args, options), terminal.print)
    if (result.error !== undefined) terminal.complain(`genkan: ${result.error}\n`)
    exit.code = result.exit
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
async function run(config: Config, request: CommandRequest, print: Terminal['print']): Promise<CommandResult> {
  if (!config.embedded) return runHere(config, request, print)
  for (let attempt = 1; ; attempt++) {
    const there = await sendCommand(join(config.dataDir, SOCKET), request, print)
    if (there !== undefined) return there
    const lock = await lockDataDir(config.dataDir).catch((error: unknown) => {
      if (attempt >= SOCKET_TRIES) throw error
    })
    if (lock === undefined) await sleep(SOCKET_WAIT_MS)
    else return runHere(config, request, print).finally(() => lock.release())
  }
}

/** Opens the stores and runs the command in this process. */
export async function runHere(
  config: Config,
  request: CommandRequest,
  print: Terminal['print'],
): Promise<CommandResult> {
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
