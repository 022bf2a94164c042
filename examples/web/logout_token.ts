/** Checks logout tokens: OpenID Connect Back-Channel Logout 1.0 §2.6. Anybody can post to the logout endpoint, so each check counts. */
import { type JWTVerifyGetKey, jwtVerify } from 'jose'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
/** A logout token is used at once: an old one is a replay or a very late retry, and `jti` need not be remembered for longer. */
const OLDEST_SECONDS = 120
const TOLERANCE_SECONDS = 10

export interface LoggedOut {
  readonly sub: string | undefined
  readonly sid: string | undefined
}

/**
 * `verify(token)` tells whom the provider logged out, or throws: wrong signature, issuer, audience or type, too old, not a logout
 * event, a nonce (so an ID token cannot pose as a logout token), neither `sub` nor `sid`, or a `jti` seen before.
 */
export function createLogoutTokenVerifier(expected: { issuer: string; clientId: string; keys: JWTVerifyGetKey }) {
  const seen = new Map<string, number>()

  return async function verify(token: string): Promise<LoggedOut> {
    const { payload } = await jwtVerify(token, expected.keys, {
      issuer: expected.issuer,
      audience: expected.clientId,
      typ: 'logout+jwt',
      algorithms: ['ES256', 'EdDSA', 'RS256'],
      requiredClaims: ['iat', 'exp', 'jti', 'events'],
      maxTokenAge: OLDEST_SECONDS,
      clockTolerance: TOLERANCE_SECONDS,
    })
    const { sub, sid, jti = '', events } = payload
    if (!isLogoutEvent(events)) throw new Error('no back-channel logout event')
    if ('nonce' in payload) throw new Error('a logout token has no nonce')
    if (sid !== undefined && typeof sid !== 'string') throw new Error('sid is not a string')
    if (sub === undefined && sid === undefined) throw new Error('neither sub nor sid')

    const now = Date.now()
    for (const [id, until] of seen) if (until < now) seen.delete(id)
    if (seen.has(jti)) throw new Error('jti was used before')
    seen.set(jti, now + (OLDEST_SECONDS + 2 * TOLERANCE_SECONDS) * 1000)
    return { sub, sid }
  }
}

function isLogoutEvent(events: unknown): boolean {
  if (events === null || typeof events !== 'object') return false
  const event = (events as { [type: string]: unknown })[EVENT]
  return event !== null && typeof event === 'object'
}
