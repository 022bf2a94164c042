/**
 * Signing in by a provider that people have an account at already (OpenID Connect, OAuth 2, SAML 2.0): the buttons, the way there
 * and back, the first sign-in that makes an account, and connecting one that is there. Owns what waits in the key/value store
 * while a browser is away, and /upstream/<name>/callback. What providers there are belongs to upstreams, what accounts are
 * called there to identities, and every protocol to `platform/`.
 */
import type { Feature } from '../../feature.ts'
import type { FlowState, RequestFacts, Step } from '../../interaction/step.ts'
import type { SecurityRow } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { createCallbackRouter, createIdentityRouter, type IdentityRouteDeps } from './routes.ts'
import { createUpstreamSignInService, type UpstreamSignInDeps, type UpstreamSignInService } from './service.ts'
import {
  createLinkUpstreamStep,
  createUpstreamAccountStep,
  createUpstreamStep,
  depart,
  type UpstreamStepDeps,
} from './step.ts'

export type UpstreamSignInFeatureDeps = Omit<UpstreamSignInDeps, 'upstreams'> &
  Omit<UpstreamStepDeps, 'service' | 'upstreams'> & {
    readonly upstreams: UpstreamSignInDeps['upstreams'] & UpstreamStepDeps['upstreams']
  }

export interface UpstreamSignInFeature extends Feature {
  readonly service: UpstreamSignInService
  /** Where a browser is sent whose address leads to a provider; undefined when it cannot be, which its page then says. */
  lead(provider: string, email: string, state: FlowState, request: RequestFacts): Promise<string | undefined>
}

/** The feature and its service: `service` is what the account pages get. */
export function createUpstreamSignIn(deps: UpstreamSignInFeatureDeps): UpstreamSignInFeature {
  const service = createUpstreamSignInService(deps)
  const parts = { ...deps, service }
  const steps = [createUpstreamStep(parts), createUpstreamAccountStep(parts), createLinkUpstreamStep(parts)]
  return {
    name: 'upstream_sign_in',
    service,
    steps: steps as Step[],
    router: createCallbackRouter(parts),
    async lead(...asked) {
      const departed = await depart(service, ...asked)
      return departed.ok ? departed.url : undefined
    },
  }
}

/** The pages under /account, where there are any. */
export function createIdentityPages(
  deps: IdentityRouteDeps,
): Feature & { row(me: SignedIn): Promise<SecurityRow | undefined> } {
  return {
    name: 'identity_pages',
    router: createIdentityRouter(deps),
    row: async ({ accountId }) => {
      const count = (await deps.identities.list(accountId)).length
      const isOffered = deps.proofings.isOffered() || (await deps.upstreams.offered(undefined)).length > 0
      if (count === 0 && !isOffered) return undefined
      const state = count === 0 ? 'security.off' : 'identities.count'
      return { label: 'identities.name', state, link: '/account/identities', ...(count > 0 && { count }) }
    },
  }
}
