/**
 * Commands as data: main.ts turns them into a command line, and a running server that holds the embedded data directory
 * runs the same ones for whoever reaches its socket. A command prints through `out` and fails by throwing.
 */
import type { Config } from '../config.ts'
import { AppError } from '../errors.ts'
import type { ClientsService } from '../features/clients/service.ts'
import type { KeysService, Resealer } from '../features/keys/service.ts'
import type { Database } from '../platform/postgres.ts'

/** An account as operators see it. */
export interface CommandAccount {
  readonly accountId: string
  readonly email: string
  readonly emailVerified: boolean
  readonly state: string
  readonly createdAt: Date
  readonly locale?: string | undefined
}

export interface CommandSession {
  readonly uid: string
  readonly createdAt: Date
  readonly seenAt: Date
  readonly ip?: string | undefined
  readonly userAgent?: string | undefined
}

/** A recorded fact as the audit list shows it. */
export interface CommandFact {
  readonly seq?: number | undefined
  readonly occurredAt: Date
  readonly type: string
  readonly accountId?: string | undefined
  readonly clientId?: string | undefined
  readonly actor?: string | undefined
  readonly requestId?: string | undefined
  readonly data: unknown
}

/** Everything that commands may ask of a started house; each command declares the part it uses. */
export interface CommandServices {
  readonly config: Config
  readonly database: Database
  readonly clients: Pick<ClientsService, 'create' | 'update' | 'list' | 'show' | 'rotateSecret' | 'disable' | 'enable'>
  readonly keys: Pick<KeysService, 'current' | 'rotate' | 'reseal'>
  /** What else is sealed, besides signing keys. */
  readonly resealers: readonly Resealer[]
  readonly accounts: {
    /** Newest first; `query` is a part of the address. */
    list(filter: {
      query?: string | undefined
      state?: string | undefined
      limit: number
    }): Promise<readonly CommandAccount[]>
    /** By account id or e-mail address (the proven account first). */
    find(idOrEmail: string): Promise<CommandAccount | undefined>
    disable(accountId: string, actor: string): Promise<void>
    enable(accountId: string, actor: string): Promise<void>
    /** Ends sessions and grants, sends logouts, then erases the account. */
    remove(accountId: string, actor: string): Promise<void>
  }
  readonly sessions: {
    list(accountId: string): Promise<readonly CommandSession[]>
    /** Ends every session and grant of the account and sends logouts. @returns how many sessions ended */
    endAll(accountId: string, reason: string): Promise<number>
  }
  readonly ledger: {
    /** Seals what is committed, then checks every row. */
    verify(): Promise<{ readonly ok: boolean; readonly checked: number; readonly problems: readonly string[] }>
    list(filter: {
      type?: string | undefined
      accountId?: string | undefined
      clientId?: string | undefined
      limit: number
    }): Promise<readonly CommandFact[]>
  }
  readonly pendingMigrations: () => Promise<readonly string[]>
  /** Migrations, declared clients and first keys, under the migration lock. */
  readonly migrate: () => Promise<{ readonly applied: readonly string[] }>
  /** Absent without `REDIS_URL`. */
  readonly redis?: { ping(): Promise<unknown>; config(get: 'GET', name: string): Promise<unknown> } | undefined
  /** Connects to the mail server and signs in, without sending; absent when mail goes to files. */
  readonly verifyMail?: (() => Promise<void>) | undefined
  readonly now: () => Date
}

export interface Argument {
  readonly name: string
  readonly description: string
  readonly optional?: true
  /** A path on this machine: made absolute before it is sent. */
  readonly path?: true
}

export interface Option {
  /** As commander writes it: `--overlap <duration>`, `--json`, `--redirect-uri <uri...>`. */
  readonly flags: string
  readonly description: string
  /** The file's text is sent instead of its name; `-` is standard input. */
  readonly content?: true
}

export type OptionValue = string | boolean | readonly string[]

/** What was typed; plain JSON, since it may travel through the socket. */
export interface CommandInput {
  readonly args: readonly string[]
  readonly options: { readonly [camelCaseName: string]: OptionValue | undefined }
}

export interface Out {
  /** One line, or several, to standard output. */
  line(text: string): void
}

export interface Command<Needs = CommandServices> {
  /** Group and verb: `clients create`. */
  readonly name: string
  readonly summary: string
  readonly arguments?: readonly Argument[]
  readonly options?: readonly Option[]
  run(services: Needs, input: CommandInput, out: Out): Promise<void>
}

/** For every command that lists or shows. */
export const JSON_OPTION: Option = { flags: '--json', description: 'print JSON' }

/** A failure that an operator reads. */
export function failure(detail: string, cause?: unknown): AppError {
  return new AppError('invalid_request', { detail, cause })
}

/** The argument at a position; commander has seen to it that required ones are there. */
export function argument(input: CommandInput, position: number): string {
  const value = input.args[position]
  if (value === undefined) throw failure('an argument is missing')
  return value
}

export function textOption(input: CommandInput, name: string): string | undefined {
  const value = input.options[name]
  return typeof value === 'string' ? value : undefined
}

export function listOption(input: CommandInput, name: string): readonly string[] | undefined {
  const value = input.options[name]
  return Array.isArray(value) ? value : undefined
}

const UNITS: { readonly [unit: string]: number } = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds of `90s`, `30m`, `24h`, `7d` or `0`. */
export function duration(text: string, option: string): number {
  const [, digits, unit] = /^(\d{1,6})([smhd]?)$/.exec(text) ?? []
  const seconds = Number(digits) * (UNITS[unit ?? ''] ?? (digits === '0' ? 0 : Number.NaN))
  if (!Number.isFinite(seconds)) throw failure(`${option}: write a duration such as 90s, 30m, 24h or 7d`)
  return seconds
}

/** A whole number from 1 to `most`. */
export function count(text: string | undefined, option: string, fallback: number, most: number): number {
  if (text === undefined) return fallback
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw failure(`${option}: write a number from 1 to ${most}`)
  return value
}

/** Columns, left-aligned; nothing is cut. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  return [line(head), ...rows.map(line)].join('\n')
}

/** Prints a value as JSON when asked to, else as the given text. */
export function show(input: CommandInput, out: Out, value: unknown, text: () => string): void {
  out.line(input.options.json === true ? JSON.stringify(value, null, 2) : text())
}
