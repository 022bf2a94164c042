/** Expected failures of the account pages; texts are `error.<code>`. */
export const ACCOUNT_PAGES_CODES = [
  'profile_invalid',
  'email_invalid',
  'email_same',
  'email_taken',
  'email_change_gone',
  'confirmation_wrong',
] as const

export type AccountPagesCode = (typeof ACCOUNT_PAGES_CODES)[number]
