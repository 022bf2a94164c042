/** What other rooms may know of typed identifiers. */

/** Who typed, and where. */
export interface TypedBy {
  readonly ip: string
  readonly clientId?: string | undefined
  /** Whoever is signed in. */
  readonly accountId?: string | undefined
}

/** The canonical form of an address that somebody typed; undefined when it is none that we mail to. */
export type ReadEmail = (typed: string, by: TypedBy) => Promise<string | undefined>
