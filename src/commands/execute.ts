/** All commands, and how one is run: here or inside a running server, by the same code. */
import { AppError } from '../errors.ts'
import type { CommandRequest, CommandResult } from '../platform/command_socket.ts'
import { newId } from '../platform/ids.ts'
import { runInRequest } from '../platform/request_scope.ts'
import { accountCommands } from './accounts.ts'
import { auditCommands } from './audit.ts'
import { backupCommands } from './backup.ts'
import { brandCommands } from './brands.ts'
import { clientCommands } from './clients.ts'
import type { Command, CommandServices } from './command.ts'
import { doctor } from './doctor.ts'
import { keyCommands } from './keys.ts'
import { mailCommands } from './mail.ts'
import { migrate } from './migrate.ts'
import { proofingCommands } from './proofings.ts'
import { realmCommands } from './realms.ts'
import { registrationTokenCommands } from './registration_tokens.ts'
import { supportCommands, supportKey } from './support.ts'
import { upstreamCommands } from './upstreams.ts'

export const COMMANDS: readonly Command[] = [
  migrate,
  ...clientCommands,
  ...registrationTokenCommands,
  ...brandCommands,
  ...upstreamCommands,
  ...realmCommands,
  ...proofingCommands,
  ...accountCommands,
  ...supportCommands,
  ...keyCommands,
  ...auditCommands,
  ...mailCommands,
  doctor,
  ...backupCommands,
]

/** Commands that speak about a database which is not up to date, or make it so, or need none. */
const ON_ANY_SCHEMA: ReadonlySet<string> = new Set([migrate.name, doctor.name, supportKey.name])

/** Runs one command; never rejects. What it prints has no control characters: names and addresses come from strangers. */
export async function execute(
  services: CommandServices,
  request: CommandRequest,
  print: (text: string) => void,
): Promise<CommandResult> {
  const command = COMMANDS.find(({ name }) => name === request.command)
  if (command === undefined) return { exit: 1, error: `there is no command ${request.command}` }
  try {
    if (!ON_ANY_SCHEMA.has(command.name) && (await services.pendingMigrations()).length > 0) {
      return { exit: 1, error: 'the database is not up to date: run genkan migrate' }
    }
    const out = { line: (text: string) => print(`${visible(text)}\n`) }
    // Facts of one command have one request id, like those of one request.
    await runInRequest({ requestId: newId() }, () => command.run(services, request, out))
    return { exit: 0 }
  } catch (error) {
    return { exit: 1, error: describe(error) }
  }
}

/** What an operator reads of a failure. */
export function describe(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error)
  const nested = error instanceof AggregateError && error.message === '' ? describe(error.errors[0]) : text
  const known = error instanceof AppError && error.code !== 'internal_error'
  return visible(known ? nested : (nested.split('\n')[0] ?? ''))
}

/** A terminal obeys control characters; a device name must not. */
function visible(text: string): string {
  return text.replace(/[^\P{C}\n]/gu, '\uFFFD')
}
