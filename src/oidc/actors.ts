/** Who acts for whom in a token that was exchanged (RFC 8693 §4.1). Commands read this file, and none needs the engine. */

/** Who acts, and for whom that one acted (RFC 8693 §4.1). */
export interface Act {
  readonly sub: string
  readonly act?: Act
}

/** More than a person can keep apart in an audit, and than services call each other in a request. */
const MOST_ACTORS = 4

/** The chain with a new actor in front; undefined when it would be too long. Who acts already is not named twice. */
export function actingNow(actor: string, before: Act | undefined): Act | undefined {
  if (before?.sub === actor) return before
  return actorsIn(before).length >= MOST_ACTORS ? undefined : { sub: actor, ...(before && { act: before }) }
}

/** Everybody in a chain, who acts now first. */
export function actorsIn(act: Act | undefined): string[] {
  return act === undefined ? [] : [act.sub, ...actorsIn(act.act)]
}

/** An exchange by which agents act through a service, without a consent of their own. */
export interface Delegation {
  readonly accountId: string
  /** The client of the root: the service that the person knows, however long the chain. */
  readonly subjectClientId: string
  /** Agents that act now. */
  readonly agents: readonly string[]
  /** Everybody that acts, or has acted before. */
  readonly acting: readonly string[]
  readonly resource: string
  readonly scopes: readonly string[]
}

/** Whether a person took back that one of these acts for them through a service: the client of a root. */
export type IsTakenBack = (accountId: string, through: string, acting: readonly string[]) => Promise<boolean>

/** Everybody that has to do with a token that was exchanged: the chain of actors, and the client that holds it. */
export function actingIn(act: unknown, clientId: string): string[] {
  return [...new Set([...actorsIn(act as Act | undefined), clientId])]
}
