/** What the account pages know of the person in front of them. */
import type { AccountView } from '../../interaction/step.ts'

export interface SignedIn {
  readonly accountId: string
  readonly sessionUid: string
  /** When the person last proved who they are. */
  readonly authTime: Date
  /** The level that they reached then. */
  readonly acr: string | undefined
  readonly account: AccountView
}

/** What the provider's own code redemption tells. */
export interface RedeemedCode {
  readonly accountId: string
  readonly sessionUid: string
  /** Seconds since the epoch. */
  readonly authTime: number
  readonly acr: string | undefined
  readonly nonce?: string | undefined
}
