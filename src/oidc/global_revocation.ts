/**
 * Global Token Revocation (draft-parecki-oauth-global-token-revocation): one call of a client that may do so ends all sessions,
 * grants and tokens of an account. The client authenticates as at the token endpoint: its secret as HTTP Basic, its assertion
 * as a bearer token (or either as members of the body), or its certificate with `client_id` in the body. The engine does
 * that, as for an introspection of nothing, so that its rules, limits and reasons hold here too. Who there is no account of is
 * answered like everybody else, and after the same time.
 */
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context, Middleware, Next } from 'koa'
import type { Client, KoaContextWithOIDC } from 'oidc-provider'
import { z } from 'zod'
import { readText } from '../http/form.ts'
import { isCompactJws } from './compact_jws.ts'
import { type Pairwise, sectorOf } from './pairwise.ts'
import { type NoteRefusal, refusalOf } from './refusals.ts'

export const GLOBAL_REVOCATION_PATH = '/global-token-revocation'

/** Whom a request is about. */
export type RevokedSubject = { readonly accountId: string } | { readonly email: string }

export interface GlobalRevocationDeps {
  readonly issuer: string
  readonly pairwise: Pick<Pairwise, 'accountOf'>
  readonly noteRefusal: NoteRefusal
  /** Ends everything of the account, if there is one. Idempotent. */
  readonly revokeAll: (subject: RevokedSubject, clientId: string) => Promise<void>
}

const LIMIT = 16_384
/** What no revocation takes: a subject that is unknown waits for as long. */
const ANSWER_MS = 400
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

const text = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[^\p{C}]*$/u)
/** RFC 9493 §3.2: the formats by which an account can be named here. */
const subject = z.discriminatedUnion('format', [
  z.object({ format: z.literal('iss_sub'), iss: text, sub: text }),
  z.object({ format: z.literal('email'), email: text }),
  z.object({ format: z.literal('opaque'), id: text }),
])
const request = z.looseObject({ sub_id: subject })
const credentials = z.object({
  client_id: z.string().optional(),
  client_secret: z.string().optional(),
  client_assertion: z.string().optional(),
  client_assertion_type: z.string().optional(),
})

/** Builds the middleware in front of the engine. */
export function createGlobalRevocation(deps: GlobalRevocationDeps): Middleware {
  return async (ctx: Context, next: Next) => {
    if (ctx.path !== GLOBAL_REVOCATION_PATH) return next()
    if (ctx.method !== 'POST') {
      ctx.set('Allow', 'POST')
      ctx.status = 405
      return
    }
    ctx.set('Cache-Control', 'no-store')
    const body = ctx.is('application/json') ? parsed(await readText(ctx, LIMIT)) : undefined
    const given = credentials.safeParse(body)
    if (!given.success) return refuse(ctx, 400, 'invalid_request', 'the body must be JSON with sub_id')
    await authenticate(ctx, given.data, next)
    const { oidc } = ctx as unknown as KoaContextWithOIDC
    if (ctx.status !== 200 || oidc?.client === undefined) return
    await act(deps, ctx, oidc.client, body)
  }
}

async function act(deps: GlobalRevocationDeps, ctx: Context, client: Client, body: unknown): Promise<void> {
  if (client.global_revocation !== true) {
    deps.noteRefusal(
      refusalOf(ctx as unknown as KoaContextWithOIDC, 'unauthorized_client', 'global_revocation_not_allowed'),
    )
    return refuse(ctx, 403, 'unauthorized_client', 'the client may not revoke globally')
  }
  const asked = request.safeParse(body)
  const who = asked.success ? await subjectOf(deps, client, asked.data.sub_id) : undefined
  if (who === undefined) {
    return refuse(ctx, 400, 'invalid_request', 'sub_id must name a subject of this issuer as iss_sub, email or opaque')
  }
  await Promise.all([deps.revokeAll(who, client.clientId), sleep(ANSWER_MS)])
  ctx.body = null
  ctx.status = 204
}

/** A client that knows people by pairwise subjects names them by these. */
async function subjectOf(
  { issuer, pairwise }: GlobalRevocationDeps,
  client: Client,
  id: z.output<typeof subject>,
): Promise<RevokedSubject | undefined> {
  if (id.format === 'email') return { email: id.email }
  if (id.format === 'iss_sub' && id.iss !== issuer) return undefined
  const sub = id.format === 'iss_sub' ? id.sub : id.id
  if (client.subjectType !== 'pairwise') return { accountId: sub }
  return { accountId: (await pairwise.accountOf(sub, sectorOf(client))) ?? '' }
}

/** Has the engine authenticate the client: the request goes to it as an introspection of a token that nobody has. */
async function authenticate(ctx: Context, given: z.output<typeof credentials>, next: Next): Promise<void> {
  const { req } = ctx
  const [, bearer] = /^bearer (\S+)$/i.exec(ctx.get('Authorization')) ?? []
  const isAssertion = bearer !== undefined && isCompactJws(bearer)
  if (isAssertion) delete req.headers.authorization
  const shown = isAssertion ? { client_assertion: bearer, client_assertion_type: ASSERTION } : {}
  const fields = Object.entries({ token: 'none', ...given, ...shown }).filter(([, value]) => value !== undefined)
  const bytes = Buffer.from(new URLSearchParams(fields as [string, string][]).toString())
  const { headers, url } = req
  // Programs call here; a page of whatever origin does not.
  delete headers.origin
  headers['content-type'] = 'application/x-www-form-urlencoded'
  headers['content-length'] = String(bytes.length)
  headers.accept = 'application/token-introspection+jwt'
  Object.defineProperties(req, { readable: { value: true }, iterator: { value: () => Readable.from([bytes]) } })
  ctx.path = '/token/introspection'
  ;(ctx.state as { endpoint?: string }).endpoint = 'global_token_revocation'
  try {
    await next()
  } finally {
    req.url = url ?? ''
    ctx.remove('Access-Control-Allow-Origin')
    ctx.remove('Access-Control-Expose-Headers')
  }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

function refuse(ctx: Context, status: number, error: string, description: string): void {
  ctx.status = status
  ctx.body = { error, error_description: description }
}
