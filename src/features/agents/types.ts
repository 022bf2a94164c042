/** What other rooms may know of agents: clients that act for people by themselves (metadata `agent`). */

/** A right that an agent was given and when it last used it. */
export interface AgentUse {
  readonly accountId: string
  readonly clientId: string
  readonly usedAt: Date
}
