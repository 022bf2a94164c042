/** What other rooms may know about clients. */
import type { z } from 'zod'
import type { Fact } from '../../events.ts'
import { type Changes, changesOf, type Values } from '../../platform/changes.ts'
import { lacking } from '../../platform/client_protocol.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Known } from './rules.ts'
import type { metadataSchema } from './schema.ts'

/** Checked metadata: OpenID Connect Dynamic Registration names, plus ours. Deep frozen in records. */
export type ClientMetadata = Readonly<z.output<typeof metadataSchema>>

/** Who may change a client: the configuration file, the command line, or the client itself, which registered (RFC 7592). */
export type Managed = 'file' | 'command' | 'registered'

/** What the room of registrations does to clients that registered themselves, in its own transactions. */
export interface RegisteredClients {
  /** Metadata with defaults filled in. @throws AppError invalid_client_metadata with every problem, one a line */
  check(given: { readonly client_id: string; readonly [member: string]: unknown }): ClientMetadata
  /** The client, when it is one that registered itself. */
  find(clientId: string, tx?: Tx): Promise<ClientRecord | undefined>
  /** Returns its secret, when it has one: the only time that it is seen. */
  insert(metadata: ClientMetadata, expiresAt: Date | undefined, tx: Tx): Promise<string | undefined>
  /** Puts the metadata in the place of the record's; `renews` (or a new need of one) replaces its secrets by a new one. */
  replace(change: Replacement, tx: Tx): Promise<string | undefined>
  remove(record: ClientRecord, tx: Tx): Promise<void>
  /** Disables one whose time is over. */
  expire(clientId: string, tx: Tx): Promise<void>
  /** Tells all instances that these have changed, after the commit. */
  announce(clientIds: readonly string[]): Promise<void>
}

export interface Replacement {
  readonly record: ClientRecord
  readonly metadata: ClientMetadata
  readonly renews: boolean
  /** Of a new secret. */
  readonly expiresAt: Date | undefined
}

/** A stored secret: never the secret itself. */
export interface ClientSecret {
  readonly id: string
  /** SHA-256, base64url. Enough, because the secret is random and long (a password hash would only cost CPU). */
  readonly hash: string
  readonly managed: Managed
  readonly createdAt: Date
  readonly expiresAt?: Date | undefined
  /** Precise to the half minute in which uses are written. */
  readonly lastUsedAt?: Date | undefined
}

export interface ClientRecord {
  readonly clientId: string
  readonly metadata: ClientMetadata
  readonly managed: Managed
  readonly secrets: readonly ClientSecret[]
  readonly disabledAt?: Date | undefined
  readonly createdAt: Date
  readonly updatedAt: Date
  /** When an agent was last given a token, precise to the half minute. */
  readonly lastUsedAt?: Date | undefined
}

const DAY_MS = 86_400_000

/** Whether it is an agent that has asked for nothing for too long, since it was last used or changed. */
function isIdle({ metadata: { agent }, updatedAt, lastUsedAt = updatedAt }: ClientRecord, now: Date): boolean {
  const days = agent?.idle_days
  return days !== undefined && Math.max(+updatedAt, +lastUsedAt) + days * DAY_MS <= +now
}

/**
 * Whether it may act now. An agent whose time is over, or that has lapsed, is not there any more, like a disabled client. A use
 * is written later, and is no change that a cache would take up: it is read before an agent is given up.
 */
export async function isThere(
  record: ClientRecord,
  now: Date,
  reread: (id: string) => Promise<ClientRecord | undefined>,
): Promise<boolean> {
  const { agent } = record.metadata
  if (agent !== undefined && new Date(agent.expires_at) <= now) return false
  if (!isIdle(record, now)) return true
  const present = await reread(record.clientId)
  return present !== undefined && !isIdle(present, now)
}

/** A client that was only used has not changed, and keeps its object in the cache. */
export const withoutUses = (name: string, value: unknown) => (name === 'lastUsedAt' ? undefined : value)

export function liveSecrets(record: ClientRecord, now: Date): ClientSecret[] {
  return record.secrets.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now)
}

/** Those that have ended, and are known as such for some days. */
export function endedSecrets(record: ClientRecord | undefined, now: Date): ClientSecret[] {
  return record?.secrets.filter(({ expiresAt }) => expiresAt !== undefined && expiresAt <= now) ?? []
}

interface SecretMaking {
  readonly newId: () => string
  readonly sha256: (value: string) => string
  readonly clock: { now(): Date }
}

export function newSecret(deps: SecretMaking, secret: string, managed: Managed): ClientSecret {
  return { id: deps.newId(), hash: deps.sha256(secret), managed, createdAt: deps.clock.now() }
}

/** Cache topic of the invalidation channel. */
export const CLIENTS_TOPIC = 'client'

/** The account pages' own client (ARCHITECTURE.md §6): declared by the provider itself, never by an operator. */
export const ACCOUNT_CLIENT_ID = 'genkan-account'

/** The facts that this room states, with what they say of the change. */
export function fact(type: Fact['type'], clientId: string, actor: string, data?: Fact['data']): Fact {
  return { type, clientId, actor, data }
}

interface Macs {
  mac(value: string): string
}

/** Metadata is stated in clear, but for the addresses of people. */
export function changed({ mac }: Macs, before: Values, after: Values): { changes: Changes } {
  return { changes: changesOf(before, after, { mac, has: (member) => member === 'contacts' }) }
}

export function created(deps: Macs, metadata: ClientMetadata, actor: string): Fact {
  return fact('client.created', metadata.client_id, actor, changed(deps, {}, metadata))
}

export function updated(deps: Macs, before: ClientMetadata, after: ClientMetadata, actor: string): Fact {
  return fact('client.updated', after.client_id, actor, changed(deps, before, after))
}

export function switched(deps: Macs, clientId: string, disabled: boolean, actor: string, reason?: string): Fact {
  const data = { ...changed(deps, { disabled: !disabled }, { disabled }), reason }
  return fact(disabled ? 'client.disabled' : 'client.enabled', clientId, actor, data)
}

/**
 * Drops scopes, resource servers, types of details and default levels that have left the configuration: the engine would refuse the whole
 * client for one. A `minimum_acr` stays: of a level that is not there any more the highest one takes the place.
 * @returns undefined for a client that this server is no longer set up to serve
 */
export function limitTo<R extends { readonly metadata: ClientMetadata }>(record: R, known: Known): R | undefined {
  const { metadata } = record
  if (lacking(metadata, known) !== undefined) return undefined
  const scopes = metadata.scope.split(' ').filter((name) => known.scopes.has(name))
  const resources = metadata.resources.filter((name) => known.resources.has(name))
  const acrs = metadata.default_acr_values?.filter((name) => known.acrs.has(name))
  const details = metadata.authorization_details_types?.filter((name) => known.detailTypes?.has(name))
  const isSame =
    scopes.join(' ') === metadata.scope &&
    resources.length === metadata.resources.length &&
    acrs?.length === metadata.default_acr_values?.length &&
    details?.length === metadata.authorization_details_types?.length
  if (isSame) return record
  // An empty scope would mean "unlimited" to the engine.
  const limited = {
    ...metadata,
    scope: scopes.join(' ') || 'openid',
    resources,
    ...(acrs && { default_acr_values: acrs }),
    ...(details && { authorization_details_types: details }),
  }
  return Object.freeze({ ...record, metadata: Object.freeze(limited) })
}
