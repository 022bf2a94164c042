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
      const document = documentOf(ctx, maxAgeSeconds)
      documents.set(ctx.path, document)
      ctx.set(document.headers)
    },
    serve: (next) => (req, res) => {
      const document = req.method === 'GET' || req.method === 'HEAD' ? documents.get(req.url ?? '') : undefined
      if (document === undefined) return next(req, res)
      return answer(req, res, document)
    },
    clear: () => documents.clear(),
  }
}

/** What every answer of ours says to browsers; set in front of the chain, so it is there when the document is kept. */
const KEPT = [
  'Content-Security-Policy',
  'Content-Type',
  'Cross-Origin-Opener-Policy',
  'Permissions-Policy',
  'Referrer-Policy',
  'Strict-Transport-Security',
  'X-Content-Type-Options',
  'X-Frame-Options',
]

function documentOf(ctx: Context, maxAgeSeconds: number): Document {
  const body = Buffer.from(JSON.stringify(ctx.body))
  const kept = KEPT.map((name) => [name.toLowerCase(), String(ctx.response.get(name) ?? '')] as const)
  return {
    body,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      ...Object.fromEntries(kept.filter(([, value]) => value !== '')),
      'access-control-allow-origin': '*',
      'cache-control': `public, max-age=${maxAgeSeconds}`,
      'content-length': String(body.length),
      'cross-origin-resource-policy': 'cross-origin',
      etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
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
