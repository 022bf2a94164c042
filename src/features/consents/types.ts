/** What other rooms may know of consents. */

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
