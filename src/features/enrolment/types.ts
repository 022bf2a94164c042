/** What other rooms may know of what an account has set up. */
import type { AccountView } from '../../interaction/step.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Notice } from '../notices/types.ts'
import type { AfterCommit } from '../sessions/types.ts'

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

/** A change of what an account signs in with, by its owner. */
export interface FactorChange {
  readonly account: AccountView
  readonly method: string
  readonly change: 'added' | 'updated' | 'removed'
  /** What the owner's mailbox is told. */
  readonly notice: Notice
  readonly page: { readonly locale: string; readonly brand?: string | undefined }
  /** Whether the account keeps another one of the method; asked under the lock of the account. */
  readonly remains?: (() => Promise<boolean>) | undefined
  /** The session in which it is done, which lives on. */
  readonly sessionUid: string | undefined
}

/**
 * All that a change of a factor drags along, in the transaction of the change: the note, the fact, the notice, and the end
 * of all other sessions and their refresh tokens (A54). The returned function is for after the commit. It comes first and
 * locks the account: nothing was changed when this is the last second factor of one that must have one (R15f), or when the
 * factor is not there any more.
 */
export type ChangeFactor = (change: FactorChange, tx: Tx) => Promise<AfterCommit | 'last_factor' | 'absent'>

/** A method that can be set up in the conversation, and the step that does it. */
export interface Setup {
  readonly method: string
  readonly step: string
  /** Message key. */
  readonly label: string
}
