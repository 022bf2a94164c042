/**
 * Proofings: checks of persons by somebody who signs nobody in: a vendor who tells the result by a signed webhook, or an operator.
 * Owns the table `proofings`, /proofings/<name>/result and what operators decide. What was verified is handed to
 * identifications; the buttons are on the page of connected sign-ins (upstream_sign_in). A provider that signs people in and
 * identifies them is an upstream.
 */
import type { Feature } from '../../feature.ts'
import type { Identifying } from '../identifications/types.ts'
import { createProofingRouter } from './routes.ts'
import { createProofingService, type ProofingDeps, type ProofingService } from './service.ts'
import { SEALED_CLAIMS } from './types.ts'

const BATCH = 500
const DAY_MS = 86_400_000
/** Longer than providers repeat what they tell, and than an owner has to say that it was not them. */
const KEPT_MS = 10 * DAY_MS

/** The feature and its service: `service` is what the account pages and commands get. */
export function createProofings(
  deps: ProofingDeps,
): Feature & { readonly service: ProofingService; readonly identifying: readonly Identifying[] } {
  const service = createProofingService(deps)
  return {
    name: 'proofings',
    service,
    identifying: [...deps.providers.values()].map(({ identification }) => identification),
    router: createProofingRouter(service),
    personal: [SEALED_CLAIMS],
    jobs: [
      {
        name: 'proofings_end',
        everySeconds: 600,
        run: async (now) => {
          await service.endOverdue(now, BATCH)
          await service.purge(new Date(now.getTime() - KEPT_MS), BATCH)
        },
      },
    ],
    reacts: [
      {
        types: ['account.disabled', 'account.disowned', 'account.email_restored'],
        handle: async ({ type, accountId }, tx) => {
          if (accountId === undefined) return
          await service.end(accountId, type, tx)
          if (type !== 'account.disabled') await service.disown(accountId, tx)
        },
      },
    ],
  }
}
