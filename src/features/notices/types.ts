/** What other rooms may know of notices: how to tell the owner of an account, and what the links in these mails do. */
import type { AccountView } from '../../interaction/step.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { Notice, NoticeDetails } from '../accounts/types.ts'

/**
 * What the one-time link of a notice does: "this wasn't me" (everything is signed out and a new password is due), back to the
 * earlier address, or the second factors stay.
 */
export const LINK_PURPOSES = ['disown', 'restore_email', 'keep_factors'] as const

export type LinkPurpose = (typeof LINK_PURPOSES)[number]

/** The language of the mail where the account has chosen none, and its look. */
export interface NoticePage {
  readonly locale: string
  readonly brand?: string | undefined
}

/**
 * Tells the owner of an account by mail, in the transaction of what was done: at the account's address (that of the view,
 * which may be the one before a change), and at addresses that it was taken from not long ago.
 */
export type Tell = (
  event: Notice,
  account: AccountView,
  page: NoticePage,
  tx: Tx,
  details?: Omit<NoticeDetails, 'link'>,
) => Promise<void>

export interface NoticeLink {
  readonly accountId: string
  readonly purpose: LinkPurpose
  /** The address that `restore_email` brings back. */
  readonly email: string | undefined
  readonly createdAt: Date
}
