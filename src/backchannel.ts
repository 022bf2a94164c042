/** What clients ask of people who are elsewhere (CIBA Core 1.0), wired: the room of approvals between the engine and the account pages. */
import { createApprovals } from './features/approvals/index.ts'
import { approvalRepository } from './features/approvals/repository.ts'
import type { Foundation } from './foundation.ts'
import { createLevels } from './interaction/levels.ts'
import { answerRequest, deliverPing } from './oidc/ciba.ts'
import type { EngineInteractions } from './oidc/interactions.ts'
import type { Engine } from './oidc/provider.ts'
import { newId } from './platform/ids.ts'

type Deps = Parameters<typeof createApprovals>[0]

interface Rooms {
  readonly accounts: { readonly service: Deps['accounts'] }
  readonly sessions: { readonly service: Pick<Deps, 'linkClient'> }
  readonly consents: { readonly service: Pick<Deps, 'permissionsOf'> }
  readonly notices: { readonly service: Deps['notices'] }
  readonly realms: { readonly service: { closes(account: { accountId: string; email: string }): Promise<boolean> } }
}

/** The engine is reached once it is there. */
export function approvalsOf(
  { config, database, outbox, clock, personal, keyValue, views, logger }: Foundation,
  { accounts, sessions, consents, notices, realms }: Rooms,
  engine: Pick<EngineInteractions, 'client'>,
  provider: () => Engine,
) {
  const levels = createLevels(config.levels, config.scopeLevels)
  return createApprovals({
    repository: approvalRepository(database.db, personal),
    ...{ transaction: database.transaction, outbox, clock, newId, kv: keyValue },
    warn: (error, message) => logger.warn({ err: error }, message),
    ...{ issuer: config.issuer, locale: views.pickLocale([]), notices: notices.service, accounts: accounts.service },
    isClosed: (account) => realms.service.closes(account),
    atLeast: levels.atLeast,
    client: (clientId) => engine.client(clientId),
    permissionsOf: consents.service.permissionsOf,
    linkClient: sessions.service.linkClient,
    answer: (answer) => answerRequest(provider(), levels, answer),
    deliverPing: (clientId, authReqId) => deliverPing(provider(), clientId, authReqId),
    limits: { ...config.approvals, windowSeconds: config.limits.windowSeconds },
    hook: config.conformance.cibaHook,
  })
}
