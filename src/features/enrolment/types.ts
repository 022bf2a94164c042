/** What other rooms may know of what an account has set up. */
import type { Tx } from '../../platform/postgres.ts'

export interface Enrolment {
  /** Methods beside password and mailbox, as the levels name them. */
  readonly factors: readonly string[]
  /** An operator demands a second factor. */
  readonly isRequired: boolean
}

/**
 * To be called by the room of a method in the transaction that makes its first factor of an account or takes its last one:
 * sign-ins read only this note. Returns what the account has now; undefined when there is no such account.
 */
export type SetFactor = (
  accountId: string,
  method: string,
  isSet: boolean,
  tx: Tx,
) => Promise<readonly string[] | undefined>
