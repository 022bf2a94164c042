/** The engine's own pages: errors without a way back to a client, the confirmation of a logout, and its end. */
import type { Context } from 'koa'
import type { Client, ErrorOut, KoaContextWithOIDC } from 'oidc-provider'
import type { OAuthErrorPage } from '../http/error_handler.ts'
import type { Languages } from '../http/language.ts'
import type { Pages } from '../http/page.ts'
import type { ClientView } from '../interaction/step.ts'

/** The brand of an id; the default one for none or an unknown one. */
export type BrandOf = (id: string | undefined) => Promise<NonNullable<ClientView['brand']>>

export interface EnginePagesDeps {
  readonly pages: Pages
  readonly renderOAuthError: OAuthErrorPage
  readonly issuer: string
  /** The path that people are led to when no client is. */
  readonly home: string
  readonly languages: Pick<Languages, 'of'>
  /** The language that an account is set to. */
  readonly languageOf: (accountId: string) => Promise<string | undefined>
  readonly brandOf: BrandOf
}

/** `renderError`, `logoutSource` and `postLogoutSuccessSource` of the engine. */
export function createEnginePages(deps: EnginePagesDeps) {
  const { pages, renderOAuthError, issuer, home, languages, languageOf, brandOf } = deps
  /** The client of the request, whose brand and language the page then has (`ui_locales`: RP-Initiated Logout 1.0 §2). */
  const clientOf = async (ctx: KoaContextWithOIDC, account?: string): Promise<ClientView | undefined> => {
    const view = ctx.oidc.client === undefined ? undefined : await viewOf(ctx.oidc.client, brandOf)
    if (view !== undefined) (ctx.state as { brand?: unknown }).brand = view.brand
    const { ui_locales: uiLocales } = (ctx.oidc.params ?? {}) as { ui_locales?: unknown }
    const wishes = { uiLocales, account, fallback: view?.defaultLocale }
    ctx.state.locale = languages.of(ctx as unknown as Context, wishes)
    return view
  }
  return {
    async renderError(ctx: KoaContextWithOIDC, out: ErrorOut, error: Error): Promise<void> {
      const client = await clientOf(ctx)
      if (ctx.status === 503) ctx.set('Retry-After', '2')
      await renderOAuthError(ctx as unknown as Context, out, error, client)
    },

    /** Against forged sign-outs (A56) the session ends only by this page's button. "Stay" is a link and changes nothing. */
    async renderLogout(ctx: KoaContextWithOIDC): Promise<void> {
      const { session, params } = ctx.oidc
      const accountId = session?.accountId
      const client = await clientOf(ctx, accountId === undefined ? undefined : await languageOf(accountId))
      const state = session?.state as { secret?: string; postLogoutRedirectUri?: string } | undefined
      pages.render(ctx as unknown as Context, 'logout/confirm', {
        action: `${issuer}/session/end/confirm`,
        xsrf: state?.secret ?? '',
        stayUrl: stayUrl(state?.postLogoutRedirectUri, (params as { state?: unknown } | undefined)?.state) ?? home,
        ...(client === undefined ? {} : { client }),
      })
    },

    async renderLoggedOut(ctx: KoaContextWithOIDC): Promise<void> {
      const client = await clientOf(ctx)
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
export async function viewOf(client: Client, brandOf: BrandOf): Promise<ClientView> {
  const brand = await brandOf(client.brand as string | undefined)
  const name = client.clientName ?? client.clientId
  return {
    clientId: client.clientId,
    firstParty: client.first_party === true,
    ...(client.unverified === true ? unverifiedView(client.clientId, name) : { name, ...linksOf(client) }),
    initiateLoginUri: client.start_uri as string | undefined,
    registrationFields: client.registration_fields as ClientView['registrationFields'],
    defaultLocale: client.default_locale as string | undefined,
    minimumAcr: client.minimum_acr as string | undefined,
    secondFactor: secondFactorOf(client),
    upstreams: (client.upstreams as ClientView['upstreams']) ?? brand.upstreams,
    agent: agentOf(client),
    brand,
  }
}

function agentOf({ agent }: Client): ClientView['agent'] {
  if (agent === undefined) return undefined
  const { expires_at: expiresAt, ...said } = agent as NonNullable<ClientView['agent']> & {
    readonly expires_at?: string
  }
  return expiresAt === undefined ? said : { ...said, expiresAt }
}

/** Longer ones say more than a name. */
const SELF_NAME = 60

function linksOf({ logoUri, policyUri, tosUri, clientUri }: Client) {
  return { logoUri, policyUri, tosUri, clientUri }
}

/**
 * Nothing that the client chose is loaded or linked to (A73). One that is a document goes by its host: a name that it gives
 * itself could be anybody's.
 */
function unverifiedView(clientId: string, name: string) {
  const host = /^https?:/.test(clientId) ? new URL(clientId).host : undefined
  if (host === undefined) return { name, unverified: true }
  // The page puts it in quotation marks, which it must not close to go on in the page's own voice.
  const selfName = name.replace(/["'“”„‟«»「」『』‘’‹›]/g, '').slice(0, SELF_NAME)
  return { name: host, selfName, unverified: true }
}

/** What a client wants of accounts that have no second factor. */
export function secondFactorOf({
  second_factor: policy,
  second_factor_grace: grace = 0,
}: Client): ClientView['secondFactor'] {
  return policy === undefined ? undefined : ({ policy, grace } as ClientView['secondFactor'])
}
