/**
 * In which language a person is spoken to: decided here and nowhere else, and chosen by the chooser at the foot of every
 * page. The order is what the client asks for (`ui_locales`, OIDC Core §3.1.2.1), the setting of the account, the choice
 * that this browser keeps, what the browser accepts, the default of the client, that of its brand, ours. Who uses the chooser on a page beats the client's wish
 * there: the choice then takes the place of `ui_locales`, in the address or in the conversation.
 */
import Router from '@koa/router'
import type { Context } from 'koa'
import { AppError } from '../errors.ts'
import { readForm } from './form.ts'
import { hostCookie } from './host_cookie.ts'
import { ownPathOf, ownUrl } from './own_path.ts'

/** What is known beside what the browser says. */
export interface LanguageWishes {
  /** The parameter of the request, as it came. */
  readonly uiLocales?: unknown
  /** The setting of the account, once it is certain who is there. */
  readonly account?: string | undefined
  /** The default of the client. */
  readonly fallback?: string | undefined
}

export interface Languages {
  /** The locale to answer in. */
  of(ctx: Context, wishes?: LanguageWishes): string
  /**
   * Takes the choice that one of our forms names, and keeps it in this browser for a year.
   * @throws {AppError} `invalid_request` for a language that we do not speak
   */
  choose(ctx: Context, locale: string | undefined): string
  /** Where a form comes back to: the place it names when that is a path of ours (A100), without the client's wish; else `otherwise`. */
  back(place: string | undefined, otherwise: string): string
}

const YEAR_MS = 365 * 86_400_000

export function createLanguages(deps: {
  readonly issuer: string
  readonly locales: readonly string[]
  readonly pickLocale: (candidates: readonly string[]) => string
}): Languages {
  const { issuer, locales, pickLocale } = deps
  const cookie = hostCookie(issuer, 'locale')
  return {
    of: (ctx, wishes = {}) =>
      pickLocale(
        byPriority({
          ...wishes,
          brand: (ctx.state as { brand?: { readonly defaultLocale?: string | undefined } }).brand?.defaultLocale,
          cookie: cookie.read(ctx),
          accept: ctx.get('Accept-Language'),
        }),
      ),
    choose(ctx, locale) {
      if (locale === undefined || !locales.includes(locale)) throw new AppError('invalid_request')
      cookie.write(ctx, locale, YEAR_MS)
      return locale
    },
    back(place, otherwise) {
      const url = place === undefined ? undefined : ownUrl(issuer, Buffer.from(place, 'base64url').toString())
      if (url === undefined) return otherwise
      if (url.searchParams.has('ui_locales')) url.searchParams.delete('ui_locales')
      return url.href
    },
  }
}

/** Language tags, the one that counts most first. */
export function byPriority(
  said: LanguageWishes & {
    readonly cookie?: string | undefined
    readonly accept: string
    /** The default of the brand that the page has. */
    readonly brand?: string | undefined
  },
) {
  const { uiLocales, account, cookie, accept, fallback, brand } = said
  return [
    ...(typeof uiLocales === 'string' ? uiLocales.slice(0, 200).split(' ') : []),
    ...(account === undefined ? [] : [account]),
    ...(cookie === undefined ? [] : [cookie]),
    ...byQuality(accept.slice(0, 256)),
    ...(fallback === undefined ? [] : [fallback]),
    ...(brand === undefined ? [] : [brand]),
  ]
}

/** Language tags of an Accept-Language header, best first (RFC 9110 §12.5.4). */
function byQuality(header: string): string[] {
  return header
    .split(',')
    .map((part, index) => {
      const [tag = '', quality = ''] = part.trim().split(/\s*;\s*q=/)
      return { tag, quality: quality === '' ? 1 : Number(quality) || 0, index }
    })
    .filter(({ tag, quality }) => /^[a-z]{2,8}(-[a-z0-9]{1,8})*$/i.test(tag) && quality > 0)
    .sort((a, b) => b.quality - a.quality || a.index - b.index)
    .map(({ tag }) => tag)
}

/** The chooser of pages outside of a conversation. */
export function createLanguageRouter(deps: {
  readonly languages: Pick<Languages, 'choose' | 'back'>
  readonly csrf: { check(ctx: Context, token: string | undefined): void }
}): Router {
  const { languages, csrf } = deps
  const router = new Router()
  router.post('/language', async (ctx) => {
    const form = await readForm(ctx)
    csrf.check(ctx, form.csrf)
    languages.choose(ctx, form.locale)
    ctx.redirect(languages.back(form.return_to, '/account'))
    ctx.status = 303
  })
  return router
}

/**
 * Where the chooser of a page posts to, and where it comes back to: the same page, or the GET page of a form's answer;
 * nothing for the page of the conversation `uid`, which its form names already. The place is coded, so that the page of a
 * wrong request repeats nothing of it (A76, A97).
 */
export function chooserOf(ctx: Context, template: string, uid?: unknown): { action: string; returnTo: string } {
  const [conversation] = /^\/interaction\/[^/]+/.exec(ctx.path) ?? []
  const isAnswer = ctx.method !== 'GET' && ctx.method !== 'HEAD'
  // What a failed POST answers outside of a page's own form has no GET page.
  const elsewhere = conversation ?? (template === 'error' ? '/account' : ctx.path)
  const place = isAnswer ? elsewhere : ownPathOf(ctx)
  const returnTo = Buffer.from(place).toString('base64url')
  if (typeof uid !== 'string') return { action: '/language', returnTo }
  return { action: `/interaction/${uid}/language`, returnTo: place === conversation ? '' : returnTo }
}
