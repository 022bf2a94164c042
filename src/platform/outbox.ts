/**
 * The outbox: facts are written here in the transaction of the change they state, so that without the fact the act fails.
 * Each row carries a MAC over its content: a row that somebody inserts or changes with SQL alone is found by the ledger.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash, randomBytes } from 'node:crypto'
import { AppError } from '../errors.ts'
import type { Fact, Json } from '../events.ts'
import type { PersonalData } from './personal_columns.ts'
import type { Tx } from './postgres.ts'
import { currentRequest } from './request_scope.ts'

export interface Outbox {
  /** States facts inside the transaction of the change, in one insert. Facts with a sealed part wake the deliveries on commit. */
  record(facts: readonly Fact[], tx: Tx): Promise<void>
  /**
   * The same insert as a part of the change's own statement, which puts it into a CTE: change and facts are one statement.
   * At least one fact. Whoever states sealed ones calls `wake`.
   */
  insert(facts: readonly Fact[]): Statement
  /** Asks for deliveries now instead of within a second. Call it after the commit. */
  wake(): void
}

/** A statement of SQL with `?` for each of its bindings. */
export interface Statement {
  readonly sql: string
  readonly bindings: readonly (string | Date | null)[]
}

/** What must be true in the same moment as a fact: it runs in the fact's transaction, and the act fails when it does. */
export interface Reaction {
  readonly types: readonly string[]
  handle(fact: Fact, tx: Tx): Promise<void>
}

/** The outbox as the composition root sees it. */
export interface WakingOutbox extends Outbox {
  /** Registers what follows from facts within their transaction. */
  onRecord(reaction: Reaction): void
  /** Registers what `wake` calls: the dispatcher, which is made after the features that record. */
  onWake(listener: () => void): void
}

/**
 * What the MAC and the ledger's hash cover. The address itself is not part of it, so that it can be erased later. The salt
 * goes with the content: without it the hash that stays behind would confirm a guess of what was erased.
 */
export interface OutboxContent {
  readonly id: string
  readonly type: string
  readonly account_id: string | null
  readonly client_id: string | null
  readonly actor: string | null
  readonly data: { readonly [key: string]: Json | undefined }
  readonly request_id: string | null
  readonly ip_hash: string | null
  readonly user_agent: string | null
  readonly occurred_at: Date
  readonly salt: string | null
}

/** A row with its user agent opened. */
export interface OutboxRow extends OutboxContent {
  readonly sealed_ip: string | null
  readonly sealed_user_agent: string | null
  readonly sealed: string | null
  readonly mac: string
  readonly seq: string | number | null
  /** The batch in which the content was erased; `audit.erased` states it. */
  readonly erased_in: string | null
}

/** Where a fact was stated from and with what: sealed, each for itself, since the address is forgotten earlier. */
export const FACT_IP = { table: 'outbox', key: 'id', column: 'sealed_ip' } as const
export const FACT_USER_AGENT = { table: 'outbox', key: 'id', column: 'sealed_user_agent' } as const

/** Purposes under which the outbox uses the secret box. */
const OUTBOX_SEAL = 'outbox'
export const OUTBOX_MAC = 'outbox-mac'
const ADDRESS_MAC = 'outbox-ip'

const USER_AGENT_LENGTH = 256

const COLUMNS = [
  ...(['id', 'type', 'account_id', 'client_id', 'actor', 'data', 'request_id'] as const),
  ...(['sealed_ip', 'ip_hash', 'sealed_user_agent', 'occurred_at', 'salt', 'sealed', 'mac'] as const),
]
const INSERT = `insert into "outbox" (${COLUMNS.join(', ')}) values `
const ROW = `(${COLUMNS.map(() => '?').join(', ')})`

interface Deps {
  readonly secretBox: {
    seal(plaintext: string, purpose: string): string
    mac(value: string, purpose: string): string
  }
  readonly personal: Pick<PersonalData, 'seal'>
  readonly clock: { now(): Date }
}

/** Makes the outbox. The database is not needed: every write goes through the caller's transaction. */
export function createOutbox({ secretBox, personal, clock }: Deps): WakingOutbox {
  const listeners: (() => void)[] = []
  const reactions: Reaction[] = []
  // Deliveries are nobody's request and nobody's transaction: the listeners leave the context of whoever woke them.
  const outside = AsyncLocalStorage.snapshot()
  const wake = () => {
    for (const listener of listeners) outside(listener)
  }
  const row = (fact: Fact, now: Date) => {
    const request = currentRequest()
    const content: OutboxContent = {
      id: factId(now),
      type: fact.type,
      account_id: storable(fact.accountId),
      client_id: storable(fact.clientId),
      actor: storable(fact.actor ?? fact.accountId),
      data: storableData(fact.data ?? {}),
      request_id: storable(request?.requestId),
      ip_hash: request?.ip === undefined ? null : secretBox.mac(request.ip, ADDRESS_MAC),
      user_agent: storable(request?.userAgent?.slice(0, USER_AGENT_LENGTH)),
      occurred_at: now,
      salt: randomBytes(16).toString('base64url'),
    }
    return {
      ...content,
      data: JSON.stringify(content.data),
      sealed_ip: request?.ip === undefined ? null : personal.seal(request.ip, FACT_IP, content.id),
      sealed_user_agent:
        content.user_agent === null ? null : personal.seal(content.user_agent, FACT_USER_AGENT, content.id),
      sealed: fact.sealed === undefined ? null : sealFact(secretBox, content.id, fact.sealed),
      mac: secretBox.mac(canonical(content), OUTBOX_MAC),
    }
  }
  const following = ({ type }: Fact) => reactions.filter(({ types }) => types.includes(type))
  const statement = (facts: readonly Fact[]): Statement => {
    const now = clock.now()
    const bindings = facts.flatMap((fact) => {
      const values = row(fact, now)
      return COLUMNS.map((column) => values[column])
    })
    return { sql: INSERT + facts.map(() => ROW).join(', '), bindings }
  }
  return {
    insert(facts) {
      // A single statement has no transaction in which anything could follow.
      const reacted = facts.find((fact) => following(fact).length > 0)
      if (reacted !== undefined) throw new Error(`${reacted.type} is to be recorded: something follows from it`)
      return statement(facts)
    },
    async record(facts, tx) {
      if (facts.length === 0) return
      const { sql, bindings } = statement(facts)
      await tx.raw(sql, [...bindings])
      for (const fact of facts) for (const { handle } of following(fact)) await handle(fact, tx)
      if (facts.some((fact) => fact.sealed !== undefined)) tx.executionPromise?.then(wake, () => {})
    },
    wake,
    onRecord: (reaction) => {
      reactions.push(reaction)
    },
    onWake: (listener) => {
      listeners.push(listener)
    },
  }
}

/** The id is sealed with the content, so that nobody can move one fact's secrets to another. */
function sealFact(secretBox: Deps['secretBox'], id: string, sealed: NonNullable<Fact['sealed']>): string {
  return secretBox.seal(JSON.stringify([id, sealed]), OUTBOX_SEAL)
}

/** Opens the sealed part of a row. Throws Error when it was changed, moved, or sealed under a key that is gone. */
export function openFact(
  secretBox: { open(sealed: string, purpose: string): string },
  row: { readonly id: string; readonly sealed: string },
): NonNullable<Fact['sealed']> {
  const [id, sealed] = JSON.parse(secretBox.open(row.sealed, OUTBOX_SEAL)) as [string, NonNullable<Fact['sealed']>]
  if (id !== row.id) throw new Error('sealed part belongs to another fact')
  return sealed
}

/** The same sealed part under the newest key. */
export function resealFact(
  secretBox: { open(sealed: string, purpose: string): string; seal(plaintext: string, purpose: string): string },
  sealed: string,
): string {
  return secretBox.seal(secretBox.open(sealed, OUTBOX_SEAL), OUTBOX_SEAL)
}

/** A cell that does not open makes MAC and hash fail, like every change of a row: no user agent is stored like this. */
const UNREADABLE = '\0'

/** Rows as they are stored, with their user agents opened: MAC and hash cover what is sealed. */
export function openFacts<Row extends { readonly id: string | null; readonly sealed_user_agent: string | null }>(
  personal: Pick<PersonalData, 'read'>,
  rows: readonly Row[],
  tx?: Tx,
): Promise<(Row & { readonly user_agent: string | null })[]> {
  return personal.read((open) => {
    const opened = ({ id, sealed_user_agent: sealed }: Row): string | null => {
      try {
        return sealed === null ? null : String(open(sealed, FACT_USER_AGENT, id ?? ''))
      } catch (error) {
        if (error instanceof AppError) return UNREADABLE
        throw error
      }
    }
    return rows.map((row) => ({ ...row, user_agent: opened(row) }))
  }, tx)
}

/** The text that MAC and hash cover: the same before the insert and after any read, whatever order jsonb keeps its keys in. */
export function canonical(row: OutboxContent): string {
  return canonicalJson([
    row.id,
    row.type,
    row.account_id,
    row.client_id,
    row.actor,
    row.data,
    row.request_id,
    row.ip_hash,
    row.user_agent,
    row.occurred_at.getTime(),
    row.salt,
  ])
}

/** The one text of a JSON value (RFC 8785): keys in the order of their UTF-16 code units, no blanks. */
export function canonicalJson(value: Json | undefined): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null)
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  const members = entries.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`
}

/** The hash that stands for a row's content in the ledger's chain, and stays when the content is erased. */
export function contentHash(row: OutboxContent): string {
  return createHash('sha256').update(canonical(row)).digest('base64url')
}

let last = 0
let turn = 0

/** Ids sort by time, and within one process by the order of recording, so that a person's facts are delivered in order. */
function factId(now: Date): string {
  const time = now.getTime()
  turn = time === last ? (turn + 1) % 0x10000 : 0
  last = time
  return hex(time, 12) + hex(turn, 4) + randomBytes(8).toString('hex')
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** PostgreSQL stores neither NUL nor lone surrogates: hostile input must not make the act of stating it fail. */
function storable(text: string | undefined): string | null {
  return text === undefined ? null : text.toWellFormed().replaceAll('\0', '\uFFFD')
}

function storableData(value: Json | undefined): OutboxContent['data'] {
  const walk = (item: unknown): unknown => {
    if (typeof item === 'string') return storable(item)
    if (Array.isArray(item)) return item.map(walk)
    if (item === null || typeof item !== 'object') return item
    return Object.fromEntries(Object.entries(item).map(([key, inner]) => [storable(key), walk(inner)]))
  }
  return walk(JSON.parse(JSON.stringify(value))) as OutboxContent['data']
}
