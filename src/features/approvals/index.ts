/**
 * Approvals: what clients ask people for while these are elsewhere (OpenID Connect Client-Initiated Backchannel Authentication
 * Core 1.0). Owns the rows of `approvals`, their pages in the account area, and the mails that lead there. The request and the
 * Grant are the engine's, which is told by the function `answer`; a client that wants to be told gets its ping from here.
 */
import type { Feature, Subscription } from '../../feature.ts'
import { type ApprovalRouteDeps, createApprovalRouter, createHookRouter } from './routes.ts'
import { type ApprovalDeps, type ApprovalService, createApprovalService } from './service.ts'
import { SEALED_REQUEST } from './types.ts'

export interface ApprovalFeatureDeps extends ApprovalDeps {
  /** Tells a client that its answer is there. Throws when it must be tried again. */
  readonly deliverPing: (clientId: string, authReqId: string) => Promise<void>
  /** Lets the conformance suite answer in the person's place. */
  readonly hook: boolean
}

const BATCH = 500
const DAY_MS = 86_400_000

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createApprovals(deps: ApprovalFeatureDeps): Feature & { readonly service: ApprovalService } {
  const service = createApprovalService(deps)
  return {
    name: 'approvals',
    service,
    ...(deps.hook ? { router: createHookRouter(service) } : {}),
    subscribe: [repeatAnswer(service), ping(deps)],
    personal: [SEALED_REQUEST],
    jobs: [
      {
        name: 'approvals_purge',
        everySeconds: 600,
        run: async (now) => void (await service.purge(new Date(now.getTime() - DAY_MS), BATCH)),
      },
    ],
  }
}

/** The pages of the account area. */
export function createApprovalPages(deps: ApprovalRouteDeps): Feature {
  return { name: 'approval_pages', router: createApprovalRouter(deps) }
}

/** Repeats what may not have reached the engine because the process died after the commit. Idempotent. */
function repeatAnswer({ tell }: ApprovalService): Subscription {
  return {
    consumer: 'approval_answers',
    types: ['approval.granted', 'approval.denied'],
    async handle({ data }) {
      if (typeof data?.approval === 'string') await tell(data.approval)
    },
  }
}

/** The delivery row of this consumer is the status of the ping at that client (CIBA Core §10.2). */
function ping({ deliverPing }: ApprovalFeatureDeps): Subscription {
  return {
    consumer: 'ciba_ping',
    types: ['ping.requested'],
    async handle({ clientId, sealed }) {
      const authReqId = sealed?.authReqId
      if (clientId !== undefined && typeof authReqId === 'string') await deliverPing(clientId, authReqId)
    },
  }
}
