/**
 * Sign-ins. Owns the rows of `sessions` and `session_clients`, which are the truth for "ended" and "revoked", the facts
 * about them, and back-channel logout requests (OIDC Back-Channel Logout 1.0). The cookie and the engine's Session and
 * Grant belong to `oidc/`, which is told by functions; signing and posting a logout token is handed to `deliverLogout`.
 */
import type { RecordedFact } from '../../events.ts'
import type { Feature, Job, Subscription } from '../../feature.ts'
import type { Reaction } from '../../platform/outbox.ts'
import type { SessionRepository } from './repository.ts'
import { createSessionService, type SessionDeps, type SessionService } from './service.ts'
import { SEALED_IP, SEALED_USER_AGENT } from './types.ts'

export interface SessionFeatureDeps extends SessionDeps {
  /**
   * Signs a logout token and posts it to the client. Throws when it must be tried again; returns when the client has
   * gone or has no URI any more.
   */
  readonly deliverLogout: (clientId: string, sub: string, sid: string) => Promise<void>
  readonly retention: {
    /** Addresses of sign-ins are forgotten after these days. */
    readonly ipDays: number
    /** An offline grant cannot be used after these seconds: the refresh token's absolute limit. */
    readonly offlineGrantSeconds: number
  }
}

const DAY = 86_400_000
const ENDED_DAYS = 30
const BATCH = 500
const BATCHES = 20

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createSessions(deps: SessionFeatureDeps): Feature & { readonly service: SessionService } {
  const service = createSessionService(deps)
  return {
    name: 'sessions',
    service,
    jobs: [purge(deps, deps.repository, service)],
    subscribe: [repeatEffects(deps), backchannelLogout(deps)],
    reacts: [endWithClient(deps)],
    personal: [SEALED_IP, SEALED_USER_AGENT],
  }
}

/** A client that is deleted holds nothing of anybody any more, and there is nobody left to be told. */
function endWithClient({ repository, outbox, clock }: SessionFeatureDeps): Reaction {
  return {
    types: ['client.deleted'],
    async handle({ clientId, actor }, tx) {
      if (clientId === undefined) return
      const links = await repository.cutLinks({ everybodyAt: clientId }, false, clock.now(), tx)
      const grants = new Map(links.map(({ grantId, accountId }) => [grantId, accountId]))
      const data = (grantId: string) => ({ grantId, reason: 'client_deleted' })
      const facts = [...grants].map(([grantId, accountId]) => ({
        ...({ type: 'grant.revoked', accountId, clientId, actor, data: data(grantId) } as const),
      }))
      if (facts.length > 0) await outbox.record(facts, tx)
    },
  }
}

/** Repeats what may not have reached the OIDC state because the process died after the commit. Idempotent. */
function repeatEffects({ engine }: SessionFeatureDeps): Subscription {
  return {
    consumer: 'session_effects',
    types: ['session.ended', 'sessions.ended', 'grant.revoked'],
    async handle(fact) {
      for (const uid of strings(fact.sealed?.sessions ?? fact.data?.uid)) await engine.destroySession(uid)
      for (const grantId of strings(fact.sealed?.grants ?? fact.data?.grantId)) await engine.destroyGrant(grantId)
    },
  }
}

/** The delivery row of this consumer is the status of the logout at that client. */
function backchannelLogout({ deliverLogout }: SessionFeatureDeps): Subscription {
  return {
    consumer: 'backchannel_logout',
    types: ['logout.requested'],
    async handle(fact: RecordedFact) {
      const [sub] = strings(fact.data?.sub)
      const [sid] = strings(fact.data?.sid)
      if (fact.clientId === undefined || sub === undefined || sid === undefined) return
      await deliverLogout(fact.clientId, sub, sid)
    },
  }
}

function strings(value: unknown): string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  return list.filter((item) => typeof item === 'string')
}

/** Bounded: what one run leaves, the next takes. */
function purge({ retention }: SessionFeatureDeps, repository: SessionRepository, service: SessionService): Job {
  return {
    name: 'sessions_purge',
    everySeconds: 600,
    async run(now) {
      const ago = (milliseconds: number) => new Date(now.getTime() - milliseconds)
      const offlineSince = ago(retention.offlineGrantSeconds * 1000)
      await repeat(() => service.endOver(now, BATCH))
      await repeat(() => repository.deleteEnded(ago(ENDED_DAYS * DAY), offlineSince, BATCH))
      await repository.forgetAddresses(ago(retention.ipDays * DAY), BATCH * BATCHES)
    },
  }
}

async function repeat(work: () => Promise<number>): Promise<void> {
  for (let round = 0; round < BATCHES; round++) {
    if ((await work()) < BATCH) return
  }
}
