/** What other rooms may know of removals that were asked for because nobody can use the second factors any more. */
import type { Tx } from '../../platform/postgres.ts'

export interface Removal {
  readonly accountId: string
  readonly requestedAt: Date
  /** From then on, for a week, the next sign-in may complete it. */
  readonly dueAt: Date
}

/**
 * Given by the room of a factor: removes all that an account has of it, notes that (`SetFactor`), and states `factor.removed`
 * with the reason `lost`, in the caller's transaction.
 */
export type RemoveFactors = (accountId: string, tx: Tx) => Promise<void>
