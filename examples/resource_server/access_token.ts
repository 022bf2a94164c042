/** Checks JWT access tokens: RFC 9068 §4, and names the failures as RFC 6750 §3.1 does. */
import { errors, type JWTVerifyGetKey, jwtVerify } from 'jose'

/** A refused request: status and what the `WWW-Authenticate` header says. */
export class Refused extends Error {
  readonly status: number
  readonly challenge: string

  constructor(status: number, options: { parameters?: { readonly [name: string]: string }; cause?: unknown } = {}) {
    const { parameters = {}, cause } = options
    super(parameters.error_description ?? 'no access token', { cause })
    this.name = 'Refused'
    this.status = status
    const quoted = Object.entries({ realm: 'orders', ...parameters }).map(([name, value]) => `${name}="${value}"`)
    this.challenge = `Bearer ${quoted.join(', ')}`
  }
}

export interface AccessToken {
  readonly clientId: string
  readonly sub: string
  readonly scopes: ReadonlySet<string>
  /** How the person signed in (RFC 9068 §2.2.1); a machine's token has neither. */
  readonly acr: string | undefined
  /** Seconds since the epoch. */
  readonly authTime: number | undefined
}

/** What an act asks of the sign-in behind the token (RFC 9470 §3). */
export interface Authentication {
  readonly acrs: readonly string[]
  /** Seconds since the person last signed in. */
  readonly maxAge: number
}

/**
 * `authorize(header, scope)` answers who calls, or throws `Refused`: 401 without a token, 401 `invalid_token` for one that is not
 * ours (signature, type, issuer, audience, time), 403 `insufficient_scope` for one that may not do this, and with `needs` 401
 * `insufficient_user_authentication` for a sign-in that is too weak or too old: it says what would do (RFC 9470 §3).
 */
export function createAuthorizer(expected: { issuer: string; audience: string; keys: JWTVerifyGetKey }) {
  return async function authorize(
    header: string | undefined,
    scope: string,
    needs?: Authentication,
  ): Promise<AccessToken> {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(header ?? '')?.[1]
    if (token === undefined) throw new Refused(401)
    const accessToken = await verify(token)
    if (!accessToken.scopes.has(scope)) {
      throw new Refused(403, {
        parameters: { error: 'insufficient_scope', error_description: `this needs the scope ${scope}`, scope },
      })
    }
    if (needs !== undefined && !suffices(accessToken, needs)) throw stepUp(needs)
    return accessToken
  }

  async function verify(token: string): Promise<AccessToken> {
    try {
      const { payload } = await jwtVerify(token, expected.keys, {
        typ: 'at+jwt', // an ID token of the same issuer is no access token
        issuer: expected.issuer,
        audience: expected.audience,
        algorithms: ['ES256', 'EdDSA', 'RS256'],
        requiredClaims: ['exp', 'iat', 'sub', 'client_id'],
      })
      return {
        clientId: String(payload.client_id),
        sub: payload.sub ?? '',
        scopes: new Set(String(payload.scope ?? '').split(' ')),
        acr: typeof payload.acr === 'string' ? payload.acr : undefined,
        authTime: typeof payload.auth_time === 'number' ? payload.auth_time : undefined,
      }
    } catch (error) {
      // Not the token's fault when the keys could not be fetched: that is a 5xx of ours.
      if (!(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout) throw error
      const parameters = { error: 'invalid_token', error_description: describe(error) }
      throw new Refused(401, { parameters, cause: error })
    }
  }
}

function suffices({ acr, authTime }: AccessToken, { acrs, maxAge }: Authentication): boolean {
  if (acr === undefined || authTime === undefined) return false
  return acrs.includes(acr) && Date.now() / 1000 - authTime <= maxAge
}

function stepUp({ acrs, maxAge }: Authentication): Refused {
  return new Refused(401, {
    parameters: {
      error: 'insufficient_user_authentication',
      error_description: 'this needs a stronger or a more recent sign-in',
      acr_values: acrs.join(' '),
      max_age: String(maxAge),
    },
  })
}

function describe(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired'
  if (error instanceof errors.JWTClaimValidationFailed) return `unexpected ${error.claim}`
  return 'not a token for this server'
}
