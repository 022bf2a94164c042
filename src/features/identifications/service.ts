/** The rules of identifications: when one is recorded, how long it counts, and that it goes with its connection. */
import type { Fact } from '../../events.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { IdentificationRepository } from './repository.ts'
import type { Identification, Identifications } from './types.ts'

export interface IdentificationDeps {
  readonly repository: IdentificationRepository
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
}

export interface IdentificationService extends Identifications {
  /** The account is not connected to the provider any more, perhaps because a thief had connected it. */
  forget(accountId: string, upstream: string, tx: Tx): Promise<void>
}

const DAY_MS = 86_400_000

export function createIdentificationService(deps: IdentificationDeps): IdentificationService {
  const { repository, outbox, clock, newId } = deps
  return {
    async current(accountId) {
      const now = clock.now()
      return (await repository.list(accountId)).filter(({ expiresAt }) => expiresAt > now)
    },

    async record(accountId, { name: upstream, identification }, { verified: claims, at }, tx) {
      if (identification === undefined || claims === undefined) return
      const { framework, evidence, validDays } = identification
      const verifiedAt = new Date(at)
      const expiresAt = new Date(at + validDays * DAY_MS)
      const row: Identification = {
        ...{ id: newId(), accountId, upstream, framework, evidence, claims, verifiedAt, expiresAt },
      }
      if (!(await repository.replace(row, tx))) return
      const names = Object.keys(claims)
      const data = { upstream, framework, evidence, claims: names, expires_at: expiresAt.toISOString() }
      await outbox.record([{ type: 'identification.recorded', accountId, data }], tx)
    },

    async forget(accountId, upstream, tx) {
      if (!(await repository.delete(accountId, upstream, tx))) return
      await outbox.record([{ type: 'identification.removed', accountId, data: { upstream } }], tx)
    },
  }
}
