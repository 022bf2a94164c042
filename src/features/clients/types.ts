/** What other rooms may know about clients. */
import type { z } from 'zod'
import type { Fact } from '../../events.ts'
import { type Changes, changesOf, type Values } from '../../platform/changes.ts'
import { lacking } from '../../platform/client_protocol.ts'
import type { Known } from './rules.ts'
import type { metadataSchema } from './schema.ts'

/** Checked metadata: OpenID Connect Dynamic Registration names, plus ours. Deep frozen in records. */
export type ClientMetadata = Readonly<z.output<typeof metadataSchema>>

/** Who may change a client: the configuration file or the command line. */
export type Managed = 'file' | 'command'

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
 * Drops scopes, resource servers and default levels that have left the configuration: the engine would refuse the whole
 * client for one. A `minimum_acr` stays: of a level that is not there any more the highest one takes the place.
 * @returns undefined for a client that this server is no longer set up to serve
 */
export function limitTo<R extends { readonly metadata: ClientMetadata }>(record: R, known: Known): R | undefined {
  const { metadata } = record
  if (lacking(metadata, known) !== undefined) return undefined
  const scopes = metadata.scope.split(' ').filter((name) => known.scopes.has(name))
  const resources = metadata.resources.filter((name) => known.resources.has(name))
  const acrs = metadata.default_acr_values?.filter((name) => known.acrs.has(name))
  const isSame =
    scopes.join(' ') === metadata.scope &&
    resources.length === metadata.resources.length &&
    acrs?.length === metadata.default_acr_values?.length
  if (isSame) return record
  // An empty scope would mean "unlimited" to the engine.
  const limited = {
    ...metadata,
    scope: scopes.join(' ') || 'openid',
    resources,
    ...(acrs && { default_acr_values: acrs }),
  }
  return Object.freeze({ ...record, metadata: Object.freeze(limited) })
}
