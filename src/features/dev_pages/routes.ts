/** The gallery, and the pages and mails that it shows in frames. */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../../errors.ts'
import { galleryQuery } from './schema.ts'
import type { Gallery } from './service.ts'

export interface DevRouteDeps {
  readonly gallery: Gallery
  readonly locales: readonly string[]
  readonly pages: {
    render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
  }
  readonly mail: (
    template: string,
    locale: string,
    values: { readonly [name: string]: unknown },
  ) => { readonly subject: string; readonly html: string; readonly text: string }
}

/** Mails bring their style with them, as mail programs need it. */
const MAIL_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'self'"

export function createDevRouter({ gallery, locales, pages, mail }: DevRouteDeps): Router {
  const router = new Router()
  const asked = (ctx: Context) => {
    const query = galleryQuery.parse(ctx.query)
    const state = ctx.state as { locale: string }
    state.locale = gallery.locale(query, state.locale)
    return { query, locale: state.locale }
  }

  router.get('/dev/pages', (ctx) => {
    const { query, locale } = asked(ctx)
    pages.render(ctx, 'dev_pages/gallery', { query, locales, shown: gallery.overview(query, locale) })
    ctx.set('Content-Security-Policy', `${ctx.response.get('Content-Security-Policy')}; frame-src 'self'`)
  })
  router.get('/dev/pages/parts', (ctx) => {
    const { query } = asked(ctx)
    pages.render(ctx, 'dev_pages/parts', { theme: query.theme, qr: 'https://id.example/an-address-to-scan' })
    framed(ctx, ctx.response.get('Content-Security-Policy').replace("frame-ancestors 'none'", "frame-ancestors 'self'"))
  })
  router.get('/dev/pages/page', (ctx) => {
    const { query } = asked(ctx)
    const fixture = gallery.page(query)
    if (fixture === undefined) throw new AppError('not_found')
    pages.render(ctx, fixture.template, { ...fixture.values, theme: query.theme })
    framed(ctx, ctx.response.get('Content-Security-Policy').replace("frame-ancestors 'none'", "frame-ancestors 'self'"))
  })
  router.get('/dev/pages/mail', (ctx) => {
    const { query, locale } = asked(ctx)
    const fixture = gallery.mail(query)
    if (fixture === undefined) throw new AppError('not_found')
    const { subject, html, text } = mail(fixture.template, locale, fixture.values)
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
