/** What other rooms may know of agents: clients that act for people by themselves (metadata `agent`). */

/** A right that an agent was given and when it last used it. */
export interface AgentUse {
  readonly accountId: string
  readonly clientId: string
  readonly usedAt: Date
}

/** One exchange of a token (RFC 8693) by which agents act through a service. */
export interface Delegation {
  readonly accountId: string
  /** The client that the person let act, on whose grant the token hangs. */
  readonly subjectClientId: string
  /** Agents that act now, to be listed. */
  readonly agents: readonly string[]
  /** Everybody that acts, or has acted, in the chain: none may have been taken back. */
  readonly acting: readonly string[]
  readonly resource: string
  readonly scopes: readonly string[]
}

/** What an agent does at one resource server through one service. */
export interface StoredDelegation {
  readonly actorClientId: string
  readonly subjectClientId: string
  readonly resource: string
  /** All that it was given so far. */
  readonly scopes: readonly string[]
  readonly firstUsedAt: Date
  readonly lastUsedAt: Date
  readonly revokedAt: Date | undefined
}

/** Which agent, through which service: what a person takes back, for all resource servers, and allows again. */
export interface DelegationKey {
  readonly accountId: string
  readonly actorClientId: string
  readonly subjectClientId: string
}
