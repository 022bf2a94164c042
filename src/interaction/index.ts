/**
 * The hosted conversation: sign in, register, recover, switch account and consent as one table of steps. Owns the routes
 * under /interaction and the progress record; the engine's Interaction, cookies and resume are its own, reached through
 * `EngineInteractions`; what a step asks and checks belongs to the features.
 */
import type Router from '@koa/router'
import type { InteractionStoreDeps } from './conversation.ts'
import { type InteractionRouteDeps, interactionRoutes } from './routes.ts'
import { createInteractionStore } from './store.ts'

export type InteractionDeps = InteractionStoreDeps & Omit<InteractionRouteDeps, 'store'>

/** Builds the conversation. `steps` is the table that decides the order. */
export function createInteraction(deps: InteractionDeps): { readonly router: Router } {
  return { router: interactionRoutes({ ...deps, store: createInteractionStore(deps) }) }
}
