/** When agents last acted for people, through which services, and the end of rights: unused, or taken back. */
import type { Fact } from '../../events.ts'
import { createLastUses } from '../../platform/last_uses.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { AgentRepository } from './repository.ts'
import type { AgentUse, Delegation, DelegationKey, StoredDelegation } from './types.ts'

export interface AgentDeps {
  readonly repository: AgentRepository
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  /** Takes back everything that the account gave the client. False when there was nothing left. */
  readonly revokeClient: (accountId: string, clientId: string, reason: 'unused', tx: Tx) => Promise<boolean>
  /** Days after which a right that was not used is taken back. */
  readonly idleDays: number
  readonly clock: { now(): Date }
}

export type AgentService = ReturnType<typeof createAgentService>

const DAY_MS = 86_400_000
/** In one go; the job comes again. */
const AT_MOST = 100

export function createAgentService(deps: AgentDeps) {
  const { repository, transaction, outbox } = deps
  const uses = createLastUses((noted) =>
    repository.insertUses(
      [...noted].map(([key, usedAt]): AgentUse => {
        const [accountId, clientId] = JSON.parse(key) as [string, string]
        return { accountId, clientId, usedAt }
      }),
    ),
  )
  return {
    /** Notes that an agent was given a token for a person, without a statement: it is written later. */
    used(accountId: string, clientId: string, at: Date): void {
      uses.note(JSON.stringify([accountId, clientId]), at)
    },

    /** Job: writes what was noted. */
    flush: uses.flush,

    /** When each agent last acted for the account, by client id. Precise to the half minute in which uses are written. */
    async lastUses(accountId: string): Promise<ReadonlyMap<string, Date>> {
      return new Map((await repository.listByAccount(accountId)).map(({ clientId, usedAt }) => [clientId, usedAt]))
    },

    /**
     * Job: takes back what agents have not used for so long: a right that nobody remembers is one that nobody watches
     * (CAPABILITIES R27). @returns how many
     */
    async lapse(now: Date): Promise<number> {
      const before = new Date(now.getTime() - deps.idleDays * DAY_MS)
      return transaction(async (tx) => {
        const unused = await repository.deleteUnused(before, AT_MOST, tx)
        for (const { accountId, clientId, usedAt } of unused) {
          if (!(await deps.revokeClient(accountId, clientId, 'unused', tx))) continue
          const data = { lastUsedAt: usedAt.toISOString() }
          await outbox.record([{ type: 'agent.lapsed', accountId, clientId, actor: 'system', data }], tx)
        }
        return unused.length
      })
    },

    ...delegationActs(deps),
  }
}

/** Agents that act through a service, without a consent of their own (RFC 8693). */
function delegationActs({ repository, transaction, outbox, clock }: AgentDeps) {
  return {
    /**
     * Notes an exchange and states `fact`, or does neither and says false, because the person took one of those that act
     * back. Without either there is no token.
     */
    delegate: (delegation: Delegation, fact: Fact): Promise<boolean> =>
      transaction(async (tx) => {
        const isAllowed = await repository.delegate(delegation, clock.now(), tx)
        if (isAllowed) await outbox.record([fact], tx)
        return isAllowed
      }),

    isTakenBack: repository.isTakenBack,

    delegations: (accountId: string): Promise<StoredDelegation[]> => repository.listDelegations(accountId),

    /** Takes an agent's way through a service back, wherever it leads. False when there is nothing to take back. */
    takeBack: (key: DelegationKey): Promise<boolean> =>
      transaction(async (tx) => {
        const resources = await repository.revokeDelegations(key, clock.now(), tx)
        if (resources.length > 0) await outbox.record([changed('delegation.revoked', key, resources)], tx)
        return resources.length > 0
      }),

    /** Ends that again. False when nothing was taken back. */
    allowAgain: (key: DelegationKey): Promise<boolean> =>
      transaction(async (tx) => {
        const resources = await repository.allowDelegations(key, tx)
        if (resources.length > 0) await outbox.record([changed('delegation.allowed', key, resources)], tx)
        return resources.length > 0
      }),
  }
}

function changed(
  type: 'delegation.revoked' | 'delegation.allowed',
  { accountId, actorClientId: clientId, subjectClientId: through }: DelegationKey,
  resources: string[],
): Fact {
  return { type, accountId, clientId, data: { through, resources } }
}
