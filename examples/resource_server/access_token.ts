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
}

/**
 * `authorize(header, scope)` answers who calls, or throws `Refused`: 401 without a token, 401 `invalid_token` for one that is not
 * ours (signature, type, issuer, audience, time), 403 `insufficient_scope` for one that may not do this.
 */
export function createAuthorizer(expected: { issuer: string; audience: string; keys: JWTVerifyGetKey }) {
  return async function authorize(header: string | undefined, scope: string): Promise<AccessToken> {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(header ?? '')?.[1]
    if (token === undefined) throw new Refused(401)
    const accessToken = await verify(token)
    if (accessToken.scopes.has(scope)) return accessToken
    throw new Refused(403, {
      parameters: { error: 'insufficient_scope', error_description: `this needs the scope ${scope}`, scope },
    })
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
      }
    } catch (error) {
      // Not the token's fault when the keys could not be fetched: that is a 5xx of ours.
      if (!(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout) throw error
      const parameters = { error: 'invalid_token', error_description: describe(error) }
      throw new Refused(401, { parameters, cause: error })
    }
  }
}

function describe(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired'
  if (error instanceof errors.JWTClaimValidationFailed) return `unexpected ${error.claim}`
  return 'not a token for this server'
}
