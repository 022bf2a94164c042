/**
 * What OpenID Connect and plain OAuth 2 have in common: requests to a provider that may be slow, dead or hostile, the answer
 * that a browser brings (RFC 6749 §4.1.2, RFC 9207), and the exchange of its code for tokens.
 */
import { createBreaker } from './breaker.ts'
import type { Clock } from './clock.ts'
import { type HttpClient, OutboundError } from './http_client.ts'
import { type Arrival, UpstreamError, type UpstreamFailure } from './upstream.ts'

export interface UpstreamDeps {
  /** The guarded client: addresses checked, no redirects followed, time and size bounded. */
  readonly http: HttpClient
  readonly clock: Clock
}

export interface UpstreamRequests {
  /** Like the guarded client's, of one provider: what it fails with is an `UpstreamError`. */
  fetch(url: string | URL, init?: RequestInit): Promise<Response>
  /** A whole leg within the time that a person waits; at once `unavailable` while the provider is known to be down. */
  leg<T>(work: () => Promise<T>): Promise<T>
}

/** What a person waits for a leg of several requests; each has its own limit besides. */
const LEG_MS = 4500

export function createUpstreamRequests({ http, clock }: UpstreamDeps): UpstreamRequests {
  const breaker = createBreaker({
    clock,
    counts: (error) => error instanceof UpstreamError && error.failure === 'unavailable',
    refusal: () => new UpstreamError('unavailable', 'known_to_be_down'),
  })
  return {
    fetch: (url, init) =>
      breaker.run(async () => {
        const response = await http.fetch(url, init).catch((error: unknown) => {
          throw unreached(error)
        })
        // 429 is about everybody who comes through us, not about this person.
        if (response.status >= 500 || response.status === 429) throw new UpstreamError('unavailable', 'server_error')
        if (response.status >= 300 && response.status < 400) throw new UpstreamError('misconfigured', 'redirected')
        return response
      }),
    async leg(work) {
      breaker.check()
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new UpstreamError('unavailable', 'timed_out')), LEG_MS)
      })
      try {
        return await Promise.race([work(), late])
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

function unreached(cause: unknown): UpstreamError {
  const code = cause instanceof OutboundError ? cause.code : 'unreachable'
  if (code === 'response_too_large') return new UpstreamError('answer_refused', code, { cause })
  const ours = code === 'url_refused' || code === 'address_refused'
  return new UpstreamError(ours ? 'misconfigured' : 'unavailable', code, { cause })
}

/** An answer's JSON object. Its type is not asked: GitHub and others once wrote text/javascript. */
export async function jsonObject(response: Response): Promise<{ readonly [member: string]: unknown }> {
  const body: unknown = await response.json().catch((cause: unknown) => {
    throw new UpstreamError('answer_refused', 'answer_not_json', { cause })
  })
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new UpstreamError('answer_refused', 'answer_not_json')
  }
  return body as { readonly [member: string]: unknown }
}

/** What `error` means, of authorization and token answers alike. Vendors' own words name the vendor. */
const ERRORS: { readonly [error: string]: UpstreamFailure } = {
  access_denied: 'cancelled',
  consent_required: 'cancelled',
  user_cancelled_authorize: 'cancelled', // Apple, LinkedIn
  user_cancelled_login: 'cancelled', // LinkedIn
  server_error: 'unavailable',
  temporarily_unavailable: 'unavailable',
  unmet_authentication_requirements: 'level_unmet',
  invalid_client: 'misconfigured',
  invalid_request: 'misconfigured',
  invalid_request_object: 'misconfigured',
  invalid_scope: 'misconfigured',
  unauthorized_client: 'misconfigured',
  unsupported_grant_type: 'misconfigured',
  unsupported_response_type: 'misconfigured',
  application_suspended: 'misconfigured', // GitHub
  incorrect_client_credentials: 'misconfigured', // GitHub
  redirect_uri_mismatch: 'misconfigured', // GitHub, Google
  invalid_grant: 'answer_refused',
  bad_verification_code: 'answer_refused', // GitHub
}

/** The failure that an `error` of theirs is. Only words that we know become a reason. */
export function failureOf(error: unknown): UpstreamError {
  const known = typeof error === 'string' && Object.hasOwn(ERRORS, error) ? error : undefined
  if (known === undefined) return new UpstreamError('answer_refused', 'unknown_error')
  return new UpstreamError(ERRORS[known] ?? 'answer_refused', known)
}

/** The code of an answer that is to this request and from this provider; a failure otherwise. */
export function codeOf(
  { parameters, state }: Arrival,
  { issuer, issuerDemanded }: { readonly issuer: (iss: string) => boolean; readonly issuerDemanded: boolean },
): string {
  if (parameters.state !== state) throw new UpstreamError('answer_refused', 'state_mismatch')
  // Whose answer it is comes before what it says, errors included (A75).
  const { iss, error, code } = parameters
  if (iss === undefined ? issuerDemanded : !issuer(iss)) throw new UpstreamError('answer_refused', 'iss_mismatch')
  if (error !== undefined) throw failureOf(error)
  if (code === undefined || code === '') throw new UpstreamError('answer_refused', 'code_missing')
  return code
}

/** Adds what proves the client to a request: to its body, or to its headers. */
export type ClientProof = (body: URLSearchParams, headers: Headers) => void | Promise<void>

interface Exchange {
  readonly requests: UpstreamRequests
  readonly endpoint: string
  readonly prove: ClientProof
  readonly arrival: Arrival
  readonly code: string
  readonly verifier?: string | undefined
}

export interface Tokens {
  readonly accessToken: string
  readonly refreshToken?: string | undefined
  readonly idToken?: unknown
}

/** RFC 6749 §4.1.3. An error counts whatever the status: GitHub says 200. */
export async function exchangeCode({ requests, endpoint, prove, arrival, code, verifier }: Exchange): Promise<Tokens> {
  const body = new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: arrival.redirectUri })
  if (verifier !== undefined) body.set('code_verifier', verifier)
  const headers = new Headers({ accept: 'application/json' })
  await prove(body, headers)
  const response = await requests.fetch(endpoint, { method: 'POST', headers, body })
  if (response.status === 401) throw new UpstreamError('misconfigured', 'invalid_client')
  const answer = await jsonObject(response)
  // Facebook's errors are objects.
  if (answer.error !== undefined || response.status !== 200) throw failureOf(answer.error)
  const { access_token: accessToken, token_type: type, refresh_token: refreshToken, id_token: idToken } = answer
  // RFC 6749 §7.1: a token of a type that we do not know is not to be used. LinkedIn names none.
  const bearer = type === undefined || (typeof type === 'string' && type.toLowerCase() === 'bearer')
  if (typeof accessToken !== 'string' || accessToken === '' || !bearer) {
    throw new UpstreamError('answer_refused', 'token_answer_invalid')
  }
  return { accessToken, refreshToken: typeof refreshToken === 'string' ? refreshToken : undefined, idToken }
}
