/**
 * One place turns failures into answers: a page for people, RFC 9457 problem details for programs. Texts come from the
 * catalogues by code; an unknown failure shows nothing of itself but the request id that finds it in the log.
 */
import { STATUS_CODES } from 'node:http'
import type { Context, Middleware } from 'koa'
import { AppError, SHARED_CODES, type SharedCode } from '../errors.ts'
import { ownPathOf } from './own_path.ts'
import type { Pages, PageTexts } from './page.ts'

/** The slice of the logger that is used here. */
export interface FailureLog {
  error(facts: object, message: string): void
  warn(facts: object, message: string): void
}

type ErrorPages = Pages & PageTexts

interface Failure {
  readonly code: string
  readonly status: number
  readonly detail?: string | undefined
  readonly retryAfter?: number | undefined
}

/** Tells failures of a store from faults of our own. */
interface Stores {
  readonly unavailable: (error: unknown) => boolean
  readonly readOnly: (error: unknown) => boolean
}

const never = () => false

/** Headers that belong to the answer that failed and would lie about the error page. */
const STALE_HEADERS = ['Content-Encoding', 'Content-Length', 'ETag', 'Last-Modified', 'Location']

/**
 * Catches everything thrown further in, and answers what nobody answered. `unavailable` tells failures of a store
 * (connection lost, time-out) from faults of our own: they are a 503 with Retry-After instead of a 500; `readOnly` those where
 * only changes fail.
 */
export function createErrorHandler(deps: {
  pages: ErrorPages
  logger: FailureLog
  unavailable?: Stores['unavailable']
  readOnly?: Stores['readOnly']
}): Middleware {
  const { pages, logger, unavailable = never, readOnly = never } = deps
  return async (ctx, next) => {
    let failure: Failure | undefined
    try {
      await next()
      failure = unanswered(ctx)
      // The engine's own JSON: programs are told as people are when to try again.
      if (ctx.status === 503 && !ctx.res.hasHeader('Retry-After')) ctx.set('Retry-After', String(standardDelay(503)))
    } catch (error) {
      failure = describe(error, { unavailable, readOnly })
      if (failure.status >= 500) {
        const facts = { err: error, code: failure.code, method: ctx.method, path: ctx.path, requestId: requestId(ctx) }
        if (failure.status === 503) logger.warn(facts, 'store or queue away')
        else logger.error(facts, 'request failed')
      }
    }
    if (!failure || ctx.headerSent) return
    answer(ctx, pages, failure, logger)
  }
}

function answer(ctx: Context, pages: ErrorPages, failure: Failure, logger: FailureLog): void {
  for (const header of STALE_HEADERS) ctx.remove(header)
  if (failure.retryAfter !== undefined) ctx.set('Retry-After', String(failure.retryAfter))
  ctx.vary('Accept')
  try {
    if (ctx.accepts('application/problem+json', 'application/json', 'text/html') === 'text/html') {
      pages.render(ctx, 'error', errorPage(ctx, pages, failure), failure.status)
    } else {
      problem(ctx, failure)
    }
  } catch (error) {
    // The page itself failed: say so in the plainest way rather than not at all.
    logger.error({ err: error, requestId: requestId(ctx) }, 'error page failed')
    problem(ctx, { code: 'internal_error', status: 500 })
  }
}

/** RFC 9457 §3.1. `code` is ours: stable, for programs to switch on. */
function problem(ctx: Context, failure: Failure): void {
  ctx.status = failure.status
  ctx.body = JSON.stringify({
    type: `urn:genkan:error:${failure.code}`,
    title: STATUS_CODES[failure.status] ?? 'Error',
    status: failure.status,
    ...(failure.detail === undefined ? {} : { detail: failure.detail }),
    code: failure.code,
    request_id: requestId(ctx),
  })
  ctx.set('Content-Type', 'application/problem+json')
  ctx.set('Cache-Control', 'no-store')
}

const HEADINGS: { readonly [status: number]: string } = {
  404: 'error_page.heading_not_found',
  429: 'error_page.heading_too_many',
  503: 'error_page.heading_unavailable',
}

function errorPage(ctx: Context, pages: ErrorPages, failure: Failure): { readonly [name: string]: unknown } {
  const translate = (key: string) => pages.text(ctx, key)
  // A code without a text of its own says what its status says.
  const known = pages.has(`error.${failure.code}`) ? failure.code : codeOf(failure.status)
  const canRetry = (failure.status === 503 || failure.status === 429) && (ctx.method === 'GET' || ctx.method === 'HEAD')
  return {
    failure: {
      code: failure.code,
      heading: translate(HEADINGS[failure.status] ?? 'error_page.heading'),
      text: translate(`error.${known}`),
      reference: false,
    },
    requestId: requestId(ctx),
    // The text of a 503 says "in a moment" already.
    ...(failure.retryAfter === undefined || failure.status === 503 ? {} : { retryAfter: failure.retryAfter }),
    ...(canRetry ? { retryUrl: ownPathOf(ctx) } : {}),
  }
}

/** What is known of the client when a protocol error happens. */
export interface ErrorClient {
  readonly name: string
  readonly initiateLoginUri?: string | undefined
  readonly clientUri?: string | undefined
}

export type OAuthErrorPage = (
  ctx: Context,
  out: { readonly error: string; readonly error_description?: string | undefined },
  error: unknown,
  client?: ErrorClient,
) => Promise<void>

/**
 * The page for protocol errors that may not be redirected: an unknown client, an unregistered redirect URI, a forged logout
 * (RFC 6749 §4.1.2.1). It names the OAuth code for the makers of the client and leads people back to it where that is
 * safe: only ever to an address from the client's own registration, never to one of the request.
 */
export function createOAuthErrorPage(deps: {
  pages: ErrorPages
  unavailable?: Stores['unavailable']
  readOnly?: Stores['readOnly']
}): OAuthErrorPage {
  const { pages, unavailable = never, readOnly = never } = deps
  return async (ctx, out, error, client) => {
    const failure = ordinary(ctx.status, error, { unavailable, readOnly })
    if (failure) {
      if (failure.retryAfter !== undefined) ctx.set('Retry-After', String(failure.retryAfter))
      pages.render(ctx, 'error', errorPage(ctx, pages, failure), failure.status)
      return
    }
    const text = pages.has(`oauth_error.${out.error}`) ? `oauth_error.${out.error}` : 'oauth_error.other'
    const isOurs = out.error === 'server_error'
    const backUrl = client === undefined ? undefined : (webUrl(client.initiateLoginUri) ?? webUrl(client.clientUri))
    const context = {
      failure: {
        code: out.error,
        heading: pages.text(ctx, isOurs ? 'error_page.heading' : 'error_page.heading_client'),
        text: pages.text(ctx, text),
        detail: isOurs ? undefined : out.error_description,
        reference: true,
      },
      requestId: requestId(ctx),
      ...(client === undefined ? {} : { client, backUrl }),
    }
    pages.render(ctx, 'error', context, Math.max(ctx.status, 400))
  }
}

/** What is no protocol error: an address that is not there, a store that is away. */
function ordinary(status: number, error: unknown, stores: Stores): Failure | undefined {
  if (error instanceof AppError || stores.unavailable(error)) return describe(error, stores)
  if (status === 404) return { code: 'not_found', status }
  if (status === 503) return { code: 'temporarily_unavailable', status, retryAfter: standardDelay(status) }
  return undefined
}

function webUrl(uri: string | undefined): string | undefined {
  if (uri === undefined || !URL.canParse(uri)) return undefined
  const { protocol } = new URL(uri)
  return protocol === 'https:' || protocol === 'http:' ? uri : undefined
}

function requestId(ctx: Context): string {
  return (ctx.state as { requestId?: string }).requestId ?? ''
}

/** What the routers left without an answer: no route (404), no such method (405), not implemented (501). */
function unanswered(ctx: Context): Failure | undefined {
  const isEmpty = ctx.body === undefined || ctx.body === null || ctx.body === ''
  if (ctx.respond === false || !isEmpty || ctx.status < 400) return undefined
  return { code: codeOf(ctx.status), status: ctx.status }
}

function describe(error: unknown, { unavailable, readOnly }: Stores): Failure {
  if (error instanceof AppError) {
    const detail = error.expose && error.message !== error.code ? error.message : undefined
    return {
      code: error.code,
      status: error.status,
      detail,
      retryAfter: error.retryAfter ?? standardDelay(error.status),
    }
  }
  // The engine's own error for a store that is away carries the driver's as its cause.
  const errors = error instanceof Error && error.cause !== undefined ? [error, error.cause] : [error]
  if (errors.some(readOnly)) return { code: 'read_only', status: 503, retryAfter: standardDelay(503) }
  if (errors.some(unavailable)) return { code: 'temporarily_unavailable', status: 503, retryAfter: standardDelay(503) }
  if (error instanceof URIError) return { code: 'invalid_request', status: 400 }
  // http-errors of Koa, its routers and body parsers: bodies too large, bad encodings, broken JSON. Anything that claims
  // a 5xx is a fault of ours.
  const status = (error as { status?: unknown } | null)?.status
  if (typeof status === 'number' && status >= 400 && status < 500) return { code: codeOf(status), status }
  return { code: 'internal_error', status: 500 }
}

function standardDelay(status: number): number | undefined {
  return status === 503 ? 5 : undefined
}

/** The shared code of a status; other 4xx are invalid requests, other 5xx are faults of ours. */
function codeOf(status: number): SharedCode {
  const found = (Object.keys(SHARED_CODES) as SharedCode[]).find((code) => SHARED_CODES[code] === status)
  return found ?? (status >= 500 ? 'internal_error' : 'invalid_request')
}
