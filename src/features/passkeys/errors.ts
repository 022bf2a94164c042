/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const PASSKEYS_CODES = {
  /** One code for whatever was wrong: a person can only try again, an attacker learns nothing. */
  passkey_failed: 400,
  passkey_setup_failed: 400,
  /** The authenticator holds a passkey that is an account's already. */
  passkey_known: 409,
  passkey_too_many: 409,
  /** Without it nobody could sign in to the account any more. */
  passkey_last_way_in: 409,
  /** The account must have a second factor, and this is its last. */
  last_factor: 409,
} as const
