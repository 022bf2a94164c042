/**
 * Stylesheet, script and icon of the pages. Their names carry the hash of their content, so that they are kept for ever
 * and a new version is a new name; they are served from memory, compressed once at start.
 */
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Middleware } from 'koa'
import type { Asset } from '../platform/views.ts'

interface Encoded {
  readonly type: string
  readonly bodies: { readonly identity: Buffer; readonly br?: Buffer; readonly gzip?: Buffer }
}

const ONE_YEAR = 31_536_000

/** Answers GET and HEAD of `/assets/…` for known names; an old or invented name falls through to the 404 page. */
export function createAssets(deps: { assets: readonly Asset[] }): Middleware {
  const known = new Map(deps.assets.map((asset) => [asset.path, encode(asset)] as const))
  return async (ctx, next) => {
    const asset = ctx.method === 'GET' || ctx.method === 'HEAD' ? known.get(ctx.path) : undefined
    if (!asset) return next()
    ctx.vary('Accept-Encoding')
    const { br, gzip, identity } = asset.bodies
    const encoding = br && gzip ? ctx.acceptsEncodings('br', 'gzip', 'identity') : 'identity'
    if (encoding === 'br' || encoding === 'gzip') ctx.set('Content-Encoding', encoding)
    ctx.status = 200
    ctx.type = asset.type
    ctx.body = (encoding === 'br' ? br : encoding === 'gzip' ? gzip : undefined) ?? identity
    ctx.set('Cache-Control', `public, max-age=${ONE_YEAR}, immutable`)
  }
}

function encode(asset: Asset): Encoded {
  const identity = asset.body
  const isText = /^text\/|svg/.test(asset.type)
  if (!isText) return { type: asset.type, bodies: { identity } }
  const br = brotliCompressSync(identity, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })
  return { type: asset.type, bodies: { identity, br, gzip: gzipSync(identity, { level: 9 }) } }
}
