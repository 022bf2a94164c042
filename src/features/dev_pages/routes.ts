/** The gallery, and the pages and mails that it shows in frames. */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../../errors.ts'
import type { Brand } from '../../platform/brand.ts'
import { galleryQuery } from './schema.ts'
import type { Gallery } from './service.ts'

export interface DevRouteDeps {
  readonly gallery: Gallery
  readonly locales: readonly string[]
  readonly pages: {
    render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
  }
  readonly brands: {
    list(): Promise<readonly { readonly id: string }[]>
    /** The brand of an id, the default one for an unknown. */
    page(id: string): Promise<Brand>
  }
  readonly mail: (
    template: string,
    locale: string,
    values: { readonly [name: string]: unknown },
    brand: Brand,
  ) => { readonly subject: string; readonly html: string; readonly text: string }
}

/** Mails bring their style with them, as mail programs need it. */
const MAIL_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'self'"

export function createDevRouter({ gallery, locales, brands, pages, mail }: DevRouteDeps): Router {
  const router = new Router()
  const asked = async (ctx: Context) => {
    const query = galleryQuery.parse(ctx.query)
    const state = ctx.state as { locale: string; brand?: Brand }
    const brand = await brands.page(query.brand)
    state.brand = brand
    state.locale = gallery.locale(query, state.locale)
    return { query, locale: state.locale, brand }
  }

  router.get('/dev/pages', async (ctx) => {
    const { query, locale } = await asked(ctx)
    const ids = new Set(['default', ...(await brands.list()).map(({ id }) => id)])
    const shown = gallery.overview(query, locale)
    pages.render(ctx, 'dev_pages/gallery', { query, locales, brands: [...ids], shown })
    ctx.set('Content-Security-Policy', `${ctx.response.get('Content-Security-Policy')}; frame-src 'self'`)
  })
  router.get('/dev/pages/parts', async (ctx) => {
    const { query } = await asked(ctx)
    pages.render(ctx, 'dev_pages/parts', { theme: query.theme, qr: 'https://id.example/an-address-to-scan' })
    framed(ctx, ctx.response.get('Content-Security-Policy').replace("frame-ancestors 'none'", "frame-ancestors 'self'"))
  })
  router.get('/dev/pages/page', async (ctx) => {
    const { query, locale } = await asked(ctx)
    const fixture = gallery.page(query, locale)
    if (fixture === undefined) throw new AppError('not_found')
    pages.render(ctx, fixture.template, { ...fixture.values, theme: query.theme })
    framed(ctx, ctx.response.get('Content-Security-Policy').replace("frame-ancestors 'none'", "frame-ancestors 'self'"))
  })
  router.get('/dev/pages/mail', async (ctx) => {
    const { query, locale, brand } = await asked(ctx)
    const fixture = gallery.mail(query, locale)
    if (fixture === undefined) throw new AppError('not_found')
    const { subject, html, text } = mail(fixture.template, locale, fixture.values, brand)
    ctx.body = query.part === 'html' ? html : `${subject}\n\n${text}`
    ctx.type = query.part === 'html' ? 'text/html; charset=utf-8' : 'text/plain; charset=utf-8'
    framed(ctx, MAIL_POLICY)
  })
  return router
}

/** The gallery may frame it: nothing that it shows belongs to anybody. */
function framed(ctx: Context, policy: string): void {
  ctx.set('Content-Security-Policy', policy)
  ctx.set('X-Frame-Options', 'SAMEORIGIN')
}
