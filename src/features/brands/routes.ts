/** Stylesheets and logos of brands, and the default brand for whatever page comes of a request. */
import Router from '@koa/router'
import type { Context, Middleware, Next } from 'koa'
import type { BrandsService } from './service.ts'

const KEPT = 'public, max-age=31536000, immutable'
/** Opened by itself, a logo is a document of ours: it may style itself, and no more (A98). */
const PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

/**
 * Names carry the hash of the content. A name with an older hash is answered with what there is now and not kept: a page
 * that was made a moment before a change must not stand there without its style.
 */
export function brandRoutes(brands: Pick<BrandsService, 'stylesheet' | 'logo'>): Router {
  const router = new Router()
  router.get('/brands/:file', async (ctx) => {
    const [, id = '', hash] = /^([a-z0-9-]{1,40})\.([0-9a-f]{12})\.css$/.exec(ctx.params.file ?? '') ?? []
    const found = await brands.stylesheet(id)
    if (found === undefined) return
    ctx.status = 200
    ctx.type = 'text/css; charset=utf-8'
    ctx.body = found.body
    if (found.hash === hash) ctx.set('Cache-Control', KEPT)
  })
  router.get('/brands/:id/:file', async (ctx) => {
    const pattern = /^logo-(light|dark)\.([0-9a-f]{12})\.(?:svg|png)$/
    const [, variant, hash] = pattern.exec(ctx.params.file ?? '') ?? []
    if (variant === undefined) return
    const found = await brands.logo(ctx.params.id ?? '', variant === 'dark' ? 'dark' : 'light')
    if (found === undefined) return
    ctx.status = 200
    ctx.type = found.type
    ctx.body = found.body
    ctx.set('Content-Security-Policy', PICTURE_POLICY)
    if (found.hash === hash) ctx.set('Cache-Control', KEPT)
  })
  return router
}

/** Every page that no client belongs to shows the default brand. Paths that answer programs do not wait for it. */
export function offerDefaultBrand(
  brands: Pick<BrandsService, 'page' | 'lastDefault'>,
  programs: ReadonlySet<string>,
): Middleware {
  return async (ctx: Context, next: Next) => {
    ctx.state.brand = programs.has(ctx.path) ? brands.lastDefault() : await brands.page()
    await next()
  }
}
