/** What other rooms may know of notices: how to tell the owner of an account, and what the links in these mails do. */
import type { Fact, Json } from '../../events.ts'
import type { AccountView } from '../../interaction/step.ts'
import { momentIn } from '../../platform/locales.ts'
import type { Tx } from '../../platform/postgres.ts'

/**
 * What the one-time link of a notice does: "this wasn't me" (everything is signed out and a new password is due), back to the
 * earlier address, or the second factors stay.
 */
export const LINK_PURPOSES = ['disown', 'restore_email', 'keep_factors'] as const

/** The address that an account was taken from. */
export const SEALED_EMAIL = { table: 'notice_links', key: 'token_hash', column: 'sealed_email' } as const

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

/** What the owner of an account is told of; the texts are `mail.security_notice.<event>`. */
export type Notice =
  | 'password_changed'
  | 'password_set'
  | 'email_changed'
  | 'email_restored'
  | 'account_deleted'
  | 'recovered'
  | 'disowned'
  | 'new_device'
  | 'totp_added'
  | 'totp_updated'
  | 'totp_removed'
  | 'passkey_added'
  | 'passkey_removed'
  | 'phone_added'
  | 'phone_updated'
  | 'phone_removed'
  | 'recovery_codes_created'
  | 'recovery_code_used'
  | 'password_breached'
  | 'identity_linked'
  | 'identity_removed'
  | 'identified'
  | 'break_glass_used'
  | 'suspicious_tries'
  | 'approval_unexpected'
  | 'removal_requested'
  | 'removal_near'
  | 'removal_cancelled'
  | 'removal_done'

/** What a notice says beside its event. */
export interface NoticeDetails {
  /** When it happened; now without. */
  readonly at?: Date | undefined
  /** The browser in words. */
  readonly device?: string | undefined
  /** The factor that it is about, as the levels name it. */
  readonly method?: string | undefined
  /** The provider that it is about, as pages call it. */
  readonly upstream?: string | undefined
  /** How many recovery codes there still are. */
  readonly left?: number | undefined
  /** When what it announces will be done. */
  readonly due?: Date | undefined
  /** The one-time link against it. */
  readonly link?: { readonly purpose: string; readonly url: string } | undefined
}

/** A mail that tells an address what was done; the address itself is sealed and erased once the mail is sent. */
export function securityNotice(
  { clock, issuer, home }: { readonly clock: { now(): Date }; readonly issuer: string; readonly home: string },
  event: Notice,
  account: AccountView,
  page: NoticePage,
  { at = clock.now(), device, method, upstream, left, due, link }: NoticeDetails = {},
): Fact {
  const locale = account.locale ?? page.locale
  const url = event === 'account_deleted' ? {} : { url: `${issuer}${home}` }
  const template = 'accounts/security_notice'
  const values: { [key: string]: Json } = {
    ...{ event, at: momentIn(locale, at), ...url },
    ...(device ? { device } : {}),
    ...(method === undefined ? {} : { method }),
    ...(upstream === undefined ? {} : { upstream }),
    ...(left === undefined ? {} : { left }),
    ...(due === undefined ? {} : { due: momentIn(locale, due) }),
    ...(link === undefined ? {} : { link: { ...link } }),
  }
  const { accountId, email: to } = account
  return {
    type: 'mail.requested',
    accountId,
    data: { template },
    sealed: { to, template, locale, values, brand: page.brand },
  }
}

export interface NoticeLink {
  readonly accountId: string
  readonly purpose: LinkPurpose
  /** The address that `restore_email` brings back. */
  readonly email: string | undefined
  readonly createdAt: Date
}
