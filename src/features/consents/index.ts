/**
 * Consents. Owns the rows of `consents` and `consent_details`, which are the truth for what a client may have of an account, and the consent
 * page (OIDC Core §3.1.2.4). What is missing is computed by the engine, and the Grant is made by the function `grantFor`;
 * revoking the grants of a client is the room of sessions, which calls `revoke` here in its transaction.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import type { Outbox, Reaction } from '../../platform/outbox.ts'
import { type ConsentDeps, type ConsentService, createConsentService } from './service.ts'
import { type ConsentStepDeps, createConsentStep } from './step.ts'
import { SEALED_DETAIL } from './types.ts'

export type ConsentFeatureDeps = ConsentDeps &
  Pick<ConsentStepDeps, 'accounts' | 'detailTypes'> & { readonly outbox: Pick<Outbox, 'record'> }

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createConsents(deps: ConsentFeatureDeps): Feature & { readonly service: ConsentService } {
  const service = createConsentService(deps)
  return {
    name: 'consents',
    service,
    personal: [SEALED_DETAIL],
    reacts: [endWithClient(deps, service)],
    steps: [createConsentStep({ ...deps, consents: service }) as Step],
  }
}

/** Nobody agrees to anything with a client that is deleted. */
function endWithClient({ outbox, clock }: ConsentFeatureDeps, { revokeAll }: ConsentService): Reaction {
  return {
    types: ['client.deleted'],
    async handle({ clientId, actor }, tx) {
      if (clientId === undefined) return
      const accounts = await revokeAll(clientId, clock.now(), tx)
      const facts = accounts.map((accountId) => ({ type: 'consent.revoked', accountId, clientId, actor }) as const)
      if (facts.length > 0) await outbox.record(facts, tx)
    },
  }
}
