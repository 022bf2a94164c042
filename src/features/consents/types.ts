/** What other rooms may know of consents. */
import type { Detail } from '../../platform/authorization_details.ts'

/** Scopes of a resource server by its identifier (RFC 8707). */
export type ResourceScopes = { readonly [resource: string]: readonly string[] }

/** What an account agreed to let a client have. */
export interface Agreement {
  /** OpenID Connect scopes, `offline_access` among them. */
  readonly scopes: readonly string[]
  /** Single claims asked by the `claims` parameter (OIDC Core §5.5). */
  readonly claims: readonly string[]
  readonly resources: ResourceScopes
}

/** What was agreed to in detail (RFC 9396): an object of the request, in the words that the page had. */
export interface AgreedDetail {
  readonly id: string
  readonly type: string
  readonly digest: string
  readonly detail: Detail
  readonly text: string
  readonly locale: string
  readonly expiresAt: Date | undefined
}

/** The same as it was stored. */
export interface StoredDetail extends AgreedDetail {
  readonly clientId: string
  readonly grantId: string | undefined
  readonly grantedAt: Date
  readonly revokedAt: Date | undefined
}

/** What of it is sealed: the object and its words name people and accounts. */
export const SEALED_DETAIL = { table: 'consent_details', key: 'id', column: 'sealed_detail' } as const

/** The one live agreement of an account with a client. */
export interface Consent extends Agreement {
  readonly accountId: string
  readonly clientId: string
  readonly grantedAt: Date
  readonly updatedAt: Date
}

/** One permission as a page shows it: the words are the message `scope.<name>`, else the name itself. */
export interface Permission {
  readonly name: string
  /** Not allowed before. */
  readonly isNew: boolean
  /** The resource server's identifier; empty for OpenID Connect's own scopes and claims. */
  readonly resource: string
  /** `name` is a claim that this provider has verified. */
  readonly verifiedBy?: string | undefined
}
