/**
 * Authorization and logout requests by POST (OIDC Core §3.1.2.1, RP-Initiated Logout 1.0 §2). A form posted from a
 * client's page comes without our SameSite=Lax cookies, so a signed-in person would look like a stranger. The answer is a
 * redirect to the same request by GET, which has them; parameters of query and body are laid side by side, so that a
 * repeated one stays visible to the engine (A78).
 */
import coBody from 'co-body'
import type { Context, Middleware, Next } from 'koa'
import { AppError } from '../errors.ts'

/** Node takes 16 KiB of request line and headers together. */
const LIMIT = 8 * 1024

/** Builds the middleware for the endpoints at `paths`. */
export function createPostAsGet(paths: ReadonlySet<string>): Middleware {
  return async (ctx: Context, next: Next) => {
    if (ctx.method !== 'POST' || !paths.has(ctx.path)) return next()
    if (!ctx.is('application/x-www-form-urlencoded')) throw new AppError('unsupported_media_type')
    const parameters = new URLSearchParams(await readBody(ctx))
    for (const [name, value] of new URLSearchParams(ctx.search)) parameters.append(name, value)
    const query = parameters.toString()
    if (query.length > LIMIT) throw new AppError('payload_too_large')
    ctx.redirect(`${ctx.path}?${query}`)
    // Never 307: the browser must come back with GET.
    ctx.status = 303
    ctx.set('Cache-Control', 'no-store')
  }
}

async function readBody(ctx: Context): Promise<string> {
  try {
    return (await coBody.text(ctx.req, { limit: LIMIT, encoding: 'utf8' })) as string
  } catch (cause) {
    if ((cause as { status?: number }).status === 413) throw new AppError('payload_too_large', { cause })
    throw new AppError('invalid_request', { cause, detail: 'the body cannot be read' })
  }
}
