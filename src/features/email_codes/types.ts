/** What other rooms may know of codes by mail. */
import type { Checked, OneTimeCodeTarget } from '../../platform/one_time_codes.ts'

/** One mailbox (`to` is its canonical address), asked from one conversation, for one purpose. */
export interface CodeTarget extends OneTimeCodeTarget {
  readonly purpose: 'verify_email' | 'sign_in' | 'recover' | 'change_email'
}

/** A code to be sent. */
export interface CodeRequest extends CodeTarget {
  readonly ip: string
  readonly locale: string
  readonly accountId?: string | undefined
  /** The brand of the client that is signed in to; the default one without. */
  readonly brand?: string | undefined
  /**
   * The mail. `code` and `minutes` are added to the values of a mail that carries the code. `to: null` sends nothing: it
   * hides whether there is an account at the cost of an empty errand.
   */
  readonly mail: {
    readonly to: string | null
    readonly template: string
    readonly carriesCode: boolean
    /** Values for the mail, given the code. */
    values(code: string): { readonly [name: string]: string }
  }
}

/** A page's answer to a code that did not work, or that is right for nobody. */
export function codeFailure(checked: Checked) {
  if (typeof checked === 'object') {
    return { ok: false, code: 'too_many_requests', retryAfter: checked.retryAfter } as const
  }
  return { ok: false, code: checked === 'used_up' ? 'code_used_up' : 'code_invalid', field: 'code' } as const
}
