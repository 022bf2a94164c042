/**
 * Authorization and logout requests by POST (OIDC Core §3.1.2.1, RP-Initiated Logout 1.0 §2). A form posted from a
 * client's page comes without our SameSite=Lax cookies, so a signed-in person would look like a stranger. The answer is a
 * redirect to the same request by GET, which has them; parameters of query and body are laid side by side, so that a
 * repeated one stays visible to the engine (A78). What is too long for an address waits a minute under a one-time
 * `request_uri` (in the manner of RFC 9126), and is in the place of the address before the engine looks at it.
 */
import coBody from 'co-body'
import type { Context, Middleware, Next } from 'koa'
import { AppError } from '../errors.ts'
import { networkOf } from '../platform/client_network.ts'
import { newToken, sha256 } from '../platform/ids.ts'
import type { KeyValue } from '../platform/key_value.ts'

/** Node takes 16 KiB of request line and headers together. */
const ADDRESS_LIMIT = 8 * 1024
const LIMIT = 64 * 1024
/** The engine's parser stops at the thousandth parameter: a repeated one behind it would not be seen. */
const PARAMETERS = 200
/** Anybody may post: one network keeps 4 MB waiting at the most. */
const LONG_REQUESTS = 60
const SECONDS = 60
/** The engine's own prefix, so that it answers `invalid_request_uri` to one that is used up, expired or invented. */
const PREFIX = 'urn:ietf:params:oauth:request_uri:posted.'

export interface PostAsGetDeps {
  /** Endpoints that a client's page may post a form to. */
  readonly paths: ReadonlySet<string>
  readonly keyValue: Pick<KeyValue, 'hit' | 'set' | 'take'>
}

/** Builds the middleware. */
export function createPostAsGet({ paths, keyValue }: PostAsGetDeps): Middleware {
  return async (ctx: Context, next: Next) => {
    if (!paths.has(ctx.path)) return next()
    if (ctx.method === 'GET') {
      await restore(ctx, keyValue)
      return next()
    }
    if (ctx.method !== 'POST') return next()
    const parameters = await readParameters(ctx)
    const short = parameters.toString().length <= ADDRESS_LIMIT
    ctx.redirect(`${ctx.path}?${short ? parameters : await keep(ctx, parameters, keyValue)}`)
    // Never 307: the browser must come back with GET.
    ctx.status = 303
    ctx.set('Cache-Control', 'no-store')
  }
}

async function readParameters(ctx: Context): Promise<URLSearchParams> {
  if (!ctx.is('application/x-www-form-urlencoded')) throw new AppError('unsupported_media_type')
  const parameters = new URLSearchParams(await readBody(ctx))
  for (const [name, value] of new URLSearchParams(ctx.search)) parameters.append(name, value)
  if (parameters.toString().length > LIMIT) throw new AppError('payload_too_large')
  if (parameters.size > PARAMETERS) throw new AppError('invalid_request', { detail: 'too many parameters' })
  return parameters
}

/** Puts the parameters aside and returns those that stand for them. */
async function keep(ctx: Context, parameters: URLSearchParams, keyValue: PostAsGetDeps['keyValue']) {
  const network = networkOf((ctx.state as { ip?: string }).ip ?? '')
  const limit = { key: `posted_requests:${network}`, limit: LONG_REQUESTS, windowSeconds: SECONDS }
  const { allowed, retryAfter } = await keyValue.hit([limit])
  if (!allowed) throw new AppError('too_many_requests', { retryAfter })
  const uri = `${PREFIX}${newToken()}`
  await keyValue.set(keyOf(ctx.path, uri), parameters.toString(), SECONDS)
  return standIn(parameters, uri)
}

/** The client stays visible, also where two are named: the parameters behind an id are for the one it was given with. */
function standIn(parameters: URLSearchParams, uri: string): URLSearchParams {
  const standing = new URLSearchParams(
    parameters.getAll('client_id').map((value): [string, string] => ['client_id', value]),
  )
  standing.append('request_uri', uri)
  return standing
}

/** Only whole and untouched: beside another client or more parameters an id is as good as none. */
async function restore(ctx: Context, keyValue: PostAsGetDeps['keyValue']): Promise<void> {
  if (!ctx.querystring.includes(encodeURIComponent(PREFIX))) return
  const given = new URLSearchParams(ctx.querystring)
  const uri = given.get('request_uri') ?? ''
  const kept = await keyValue.take(keyOf(ctx.path, uri))
  if (kept !== undefined && standIn(new URLSearchParams(kept), uri).toString() === given.toString()) {
    ctx.querystring = kept
  }
}

function keyOf(path: string, uri: string): string {
  return `posted_request:${path}:${sha256(uri)}`
}

async function readBody(ctx: Context): Promise<string> {
  try {
    return (await coBody.text(ctx.req, { limit: LIMIT, encoding: 'utf8' })) as string
  } catch (cause) {
    if ((cause as { status?: number }).status === 413) throw new AppError('payload_too_large', { cause })
    throw new AppError('invalid_request', { cause, detail: 'the body cannot be read' })
  }
}
