/**
 * Some libraries ask for an ID token without a code (implicit) unless they are told otherwise. Who meets that meets this error
 * first, at their own callback: it says what to set, where the engine only says that something is wrong.
 */
import type { Context, Next } from 'koa'
import { isObject } from './verified_claims.ts'

const ENGINE = 'unsupported response_type requested'
const OURS = `${ENGINE}: set response_type=code (with PKCE), no other is served`
/** The engine's form of `form_post`. No value of a request can look like this: quotes in them are escaped. */
const field = (description: string) => `name="error_description" value="${description}"`

/** Completes `error_description` of `unsupported_response_type` (RFC 6749 §4.1.2.1) in whichever mode it is answered. */
export async function explainResponseType(ctx: Context, next: Next): Promise<void> {
  await next()
  const { oidc, body } = ctx as { oidc?: { route?: string }; body: unknown }
  // Pushed requests (RFC 9126) are checked before any browser has them, and answered in JSON.
  if (oidc?.route === 'pushed_authorization_request' && isObject(body) && body.error_description === ENGINE)
    ctx.body = { ...body, error_description: OURS }
  if (oidc?.route !== 'authorization') return
  const location: unknown = ctx.response.get('Location')
  if (typeof location === 'string' && location !== '') ctx.set('Location', explained(location))
  else if (typeof body === 'string') ctx.body = body.replace(field(ENGINE), field(OURS))
}

function explained(location: string): string {
  if (!location.includes('error=unsupported_response_type')) return location
  const url = new URL(location)
  const [query, fragment] = [url.searchParams, new URLSearchParams(url.hash.slice(1))]
  for (const parameters of [query, fragment])
    if (parameters.get('error_description') === ENGINE) parameters.set('error_description', OURS)
  if (fragment.has('error')) url.hash = fragment.toString()
  return url.href
}
