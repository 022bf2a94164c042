/** What other rooms may know about clients. */
import type { z } from 'zod'
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

/** Cache topic of the invalidation channel. */
export const CLIENTS_TOPIC = 'client'

/** The account pages' own client (ARCHITECTURE.md §6): declared by the provider itself, never by an operator. */
export const ACCOUNT_CLIENT_ID = 'genkan-account'
