/** What other rooms may know of approvals: what a client asks a person for while the person is elsewhere, and the answer. */
import type { Agreement } from '../consents/types.ts'

/** The request as the engine knows it, and what the client shows the person to compare: sealed, and bound to the row. */
export const SEALED_REQUEST = { table: 'approvals', key: 'id', column: 'sealed_request' } as const

export type Decision = 'granted' | 'denied'

/** What a client asks for (CIBA Core 1.0 §7.1). */
export interface Asked {
  /** Who is named; it may be nobody. */
  readonly accountId: string
  readonly clientId: string
  /** As the page and the mail call the client. */
  readonly clientName: string
  readonly brand?: string | undefined
  /** The bearer value by which the client fetches the answer. */
  readonly authReqId: string
  readonly agreed: Agreement
  readonly bindingMessage: string | undefined
  /** The level that the answer must be given at. */
  readonly acr: string
  /** The account must have a second factor. */
  readonly secondFactor: boolean
  readonly expiresAt: Date
}

/** One request that waits, or waited, for its answer. */
export interface Approval {
  readonly id: string
  /** Undefined for a request about nobody. */
  readonly accountId: string | undefined
  readonly clientId: string
  readonly authReqId: string
  readonly agreed: Agreement
  readonly bindingMessage: string | undefined
  readonly acr: string
  readonly secondFactor: boolean
  readonly askedAt: Date
  readonly expiresAt: Date
  readonly decision: Decision | undefined
  /** How who said yes had proven themselves. */
  readonly proof: Proven | undefined
  /** When the engine had the answer. */
  readonly toldAt: Date | undefined
}

/** The sign-in by which somebody said yes. */
export interface Proven {
  readonly sessionUid?: string | undefined
  readonly acr: string | undefined
  readonly amr: readonly string[]
  /** Seconds since the epoch. */
  readonly authTime: number
}

/** What the engine is told. */
export type Answer =
  | { readonly granted: false; readonly authReqId: string }
  | {
      readonly granted: true
      readonly authReqId: string
      readonly accountId: string
      readonly agreed: Agreement
      readonly proof: Proven
      /** States that the grant came from the person's sign-in; false when that has ended meanwhile. */
      readonly link: (grantId: string, sid: string) => Promise<boolean>
    }

/** Who decides; the account's own proof stands beside an Allow. */
export interface By {
  readonly accountId: string
  readonly proof: Proven
}

/**
 * - `gone`: it was decided before, in another tab, or its time is over, or it never was this account's
 * - `level`: what the client asks for needs a stronger sign-in than this account can make
 */
export type Decided = 'done' | 'gone' | 'level'
