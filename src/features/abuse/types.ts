/** What other rooms may know of the defence against guessing and flooding. */
import type { Challenge } from '../../platform/challenge.ts'

export type Flow = 'sign_in' | 'register' | 'recover'

/** Somebody who tries something, before anything is proven. */
export interface Attempt {
  readonly flow: Flow
  /** Canonical: all spellings share its limits (A33). */
  readonly identifier: string
  readonly ip: string
  readonly clientId?: string | undefined
  /** What the page's hidden field brought: a solved puzzle or CAPTCHA, or a ticket. */
  readonly proof?: string | undefined
  readonly deviceToken?: string | undefined
  /** Whoever is signed in is asked for no proof of work. */
  readonly signedIn?: true | undefined
}

export type Admission = Admitted | Refused

export interface Admitted {
  readonly ok: true
  /** Whether the next try will want a proof. */
  readonly warm: boolean
  /** It came in as a device that the account knows, on a budget of its own. */
  readonly knownDevice: boolean
}

/** Either to wait, or to show a proof. */
export type Refused =
  | { readonly ok: false; readonly retryAfter: number; readonly challenge?: undefined }
  | { readonly ok: false; readonly challenge: Challenge; readonly code: ProofCode; readonly retryAfter?: undefined }

/** What is to be done: a puzzle, a CAPTCHA, or a CAPTCHA once more since its vendor refused the answer. */
export type ProofCode = 'challenge' | 'captcha' | 'captcha_refused'

/** Whether a browser has signed in to the account of an identifier before. Asked only while strangers are held back. */
export type IsKnownDevice = (identifier: string, deviceToken: string) => Promise<boolean>

/** The guard of sign-ins by password. */
export interface SignInGuard {
  /** Counts a try before anything is looked at, so that of a thousand at once only as many are verified as may be (A34). */
  admit(attempt: Attempt): Promise<Admission>
  /** Counts a failure where many people may come from: address, subnet, client, everywhere. Returns the next challenge. */
  failed(attempt: Attempt, admitted: Admitted): Promise<Challenge | undefined>
  /** Forgets earlier tries at this identifier. */
  passed(attempt: Attempt, admitted: Admitted): Promise<void>
  /** One try an hour, for identifiers that have been guessed at too often. */
  admitSlowly(attempt: Attempt, admitted: Admitted): Promise<Admission>
}

/** The guard of what is not verified but costs: registrations, recoveries. */
export interface RequestGuard {
  admit(attempt: Attempt): Promise<Admission>
  /** What a form that comes back for another reason has to show the next time, while a limit is warm. */
  challengeAgain(attempt: Attempt, admitted: Admitted): Promise<Challenge | undefined>
}

/** How a step answers a refusal. */
export function failureOf(refused: Refused) {
  const { challenge } = refused
  if (challenge !== undefined) return { ok: false, code: refused.code, challenge } as const
  return { ok: false, code: 'too_many_requests', retryAfter: refused.retryAfter } as const
}
