/** What other rooms may know of text messages. */
import type { PhoneNumber } from '../../platform/phone_numbers.ts'

/** What messages may cost. */
export interface SpendingRules {
  /** Countries (ISO 3166-1 alpha-2) that messages go to; an empty list refuses all. */
  readonly countries: 'any' | readonly string[]
  /** Messages to one prefix, and to one country, in an hour and in a day. */
  readonly budget: {
    readonly prefixPerHour: number
    readonly prefixPerDay: number
    readonly countryPerHour: number
    readonly countryPerDay: number
  }
  readonly conversion: {
    /** After so many messages to a prefix it is looked at how many of their codes were used. */
    readonly sample: number
    /** The share that must have been; else nothing is sent to the prefix for an hour. */
    readonly least: number
  }
}

export type PhoneFailure = 'phone_invalid' | 'phone_not_supported'

/** A number that messages are sent to, or why it is none. */
export type ReadPhone = PhoneNumber | { readonly code: PhoneFailure }

/** Who causes a message. */
export interface Cause {
  readonly accountId: string
  readonly ip: string
}

/** The text of a message is `sms.code` in the person's language. */
export interface CodeMessage {
  readonly accountId: string
  readonly to: string
  readonly code: string
  readonly locale: string
  readonly brand: string | undefined
  /** Names the code for whoever is asked whether it is still wanted. */
  readonly reference: string
}

/** What is counted of messages: asked for, held back (by the person's own limits, or by the house's), and what became of them. */
export type TextEvent = 'requested' | 'limited' | 'refused' | 'stopped' | 'sent' | 'failed' | 'used'
