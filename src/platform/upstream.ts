/**
 * What every kind of upstream provider (OpenID Connect, plain OAuth 2, SAML 2.0) is to the rest: a browser is sent away, and
 * an answer comes back that names somebody or fails for a known reason. Drivers speak their protocol and check everything
 * that the protocol lets them check; whose account it is, and what of the claims is taken, is not theirs to say.
 */

/** Values that survive JSON: what a driver asks to be kept is sealed in the store between the two legs. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [member: string]: Json }

/** The one callback of a provider, exactly as it is registered there: `<issuer>/upstream/<name>/callback`. */
export interface Departure {
  readonly redirectUri: string
  /** One-time value of ours that comes back with the answer (OAuth `state`, SAML `RelayState`). */
  readonly state: string
  /** BCP 47, for `ui_locales` where the provider takes it. */
  readonly locale?: string | undefined
  /** Canonical e-mail address of whom the page is about. */
  readonly loginHint?: string | undefined
  /** Authentication contexts of the provider, any of which would do; the one that is wanted most comes first. */
  readonly acrValues?: readonly string[] | undefined
  /** The person must show it again now, whatever session the provider has (OIDC `max_age=0`, SAML `ForceAuthn`). */
  readonly fresh?: boolean | undefined
}

export interface Departed {
  /** Where the browser is sent by 303. */
  readonly url: string
  /** What `finish` needs of this departure: nonce, PKCE verifier, request id. Secret; kept sealed, given back once. */
  readonly kept: Json
}

/** What the browser brought to the callback: parameters of the query, or of a form (OAuth `form_post`, SAML POST binding). */
export interface Arrival {
  readonly method: 'GET' | 'POST'
  readonly redirectUri: string
  readonly state: string
  /** Every parameter once; a repeated one is refused before (A30). */
  readonly parameters: { readonly [name: string]: string }
  readonly kept: Json
}

/** Somebody, as the provider knows them. */
export interface UpstreamIdentity {
  /** With `subject` the key of the identity; never an e-mail (A03). OIDC `iss`, SAML EntityID, the template's constant. */
  readonly issuer: string
  /** 1 to 255 characters; null, numbers, "", arrays are refused by the driver, numeric ids of a template become decimal text (A07). */
  readonly subject: string
  /** Claims as the provider says them, bounded in size and depth, of checked sources only (never of the front channel, A04). */
  readonly claims: { readonly [name: string]: Json }
  /**
   * What the browser brought and nobody vouches for (Apple's name, at the first login only): it may stand in a field for the
   * person to read and change, and never is a claim.
   */
  readonly suggested?: { readonly [claim: string]: string } | undefined
  readonly acr?: string | undefined
  readonly amr?: readonly string[] | undefined
  /** When the person last showed it there; milliseconds since the epoch. */
  readonly authenticatedAt?: number | undefined
  /** The provider's session, for its logout (OIDC `sid`, SAML `SessionIndex`). */
  readonly sessionId?: string | undefined
  /** Only where the operator asked for them to be kept. */
  readonly tokens?: UpstreamTokens | undefined
}

/** What its own APIs are asked with for the person. */
export interface UpstreamTokens {
  readonly accessToken: string
  readonly refreshToken?: string | undefined
}

/** A checked logout token (OIDC Back-Channel Logout 1.0 §2.4). */
export interface UpstreamLogout {
  readonly issuer: string
  readonly subject?: string | undefined
  readonly sessionId?: string | undefined
  /** To be taken once until `expiresAt` (both times: milliseconds since the epoch). */
  readonly id: string
  readonly issuedAt: number
  readonly expiresAt: number
}

/** What `genkan upstreams test` prints. */
export interface UpstreamReport {
  readonly issuer: string
  /** Endpoints and abilities found, by name. */
  readonly found: { readonly [name: string]: string }
  /** What will not work, in plain words; empty when nothing is wrong. */
  readonly problems: readonly string[]
  /** When the first of the certificates in use, theirs or ours, expires; milliseconds since the epoch. */
  readonly expiresAt?: number | undefined
}

export interface Upstream {
  /** Whether it can let a person show it again now, and say that they did. Where it cannot, `fresh` ends in `level_unmet`. */
  readonly provesFreshness: boolean
  depart(departure: Departure): Promise<Departed>
  /** @throws {UpstreamError} */
  finish(arrival: Arrival): Promise<UpstreamIdentity>
  /** @throws {UpstreamError} `answer_refused`. Absent where the protocol has no such thing. */
  readLogout?(token: string): Promise<UpstreamLogout>
  /** What the other side is given to trust us: SAML SP metadata as XML, or an OIDC client's public key set. */
  publish?(): Promise<{ readonly type: string; readonly body: string }>
  /** Asks the provider what it is, without a person. */
  inspect(): Promise<UpstreamReport>
}

/**
 * Why nobody was named. `reason` is a constant for logs and tests; what the provider wrote is never shown to people (A97).
 * - `cancelled`: the person went back (`access_denied`, SAML `AuthnFailed` and the like): no failure of ours
 * - `unavailable`: the provider did not answer in time, or with a server error; trying later may help
 * - `answer_refused`: the answer does not hold what it must (signature, audience, nonce, time, `iss`, subject)
 * - `misconfigured`: it refuses us (unknown client, wrong secret, redirect not registered): the operator's to mend
 * - `level_unmet`: it could not authenticate as asked (`unmet_authentication_requirements`, SAML `NoAuthnContext`)
 */
export type UpstreamFailure = 'cancelled' | 'unavailable' | 'answer_refused' | 'misconfigured' | 'level_unmet'

export class UpstreamError extends Error {
  readonly failure: UpstreamFailure
  readonly reason: string
  constructor(failure: UpstreamFailure, reason: string, options?: { readonly cause?: unknown }) {
    super(`upstream ${failure}: ${reason}`, options)
    this.name = 'UpstreamError'
    this.failure = failure
    this.reason = reason
  }
}
