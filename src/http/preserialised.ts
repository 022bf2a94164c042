/**
 * Documents that are the same for everybody (discovery, JWKS) are made once by the engine and then served from memory in
 * front of Koa, with an ETag: the engine rebuilds them at each request, which costs three times the rest.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Context, Middleware, Next } from 'koa'

interface Document {
  /** A text, not bytes: Node then sends headers and body in one write. */
  readonly body: string
  readonly etag: string
  readonly headers: { readonly [name: string]: string }
  /** Names and values in turn, as Node takes them without looking at each. */
  readonly raw: readonly string[]
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
  const body = JSON.stringify(ctx.body)
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  const kept = KEPT.map((name) => [name.toLowerCase(), String(ctx.response.get(name) ?? '')] as const)
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    ...Object.fromEntries(kept.filter(([, value]) => value !== '')),
    'access-control-allow-origin': '*',
    'cache-control': `public, max-age=${maxAgeSeconds}`,
    'cross-origin-resource-policy': 'cross-origin',
    etag,
  }
  return { body, etag, headers, raw: Object.entries(headers).flat() }
}

function answer(req: IncomingMessage, res: ServerResponse, { body, etag, raw }: Document): void {
  if (req.headers['if-none-match'] === etag) {
    res.writeHead(304, [...raw]).end()
    return
  }
  res.writeHead(200, [...raw, 'content-length', String(Buffer.byteLength(body))])
  res.end(req.method === 'HEAD' ? undefined : body)
}
