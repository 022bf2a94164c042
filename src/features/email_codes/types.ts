/** What other rooms may know of codes by mail. */

/** One mailbox, asked from one conversation, for one purpose: what a code is bound to (A23, A27). */
export interface CodeTarget {
  readonly purpose: 'verify_email' | 'sign_in' | 'recover' | 'change_email'
  /** The conversation (or the session) that asks. */
  readonly cid: string
  /** Canonical address. */
  readonly to: string
  /**
   * What else must stay as it was until the code is used, for instance the account and the time of its password: a code
   * from before a change is dead after it (A24).
   */
  readonly bound: string
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

export type Checked = 'right' | 'wrong' | 'used_up' | { readonly retryAfter: number }

/** A page's answer to a code that did not work, or that is right for nobody. */
export function codeFailure(checked: Checked) {
  if (typeof checked === 'object') {
    return { ok: false, code: 'too_many_requests', retryAfter: checked.retryAfter } as const
  }
  return { ok: false, code: checked === 'used_up' ? 'code_used_up' : 'code_invalid', field: 'code' } as const
}

/** How long a code works, counted from its sending. */
export const CODE_MINUTES = 10
