/** What other rooms may know of the browsers that an account was used in. */

export interface Device {
  readonly id: string
  readonly accountId: string
  readonly tokenHash: string
  /** In words, from the user agent; empty where it tells nothing. */
  readonly browser: string
  readonly system: string
  readonly firstSeenAt: Date
  /** The last sign-in. */
  readonly lastSeenAt: Date
  /** Until then the second factor is not asked for here. */
  readonly trustedUntil: Date | undefined
}

/** A sign-in in a browser. */
export interface Sighting {
  readonly accountId: string
  readonly tokenHash: string
  readonly browser: string
  readonly system: string
  readonly at: Date
}

/** For how long a browser is remembered when its owner asks for it. */
export const TRUST_DAYS = 30

/** The browser in words that need no language. */
export function nameOf({ browser, system }: { readonly browser: string; readonly system: string }): string {
  return [browser, system].filter((part) => part !== '').join(', ')
}
