/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const IDENTITIES_CODES = {
  /** It is another account's. */
  identity_taken: 409,
  identity_too_many: 409,
  /** Without it nobody could sign in to the account any more. */
  identity_last_way_in: 409,
} as const
