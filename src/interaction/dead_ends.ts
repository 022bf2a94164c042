/** The pages of a conversation that cannot go on: it has expired, is another browser's, or the browser keeps no cookies. */
import type { Context } from 'koa'
import type { InteractionHints } from './hints.ts'
import type { ClientView } from './step.ts'
import type { InteractionStore } from './store.ts'

export interface DeadEndDeps {
  readonly store: Pick<InteractionStore, 'client' | 'locale'>
  readonly hints: Pick<InteractionHints, 'find'>
  /** The path that people are led to when no client is. */
  readonly home: string
  readonly pages: {
    render(ctx: Context, template: string, context: { readonly [name: string]: unknown }, status?: number): void
  }
}

/** No such interaction in this browser: never a dead end, never a loop. */
export async function gone(deps: DeadEndDeps, ctx: Context, uid: string): Promise<void> {
  const hint = await deps.hints.find(uid)
  const client = hint === undefined ? undefined : await deps.store.client(ctx, hint.clientId)
  ctx.state.locale = deps.store.locale(ctx, client)
  // The cookie was set a moment ago, and the browser sends none of ours at all.
  if (hint?.fresh && !/genkan_interaction=/.test(ctx.get('Cookie'))) {
    const context = { retryUrl: restartUrl(deps, client), ...(client && { client }) }
    return deps.pages.render(ctx, 'interaction/cookies_blocked', context, 400)
  }
  return expired(deps, ctx, client)
}

/** The conversation is over; the way back is to the client that it was for. */
export function expired(deps: Pick<DeadEndDeps, 'home' | 'pages'>, ctx: Context, client: ClientView | undefined): void {
  const context = { restartUrl: restartUrl(deps, client), ...(client && { client }) }
  deps.pages.render(ctx, 'interaction/expired', context, 400)
}

/** Only ever an address of the client's own registration (OIDC Core §4, initiate_login_uri), else our own page. */
function restartUrl({ home }: Pick<DeadEndDeps, 'home'>, client: ClientView | undefined): string {
  return client?.initiateLoginUri ?? home
}
