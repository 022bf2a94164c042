/** How using the link of a notice may fail. */
export const NOTICE_CODES = {
  notice_link_gone: 410,
  notice_email_taken: 409,
} as const

export type NoticeErrorCode = keyof typeof NOTICE_CODES
