/**
 * Stylesheet, script and icon of the pages. Their names carry the hash of their content, so that they are kept for ever
 * and a new version is a new name; they are served from memory, compressed once when first asked for.
 */
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { Middleware } from 'koa'
import type { Asset } from '../platform/views.ts'

interface Encoded {
  readonly type: string
  readonly body: Buffer
  /** Smallest first: browsers list gzip before brotli and mean no preference by it. */
  readonly encodings: readonly { readonly name: string; body(): Promise<Buffer> }[]
}

const ONE_YEAR = 31_536_000

/** Answers GET and HEAD of `/assets/…` for known names; an old or invented name falls through to the 404 page. */
export function createAssets(deps: { assets: readonly Asset[] }): Middleware {
  const known = new Map(deps.assets.map((asset) => [asset.path, encode(asset)] as const))
  return async (ctx, next) => {
    const asset = ctx.method === 'GET' || ctx.method === 'HEAD' ? known.get(ctx.path) : undefined
    if (!asset) return next()
    ctx.vary('Accept-Encoding')
    const encoding = asset.encodings.find(({ name }) => ctx.acceptsEncodings(name) === name)
    if (encoding) ctx.set('Content-Encoding', encoding.name)
    ctx.status = 200
    ctx.type = asset.type
    ctx.body = (await encoding?.body()) ?? asset.body
    ctx.set('Cache-Control', `public, max-age=${ONE_YEAR}, immutable`)
  }
}

function encode({ type, body }: Asset): Encoded {
  if (!/^text\/|svg/.test(type)) return { type, body, encodings: [] }
  const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }
  return {
    type,
    body,
    encodings: [
      { name: 'br', body: once(() => promisify(brotliCompress)(body, best)) },
      { name: 'gzip', body: once(() => promisify(gzip)(body, { level: 9 })) },
    ],
  }
}

/** The best compression takes a tenth of a second: nobody waits for it at the start, and it is done beside the thread. */
function once(work: () => Promise<Buffer>): () => Promise<Buffer> {
  let done: Promise<Buffer> | undefined
  return () => {
    done ??= work()
    return done
  }
}
