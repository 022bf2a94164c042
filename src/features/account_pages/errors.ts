/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const ACCOUNT_PAGES_CODES = {
  profile_invalid: 400,
  current_password_wrong: 400,
  email_same: 400,
  /** Only told to whoever has proven the mailbox. */
  email_taken: 400,
  email_change_gone: 400,
  confirmation_wrong: 400,
  /** The domain of the new address has a provider, and no other way. */
  email_of_realm: 400,
  /** Password and address are the domain's, not the account's, to change. */
  managed_by_realm: 403,
} as const
