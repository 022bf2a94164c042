/** The engine's own pages: errors without a way back to a client, the confirmation of a logout, and its end. */
import type { Context } from 'koa'
import type { Client, ErrorOut, KoaContextWithOIDC } from 'oidc-provider'
import type { OAuthErrorPage } from '../http/error_handler.ts'
import type { Pages } from '../http/page.ts'
import type { ClientView } from '../interaction/step.ts'

/** The brand of an id; the default one for none or an unknown one. */
export type BrandOf = (id: string | undefined) => Promise<{ readonly id: string }>

export interface EnginePagesDeps {
  readonly pages: Pages
  readonly renderOAuthError: OAuthErrorPage
  readonly issuer: string
  readonly pickLocale: (candidates: readonly string[]) => string
  readonly brandOf: BrandOf
}

/** `renderError`, `logoutSource` and `postLogoutSuccessSource` of the engine. */
export function createEnginePages({ pages, renderOAuthError, issuer, pickLocale, brandOf }: EnginePagesDeps) {
  /** The client of the request, whose brand the page then has. */
  const clientOf = async (ctx: KoaContextWithOIDC): Promise<ClientView | undefined> => {
    if (ctx.oidc.client === undefined) return undefined
    const view = await viewOf(ctx.oidc.client, brandOf)
    ;(ctx.state as { brand?: unknown }).brand = view.brand
    return view
  }
  /** `ui_locales`, then what the browser said (OIDC Core §3.1.2.1, RP-Initiated Logout 1.0 §2). */
  const speak = (ctx: KoaContextWithOIDC) => {
    const { ui_locales: wanted } = (ctx.oidc.params ?? {}) as { ui_locales?: unknown }
    const state = ctx.state as { locale?: string }
    if (typeof wanted !== 'string') return
    const candidates = wanted.slice(0, 200).split(' ')
    state.locale = pickLocale(state.locale === undefined ? candidates : [...candidates, state.locale])
  }
  return {
    async renderError(ctx: KoaContextWithOIDC, out: ErrorOut, error: Error): Promise<void> {
      const client = await clientOf(ctx)
      speak(ctx)
      if (ctx.status === 503) ctx.set('Retry-After', '2')
      await renderOAuthError(ctx as unknown as Context, out, error, client)
    },

    /** Against forged sign-outs (A56) the session ends only by this page's button. "Stay" is a link and changes nothing. */
    async renderLogout(ctx: KoaContextWithOIDC): Promise<void> {
      const client = await clientOf(ctx)
      speak(ctx)
      const { session, params } = ctx.oidc
      const state = session?.state as { secret?: string; postLogoutRedirectUri?: string } | undefined
      pages.render(ctx as unknown as Context, 'logout/confirm', {
        action: `${issuer}/session/end/confirm`,
        xsrf: state?.secret ?? '',
        stayUrl: stayUrl(state?.postLogoutRedirectUri, (params as { state?: unknown } | undefined)?.state),
        ...(client === undefined ? {} : { client }),
      })
    },

    async renderLoggedOut(ctx: KoaContextWithOIDC): Promise<void> {
      const client = await clientOf(ctx)
      pages.render(ctx as unknown as Context, 'logout/done', {
        ...(client === undefined ? {} : { client, backUrl: client.initiateLoginUri ?? client.clientUri }),
      })
    },
  }
}

/** The engine has checked the URI against the registered ones; without one the account pages are the place to stay. */
function stayUrl(registered: string | undefined, state: unknown): string {
  if (registered === undefined) return '/account'
  const url = new URL(registered)
  if (typeof state === 'string') url.searchParams.set('state', state)
  return url.href
}

/** What pages may show of a client. */
export async function viewOf(client: Client, brandOf: BrandOf): Promise<ClientView> {
  return {
    clientId: client.clientId,
    name: client.clientName ?? client.clientId,
    firstParty: client.first_party === true,
    logoUri: client.logoUri,
    policyUri: client.policyUri,
    tosUri: client.tosUri,
    clientUri: client.clientUri,
    initiateLoginUri: client.start_uri as string | undefined,
    brand: await brandOf(client.brand as string | undefined),
  }
}
