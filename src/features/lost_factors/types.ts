/** What other rooms may know of removals that were asked for because nobody can use the second factors any more. */
import type { Tx } from '../../platform/postgres.ts'

export interface Removal {
  readonly accountId: string
  readonly requestedAt: Date
  /** From then on, for a week, the next sign-in may complete it. */
  readonly dueAt: Date
}

/** One of the support has seen who the owner is, and lets them wait no longer. */
export interface Approval {
  readonly name: string
  readonly at: Date
}

/** Somebody of the support; of their key only the `sha256` is kept. */
export interface Supporter {
  readonly name: string
  readonly keyHash: string
}

/** What became of an approval. */
export type Approved =
  /** The waiting has ended: the owner's next sign-in removes the factors. */
  | 'released'
  /** Somebody else has to approve too, within a day. */
  | 'one_more'
  | 'approved_already'
  /** The removal could be completed without anybody's help. */
  | 'due_already'
  /** The owner has not asked, or it was stopped. */
  | 'none'
  /** No such name, or not their key. */
  | 'refused'

/**
 * Given by the room of a factor: removes all that an account has of it, notes that (`SetFactor`), and states `factor.removed`
 * with the reason `lost`, in the caller's transaction.
 */
export type RemoveFactors = (accountId: string, tx: Tx) => Promise<void>
