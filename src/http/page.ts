/**
 * Answers with a hosted page. Every page is private to one person and one moment: it is never stored, carries the nonce
 * of its own response, and says its language.
 */
import { randomBytes } from 'node:crypto'
import type { Context } from 'koa'
import { type Brand, PLAIN_BRAND } from '../platform/brand.ts'
import type { Views } from '../platform/views.ts'
import { chooserOf } from './language.ts'
import { pagePolicy, type WidgetSources } from './security_headers.ts'

export interface Pages {
  /** Renders `views/<template>.njk` as the answer; `status` is 200 unless given. */
  render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
}

/** Texts for answers that are not known until they fail. */
export interface PageTexts {
  has(key: string): boolean
  /** The message of a key in the language of the request. */
  text(ctx: Context, key: string): string
}

/** What earlier middleware leaves for pages. All of it may be missing when an error came before it. */
interface PageState {
  readonly locale?: string
  readonly nonce?: string
  readonly csrf?: () => string
  readonly requestId?: string
  /** The brand of the request's client, or the default one. */
  readonly brand?: Brand
}

export function createPages({ views }: { views: Views }): Pages & PageTexts {
  const localeOf = (ctx: Context) => (ctx.state as PageState).locale ?? views.pickLocale([])
  return {
    has: views.has,
    text: (ctx, key) => views.t(localeOf(ctx), key),
    render(ctx, template, context, status = 200) {
      const state = ctx.state as PageState
      const locale = localeOf(ctx)
      const nonce = state.nonce ?? randomBytes(16).toString('base64url')
      const brand = state.brand ?? PLAIN_BRAND
      const body = views.render(template, {
        ...{ chooser: chooserOf(ctx, template, context.uid) },
        ...context,
        ...{ brand, locale, nonce, csrf: state.csrf?.() ?? '' },
      })
      ctx.status = status
      ctx.body = body
      ctx.type = 'text/html; charset=utf-8'
      ctx.set('Cache-Control', 'no-store')
      ctx.set('Content-Language', locale)
      ctx.vary('Accept-Language')
      ctx.vary('Cookie')
      ctx.set('Content-Security-Policy', pagePolicy(nonce, imageOrigins(context), widgetOf(context)))
    },
  }
}

/** The logo of the client is the one picture a page takes from elsewhere. */
function imageOrigins(context: { readonly [name: string]: unknown }): string[] {
  const client = context.client as { readonly logoUri?: unknown } | undefined
  if (typeof client?.logoUri !== 'string' || !URL.canParse(client.logoUri)) return []
  const url = new URL(client.logoUri)
  return url.protocol === 'https:' || url.protocol === 'http:' ? [url.origin] : []
}

/** A form that asks for a CAPTCHA is the one page that shows a part of somebody else's. Its sources are settings, nobody's input. */
function widgetOf(context: { readonly [name: string]: unknown }): WidgetSources | undefined {
  const error = context.error as { challenge?: { captcha?: { sources: WidgetSources } } } | undefined
  return error?.challenge?.captcha?.sources
}
