/** Request objects (RFC 9101): what must hold of one beside the engine's own checks. */
import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider'
import { FAPI_ALGS, isFapi } from '../platform/client_protocol.ts'
import { isCompactJws } from './compact_jws.ts'

/** RFC 9101 §10.8: explicit typing, or none at all; a token of another kind is no request (A69). */
const TYPES = ['oauth-authz-req+jwt', 'application/oauth-authz-req+jwt', 'jwt']
/** RFC 9126 §2.2. */
const PUSHED = 'urn:ietf:params:oauth:request_uri:'
/** FAPI 2.0 Message Signing §5.3.1: seconds from `nbf` to `exp`, and how far back `nbf` may be. */
const MOST_SECONDS = 3600

interface Claims {
  readonly exp?: unknown
  readonly nbf?: unknown
  readonly iat?: unknown
  readonly jti?: unknown
}

/** `assertJwtClaimsAndHeader` of the engine. @throws errors.InvalidRequestObject */
export async function assertRequestObject(
  ctx: KoaContextWithOIDC,
  { exp, nbf, iat, jti }: Claims,
  { alg, typ }: { readonly alg?: unknown; readonly typ?: unknown },
  client: Client,
): Promise<void> {
  const { PushedAuthorizationRequest: pushed } = ctx.oidc.entities
  if (pushed !== undefined) {
    // The engine reads no further than the first repetition, so one request would have many names (A68).
    if (ctx.oidc.params?.request_uri === `${PUSHED}${pushed.jti}`) return
    throw new errors.InvalidRequestUri('request_uri is not as it was given')
  }
  const refuse = (why: string) => new errors.InvalidRequestObject(`the request object ${why}`)
  if (!isCompactJws(ctx.oidc.params?.request)) throw refuse('is not a compact JWS')
  if (typ !== undefined && !TYPES.includes(String(typ).toLowerCase()))
    throw refuse('has the typ of another kind of token')
  // CIBA Core 1.0 §7.1.1: all of these, of every client. FAPI-CIBA §5.2.2: an hour at the most.
  const isBackchannel = ctx.oidc.route === 'backchannel_authentication'
  if (isBackchannel && (typeof iat !== 'number' || typeof jti !== 'string' || jti === ''))
    throw refuse('lacks iat or jti')
  if (!isFapi(client.profile) && !isBackchannel) return
  if (isFapi(client.profile) && !FAPI_ALGS.includes(String(alg)))
    throw refuse(`must not be signed by ${alg} with profile ${client.profile}`)
  if (typeof exp !== 'number' || typeof nbf !== 'number') throw refuse('lacks exp or nbf')
  if (exp <= nbf || exp - nbf > MOST_SECONDS) throw refuse('is good for longer than an hour')
  if (nbf < Date.now() / 1000 - MOST_SECONDS) throw refuse('was made more than an hour ago')
}
