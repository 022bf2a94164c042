/**
 * Why requests of clients were refused. The wire says the standard error and nothing more; each answer's `X-Request-Id` is
 * the reference under which `genkan audit explain` tells the reason. Owns the table `refusals`: counts by minute, kept for two
 * weeks, and not the ledger, which a flood of refusals would fill and in which nothing has changed. Hands off: telling reasons
 * apart to `oidc/refusals.ts`.
 */
import type { Feature } from '../../feature.ts'
import type { Database } from '../../platform/postgres.ts'
import { refusalRepository } from './repository.ts'
import { createRefusalsService, type RefusalsDeps, type RefusalsService } from './service.ts'

export interface RefusalsFeature extends Feature {
  readonly service: RefusalsService
}

/** Builds the feature. */
export function createRefusals({
  database,
  ...deps
}: Omit<RefusalsDeps, 'repository'> & { readonly database: Pick<Database, 'db'> }): RefusalsFeature {
  const service = createRefusalsService({ ...deps, repository: refusalRepository(database.db) })
  return {
    name: 'refusals',
    service,
    jobs: [
      { name: 'refusals', everySeconds: 1, atStop: true, run: service.flush },
      { name: 'refusals_purge', everySeconds: 3600, run: service.purge },
    ],
  }
}
