/** What the rooms around may know of a phone that gets codes. */

/** The phone of an account, without its number. */
export interface PhoneFactor {
  /** The last two digits behind dots. */
  readonly masked: string
  readonly confirmedAt: Date
  readonly usedAt: Date | undefined
}

/** Bound to what may show it: one conversation or one session, of one account. */
export interface Holder {
  readonly id: string
  readonly accountId: string
}

/** Who asks for a message, and the language and brand that it speaks. */
export interface Asker {
  readonly ip: string
  readonly locale: string
  readonly brand?: string | undefined
}

export type SmsFailure =
  | {
      readonly code: 'sms_code_invalid' | 'code_used_up' | 'sms_setup_gone' | 'phone_in_use'
      readonly retryAfter?: undefined
    }
  | { readonly code: 'phone_invalid' | 'phone_not_supported'; readonly retryAfter?: undefined }
  | {
      readonly code: 'too_many_requests' | 'sms_unavailable' | 'sms_resend_too_soon'
      readonly retryAfter: number
    }

export type Done = { readonly ok: true } | ({ readonly ok: false } & SmsFailure)

/** The field of the page that a failure is about; a wait is about none. */
export function fieldOf({ code, retryAfter }: SmsFailure): 'phone' | 'code' | undefined {
  if (retryAfter !== undefined) return undefined
  return code === 'sms_code_invalid' || code === 'code_used_up' ? 'code' : 'phone'
}
