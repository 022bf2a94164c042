/** What other rooms may know of refused requests. */

/** A request that an endpoint of the protocol refused. */
export interface Refusal {
  /** Of `REASONS`. */
  readonly reason: string
  /** What the wire said. */
  readonly error: string
  /** The engine's name of the endpoint: `token`, `introspection`, … */
  readonly endpoint: string
  /** A client that there is. */
  readonly clientId?: string | undefined
  /** What the request said to be, where there is no such client or it is off. */
  readonly claimedId?: string | undefined
}

export interface Explanation {
  readonly reason: string
  readonly meaning: string
  readonly hint: string
  readonly error: string
  readonly endpoint: string
  readonly clientId?: string | undefined
  /** The minute in which it happened. */
  readonly minute: Date
  /** How many requests of that client were refused there for this in that minute. */
  readonly count: number
}

type Told = readonly [meaning: string, hint: string]

const CLOCK = 'compare the clocks; an assertion is good for a minute or so and is made anew for each request'
const PROOF = 'the proof must be made with the key that the token is bound to, anew for each request (RFC 9449 §4)'

/** Every reason, with what it means and what to do: for developers of clients and the operators whom they ask. */
export const REASONS: { readonly [reason: string]: Told } = {
  client_unknown: ['there is no client of that id', 'check client_id; genkan clients list'],
  client_disabled: ['the client is disabled', 'genkan clients enable, or declare it again'],
  client_unsupported: [
    'the client needs what the settings have switched off',
    'genkan doctor; look at mtls and legacy_profile',
  ],
  client_authentication_failed: [
    'the client did not prove who it is',
    'compare with token_endpoint_auth_method of the client',
  ],
  auth_method_mismatch: [
    'the client is registered for another way of authenticating',
    'compare with token_endpoint_auth_method: genkan clients show',
  ],
  secret_wrong: ['the secret is none of the client', 'check for blanks and for encoding (RFC 6749 §2.3.1)'],
  secret_expired: ['the secret was right, and has ended', 'use the newer one; genkan clients rotate-secret'],
  certificate_missing: [
    'no certificate was shown',
    'use the mTLS address of discovery; look at mtls.certificate_header',
  ],
  certificate_untrusted: [
    'the certificate has expired or is of no trusted authority',
    'look at its dates and mtls.trusted_ca',
  ],
  certificate_mismatch: [
    'the certificate is another than the registered one',
    'compare its subject or jwks with the client',
  ],
  assertion_algorithm: ['the assertion is signed by another algorithm', 'look at token_endpoint_auth_signing_alg'],
  assertion_audience: ['the assertion is for somebody else', 'aud must be the issuer'],
  assertion_replayed: ['the assertion was used before', 'make a new one, with a new jti, for each request'],
  assertion_expired: ['the assertion has expired, or says not when it does', CLOCK],
  assertion_not_yet_valid: ['the assertion is not valid yet', CLOCK],
  assertion_key_unknown: ['no key of the client fits the assertion', 'compare kid and alg with jwks or jwks_uri'],
  assertion_signature: ['the signature of the assertion is wrong', 'was it signed by the private key of that kid?'],
  assertion_malformed: [
    'the assertion is not a JWT with all that it needs',
    'iss and sub are the client_id; RFC 7523 §3',
  ],
  keys_unavailable: [
    'jwks_uri could not be fetched',
    'ask it with curl: 200, JSON, public keys, 64 kB at the most, 2.5 s',
  ],
  rate_limited: [
    'the client has sent more requests than it may',
    'wait for Retry-After; rate_limit, limits.client_requests',
  ],
  quota_used: [
    'the client has used up its tokens',
    'keep tokens until they expire; quota, limits.client_tokens_per_day',
  ],
  grant_type_not_allowed: ['the client may not use this grant type', 'grant_types of the client'],
  global_revocation_not_allowed: ['the client may not revoke globally', 'global_revocation of the client'],
  scope_not_allowed: [
    'a scope is not allowed for this client',
    'scope of the client, and scopes of the resource server',
  ],
  scope_missing: ['the token lacks a scope', 'ask for it at the authorization endpoint'],
  resource_required: ['several resource servers are possible', 'send resource'],
  resource_not_allowed: ['the resource server is unknown, or not allowed for this client', 'resources of the client'],
  wrong_audience: ['the token is for another resource server', 'resource_server_for of the client that asks'],
  code_unknown: ['there is no such code', 'codes are good for a minute; was it altered on its way?'],
  code_expired: ['the code has expired', 'redeem it at once'],
  code_reused: [
    'the code was redeemed before; its tokens are dead',
    'redeem a code once; a reload of the callback does it twice',
  ],
  code_of_another_client: ['the code was given to another client; its tokens are dead', 'do not mix clients'],
  redirect_uri_mismatch: [
    'redirect_uri is not the one of the request, or not registered',
    'compare it letter by letter',
  ],
  pkce_mismatch: ['code_verifier does not fit code_challenge', 'keep it in the session that began; S256; RFC 7636 §4'],
  refresh_token_unknown: ['there is no such refresh token', 'it ended with its session, or was altered'],
  refresh_token_expired: ['the refresh token has expired', 'the person signs in again'],
  refresh_token_reused: ['an older refresh token was used again; its family is dead', 'keep the newest of each answer'],
  refresh_token_of_another_client: ['the refresh token was given to another client', 'do not mix clients'],
  refresh_token_of_another_browser: ['the refresh token came from another kind of browser', 'was it copied?'],
  realm_closed: ['the account may sign in by its organisation only', 'the person signs in again'],
  grant_revoked: [
    'what the person agreed to was taken back, or their sessions were ended',
    'the person signs in again',
  ],
  grant_expired: ['what the person agreed to has expired', 'the person signs in again'],
  account_unavailable: ['the account is disabled or gone', 'genkan accounts show'],
  token_unknown: ['there is no such access token', 'it was revoked, has expired, or is of another issuer'],
  token_expired: ['the access token has expired', 'refresh it'],
  token_of_another_client: ['the token belongs to another client', 'clients revoke their own tokens only'],
  dpop_missing: ['no DPoP proof was sent', PROOF],
  dpop_mismatch: ['the DPoP proof is of another key', PROOF],
  invalid_dpop_proof: ['the DPoP proof is not good', PROOF],
  request_uri_used: ['the pushed request was used before', 'push a new one for each authorization'],
  request_malformed: ['a parameter is missing, wrong or twice', 'read error_description of the answer'],
  other: ['more was refused in that minute than is told apart', 'look at the log of the server'],
}

/** What a reason means that has no line of its own: an error of the standards. */
export const STANDARD: Told = [
  'see the error of that name in OAuth 2.0 and OpenID Connect',
  'read error_description of the answer',
]
