/** What a form has to show before it is looked at, where a limit is warm. */

/** A proof of work, as the form shows it; with `captcha`, the widget of a vendor in its place. */
export interface Challenge {
  readonly puzzle: string
  readonly rounds: number
  readonly bits: number
  readonly captcha?: object | undefined
  /** For whoever runs no script. */
  readonly ticket?: string | undefined
  /** Seconds until the ticket is good; without one, until there may be another. 0: none was asked for. */
  readonly wait: number
}

/** Whether a failure asks for a proof, before anything else of the form was looked at. */
export function asksForProof(code: string | undefined): boolean {
  return code === 'challenge' || code === 'captcha' || code === 'captcha_refused'
}
