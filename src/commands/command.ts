/**
 * Commands as data: main.ts turns them into a command line, and a running server that holds the embedded data directory
 * runs the same ones for whoever reaches its socket. A command prints through `out` and fails by throwing.
 */
import type { Config } from '../config/config.ts'
import { AppError } from '../errors.ts'
import type { BrandRecord, LogoVariant } from '../features/brands/types.ts'
import type { RegistrationTokens } from '../features/client_registrations/types.ts'
import type { ClientRecord } from '../features/clients/types.ts'
import type { KeyAlg, SigningKey } from '../features/keys/types.ts'
import type { Approved } from '../features/lost_factors/types.ts'
import type { ProofingDesk } from '../features/proofings/types.ts'
import type { RealmState } from '../features/realms/types.ts'
import type { Explanation } from '../features/refusals/types.ts'
import type { Inspected, UpstreamState } from '../features/upstreams/types.ts'
import type { ExportedFact, ExportFilter } from '../platform/audit_export.ts'
import type { Brand } from '../platform/brand.ts'
import type { AuditReport } from '../platform/ledger_audit.ts'
import type { FactFilter, ListedFact } from '../platform/outbox_list.ts'
import type { Contrast } from '../platform/palette.ts'
import type { Database } from '../platform/postgres.ts'
import type { RedisReport } from '../platform/redis_watch.ts'
import type { Fixture, Mail } from '../platform/views.ts'

/** An account as operators see it. */
export interface CommandAccount {
  readonly id: string
  readonly email: string
  readonly emailVerifiedAt?: Date | undefined
  readonly state: string
  readonly locale?: string | undefined
  /** Methods that it has set up beside password and mailbox. */
  readonly factors: readonly string[]
  readonly secondFactorRequired: boolean
  readonly createdAt: Date
}

export interface CommandSession {
  readonly uid: string
  readonly createdAt: Date
  readonly seenAt: Date
  readonly ip?: string | undefined
  /** ISO 3166-1 alpha-2. */
  readonly country?: string | undefined
  readonly userAgent?: string | undefined
}

/** Everything that commands may ask of the house; each command declares the part it uses. */
export interface CommandServices {
  readonly config: Config
  readonly database: Database
  /** Where the settings name a vendor. */
  readonly captcha?: { secretIsKnown(): Promise<boolean> } | undefined
  readonly now: () => Date
  readonly clients: {
    create(metadata: { readonly client_id: string; readonly [member: string]: unknown }): Promise<{
      readonly clientId: string
      readonly secret?: string | undefined
    }>
    /** The rest answer undefined when there is no such client. */
    update(clientId: string, changes: { readonly [member: string]: unknown }): Promise<true | undefined>
    show(clientId: string): Promise<ClientRecord | undefined>
    /** Without `lifeSeconds` the new one does not end. */
    rotateSecret(clientId: string, overlapSeconds: number, lifeSeconds?: number): Promise<string | undefined>
    /** Whether it changed. `reason` is stated with the fact. */
    disable(clientId: string, reason?: string): Promise<boolean | undefined>
    enable(clientId: string, reason?: string): Promise<boolean | undefined>
    list(): Promise<readonly ClientRecord[]>
  }
  /** Absent without `client_registration`. */
  readonly registrationTokens?: RegistrationTokens | undefined
  /** Why requests of clients were refused. */
  readonly refusals: { explain(reference: string): Promise<Explanation | undefined> }
  readonly brands: {
    list(): Promise<readonly BrandRecord[]>
    show(id: string): Promise<BrandRecord | undefined>
    /** Makes or changes it; returns what is hard to read. */
    set(id: string, changes: { readonly [setting: string]: unknown }): Promise<readonly Contrast[]>
    /** These two answer undefined when there is no such brand, or no logo to remove. */
    setCss(id: string, text: string | undefined): Promise<true | undefined>
    setLogo(id: string, variant: LogoVariant, file: Buffer | undefined): Promise<true | undefined>
    remove(id: string): Promise<boolean>
  }
  readonly upstreams: {
    states(): Promise<readonly UpstreamState[]>
    /** Makes it or replaces its settings. */
    set(name: string, settings: unknown): Promise<void>
    /** Whether it changed; undefined when there is no such one. */
    setDisabled(name: string, disabled: boolean, reason?: string): Promise<boolean | undefined>
    remove(name: string): Promise<boolean>
    inspect(name: string): Promise<Inspected | undefined>
    /** What is to be registered with the provider. */
    addresses(name: string): Promise<{ readonly callback: string; readonly backchannel_logout_uri?: string }>
  }
  /** What is to be mended of those whose word is taken as a grant. */
  readonly assertionIssuers: { problems(): Promise<readonly string[]> }
  readonly realms: {
    states(): Promise<readonly RealmState[]>
    /** Makes or changes it; returns the record that proves the domain. */
    set(domain: string, settings: unknown): Promise<RealmState['record']>
    remove(domain: string): Promise<boolean>
    /** Looks for the record; undefined when there is no such realm. */
    prove(domain: string): Promise<'proven' | 'missing' | 'other_value' | { readonly failed: string } | undefined>
    /** Whether it changed; undefined when there is no such realm. */
    setBreakGlass(domain: string, account: string, keeps: boolean): Promise<boolean | undefined>
  }
  readonly proofings: ProofingDesk
  readonly accounts: {
    /** Newest first. */
    list(atMost: number): Promise<readonly CommandAccount[]>
    find(idOrEmail: string): Promise<CommandAccount | undefined>
    /** Whether it changed. `reason` is stated with the fact. */
    disable(accountId: string, reason?: string): Promise<boolean>
    enable(accountId: string, reason?: string): Promise<boolean>
    remove(accountId: string, reason?: string): Promise<boolean>
    requireSecondFactor(accountId: string, isRequired: boolean, reason?: string): Promise<boolean>
  }
  readonly sessions: {
    list(accountId: string): Promise<readonly CommandSession[]>
    /** Ends every session and grant of the account and tells its clients. */
    endAll(accountId: string): Promise<void>
  }
  /** Absent where the recovery module is off. */
  readonly support?:
    | {
        /** One of the support ends the waiting of a removal together with another; states `reason` with the fact. */
        approve(
          accountId: string,
          by: { readonly name: string; readonly key: string },
          reason?: string,
        ): Promise<Approved>
      }
    | undefined
  readonly keys: {
    current(now: Date): Promise<readonly SigningKey[]>
    rotate(rotation: {
      readonly alg: KeyAlg
      readonly publishSeconds: number
      readonly compromised: boolean
      readonly now: Date
    }): Promise<SigningKey>
  }
  readonly sealed: {
    /** Brings secrets under the newest secret key, and personal data under the newest data key. */
    reseal(): Promise<{
      readonly secrets: number
      readonly personal: { readonly renewed: number; readonly forged: number }
    }>
    /** Sealed cells that are under another key than the newest data key, or the newest secret key. */
    stale(): Promise<{ readonly personal: number; readonly secrets: number }>
  }
  readonly facts: {
    list(filter: FactFilter): Promise<readonly ListedFact[]>
    count(type: string, since: Date): Promise<number>
    /** Seals what is committed, then checks everything; `known` is an anchor that was kept elsewhere. */
    verify(known: Anchor | undefined): Promise<AuditReport>
    /** Seals what is committed, then reads the ledger in its order. */
    export(filter: ExportFilter): Promise<AsyncIterable<ExportedFact>>
    /** Renews sealed parts and MACs under the newest secret key. */
    reseal(): Promise<{ readonly renewed: number; readonly forged: number }>
  }
  readonly mails: {
    readonly locales: readonly string[]
    fixtures(locale?: string): readonly Fixture[]
    render(template: string, locale: string, values: Fixture['values'], brand: Brand): Mail
    /** Undefined when there is none that is enabled. */
    brand(id: string): Promise<Brand | undefined>
    send(message: Mail & { readonly to: string; readonly locale: string; readonly date: Date }): Promise<void>
    canonicalEmail(input: unknown): string | undefined
  }
  readonly pendingMigrations: () => Promise<readonly string[]>
  /** Schema, declared clients and first keys, under the migration lock. */
  readonly migrate: () => Promise<readonly string[]>
  /** Absent without `REDIS_URL`. */
  readonly redis?: (() => Promise<RedisReport>) | undefined
}

type Anchor = NonNullable<AuditReport['anchor']>

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
  /** The file's text (or its bytes as base64) is sent instead of its name; `-` is standard input. */
  readonly content?: true | 'base64'
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

/** For commands that end something: why. */
export const REASON_OPTION: Option = {
  flags: '--reason <text>',
  description: 'why; kept in the audit ledger (no names or addresses of people)',
}

const REASON_LENGTH = 200

export function reasonOption(input: CommandInput): string | undefined {
  const reason = textOption(input, 'reason')
  if (reason !== undefined && reason.length > REASON_LENGTH) {
    throw failure(`--reason: write ${REASON_LENGTH} characters at the most`)
  }
  return reason
}

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
