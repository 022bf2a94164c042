/** The engine's own pages: errors without a way back to a client, the confirmation of a logout, and its end. */
import type { Context } from 'koa'
import type { Client, ErrorOut, KoaContextWithOIDC } from 'oidc-provider'
import type { OAuthErrorPage } from '../http/error_handler.ts'
import type { Languages } from '../http/language.ts'
import type { Pages } from '../http/page.ts'
import type { ClientView } from '../interaction/step.ts'

export interface EnginePagesDeps {
  readonly pages: Pages
  readonly renderOAuthError: OAuthErrorPage
  readonly issuer: string
  /** The path that people are led to when no client is. */
  readonly home: string
  readonly languages: Pick<Languages, 'of'>
  /** The language that an account is set to. */
  readonly languageOf: (accountId: string) => Promise<string | undefined>
}

/** `renderError`, `logoutSource` and `postLogoutSuccessSource` of the engine. */
export function createEnginePages({ pages, renderOAuthError, issuer, home, languages, languageOf }: EnginePagesDeps) {
  /** `ui_locales` counts here too (OIDC Core §3.1.2.1, RP-Initiated Logout 1.0 §2). */
  const speak = (ctx: KoaContextWithOIDC, account?: string) => {
    const { ui_locales: uiLocales } = (ctx.oidc.params ?? {}) as { ui_locales?: unknown }
    const fallback = ctx.oidc.client === undefined ? undefined : viewOf(ctx.oidc.client).defaultLocale
    ctx.state.locale = languages.of(ctx as unknown as Context, { uiLocales, account, fallback })
  }
  return {
    async renderError(ctx: KoaContextWithOIDC, out: ErrorOut, error: Error): Promise<void> {
      speak(ctx)
      const client = ctx.oidc.client === undefined ? undefined : viewOf(ctx.oidc.client)
      if (ctx.status === 503) ctx.set('Retry-After', '2')
      await renderOAuthError(ctx as unknown as Context, out, error, client)
    },

    /** Against forged sign-outs (A56) the session ends only by this page's button. "Stay" is a link and changes nothing. */
    async renderLogout(ctx: KoaContextWithOIDC): Promise<void> {
      const { session, params, client } = ctx.oidc
      speak(ctx, session?.accountId === undefined ? undefined : await languageOf(session.accountId))
      const state = session?.state as { secret?: string; postLogoutRedirectUri?: string } | undefined
      pages.render(ctx as unknown as Context, 'logout/confirm', {
        action: `${issuer}/session/end/confirm`,
        xsrf: state?.secret ?? '',
        stayUrl: stayUrl(state?.postLogoutRedirectUri, (params as { state?: unknown } | undefined)?.state) ?? home,
        ...(client === undefined ? {} : { client: viewOf(client) }),
      })
    },

    async renderLoggedOut(ctx: KoaContextWithOIDC): Promise<void> {
      speak(ctx)
      const client = ctx.oidc.client === undefined ? undefined : viewOf(ctx.oidc.client)
      pages.render(ctx as unknown as Context, 'logout/done', {
        signInUrl: home,
        ...(client === undefined ? {} : { client, backUrl: client.initiateLoginUri ?? client.clientUri }),
      })
    },
  }
}

/** The engine has checked the URI against the registered ones. */
function stayUrl(registered: string | undefined, state: unknown): string | undefined {
  if (registered === undefined) return undefined
  const url = new URL(registered)
  if (typeof state === 'string') url.searchParams.set('state', state)
  return url.href
}

/** What pages may show of a client. */
export function viewOf(client: Client): ClientView {
  return {
    clientId: client.clientId,
    name: client.clientName ?? client.clientId,
    firstParty: client.first_party === true,
    logoUri: client.logoUri,
    policyUri: client.policyUri,
    tosUri: client.tosUri,
    clientUri: client.clientUri,
    initiateLoginUri: client.start_uri as string | undefined,
    registrationFields: client.registration_fields as ClientView['registrationFields'],
    defaultLocale: client.default_locale as string | undefined,
  }
}
