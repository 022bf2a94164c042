/** The feature's closed list of expected failures, with the status of the page that shows them. */
export const TEXT_MESSAGE_CODES = {
  phone_invalid: 400,
  /** A country that is not served, or no mobile number. */
  phone_not_supported: 400,
  /** A budget is used up or a prefix is stopped: nobody's own doing, so another way is what helps. */
  sms_unavailable: 429,
} as const

export type TextMessageCode = keyof typeof TEXT_MESSAGE_CODES
