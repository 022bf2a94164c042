/** The rules of identifications: when one is recorded, how long it counts, and that it goes with its connection. */
import type { Fact } from '../../events.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { IdentificationRepository } from './repository.ts'
import type { Identification, Identifications, RecordedBy } from './types.ts'

export interface IdentificationDeps {
  readonly repository: IdentificationRepository
  readonly outbox: { record(facts: readonly Fact[], tx: Tx): Promise<void> }
  readonly clock: { now(): Date }
  readonly newId: () => string
  /** How pages call a provider; undefined for one that is not there any more, whose word nobody stands for. */
  readonly title: (provider: string) => Promise<string | undefined>
}

export interface IdentificationService extends Identifications {
  /**
   * The account is not connected to the provider any more, perhaps because a thief had connected it; or what it has verified
   * is wrong, or unwanted. @returns whether there was anything
   */
  forget(accountId: string, upstream: string, tx: Tx, by?: RecordedBy): Promise<boolean>
}

const DAY_MS = 86_400_000

export function createIdentificationService(deps: IdentificationDeps): IdentificationService {
  const { repository, outbox, clock, newId } = deps
  return {
    async current(accountId) {
      const now = clock.now()
      const counting = (await repository.list(accountId)).filter(({ expiresAt }) => expiresAt > now)
      const titled = await Promise.all(
        counting.map(async (each) => {
          const title = await deps.title(each.upstream)
          return title === undefined ? [] : [{ ...each, title }]
        }),
      )
      return titled.flat()
    },

    async record(accountId, { name: upstream, identification }, { verified: claims, at }, tx, by) {
      if (identification === undefined || claims === undefined) return false
      const { framework, evidence, validDays } = identification
      const verifiedAt = new Date(at)
      const expiresAt = new Date(at + validDays * DAY_MS)
      const row: Identification = {
        ...{ id: newId(), accountId, upstream, framework, evidence, claims, verifiedAt, expiresAt },
      }
      if (!(await repository.replace(row, tx))) return false
      const names = Object.keys(claims)
      const data = { upstream, framework, evidence, claims: names, expires_at: expiresAt.toISOString() }
      await outbox.record([statedBy({ type: 'identification.recorded', accountId, data }, by)], tx)
      return true
    },

    async forget(accountId, upstream, tx, by) {
      if (!(await repository.delete(accountId, upstream, tx))) return false
      await outbox.record([statedBy({ type: 'identification.removed', accountId, data: { upstream } }, by)], tx)
      return true
    },
  }
}

function statedBy(fact: Fact, by: RecordedBy | undefined): Fact {
  if (by === undefined) return fact
  const { actor, ...who } = by
  return { ...fact, actor, data: { ...fact.data, ...who } }
}
