/**
 * Documents that are the same for everybody (discovery, JWKS) are made once by the engine and then served from memory in
 * front of Koa, with an ETag: the engine rebuilds them at each request, which costs three times the rest.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Context, Middleware, Next } from 'koa'

interface Document {
  readonly body: Buffer
  readonly headers: { readonly [name: string]: string }
}

export interface Preserialised {
  /** Keeps what the chain answered for one of the paths. */
  readonly keep: Middleware
  /** Serves kept documents and hands the rest to `next`. */
  serve(next: RequestListener): RequestListener
  /** Forgets everything, when keys change. */
  clear(): void
}

/** Builds the memory for documents at `paths`, which browsers of any origin may read. */
export function createPreserialised(paths: ReadonlySet<string>, maxAgeSeconds: number): Preserialised {
  const documents = new Map<string, Document>()
  return {
    async keep(ctx: Context, next: Next) {
      await next()
      if (ctx.method !== 'GET' || ctx.status !== 200 || !paths.has(ctx.path)) return
      documents.set(ctx.path, documentOf(ctx, maxAgeSeconds))
    },
    serve: (next) => (req, res) => {
      const document = req.method === 'GET' || req.method === 'HEAD' ? documents.get(req.url ?? '') : undefined
      if (document === undefined) return next(req, res)
      return answer(req, res, document)
    },
    clear: () => documents.clear(),
  }
}

function documentOf(ctx: Context, maxAgeSeconds: number): Document {
  const body = Buffer.from(JSON.stringify(ctx.body))
  const type = ctx.response.get('Content-Type')
  const hsts = ctx.response.get('Strict-Transport-Security')
  return {
    body,
    headers: {
      'access-control-allow-origin': '*',
      'cache-control': `public, max-age=${maxAgeSeconds}`,
      'content-length': String(body.length),
      'content-type': type || 'application/json; charset=utf-8',
      'cross-origin-resource-policy': 'cross-origin',
      etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      ...(hsts ? { 'strict-transport-security': hsts } : {}),
    },
  }
}

function answer(req: IncomingMessage, res: ServerResponse, { body, headers }: Document): void {
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value)
  if (req.headers['if-none-match'] === headers.etag) {
    res.removeHeader('content-length')
    res.statusCode = 304
    res.end()
    return
  }
  res.end(req.method === 'HEAD' ? undefined : body)
}
