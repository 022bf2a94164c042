/**
 * Upstream providers: whom people may come from. Declared in the configuration file or made by commands. Owns the table
 * `upstreams`. Hands off: speaking to them to `platform/upstream_*.ts`, signing in by one to upstream_sign_in.
 */
import type { Feature } from '../../feature.ts'
import type { PersonalData } from '../../platform/personal_columns.ts'
import type { Database } from '../../platform/postgres.ts'
import { upstreamRepository } from './repository.ts'
import { createUpstreamsService, type UpstreamsDeps, type UpstreamsService } from './service.ts'
import { SEALED_SETTINGS } from './types.ts'

export interface UpstreamsFeature extends Feature {
  readonly service: UpstreamsService
}

export type UpstreamsFeatureDeps = Omit<UpstreamsDeps, 'repository' | 'transaction'> & {
  readonly database: Pick<Database, 'db' | 'transaction'>
  readonly personal: PersonalData
}

/** Builds the feature. */
export function createUpstreams({ database, personal, ...deps }: UpstreamsFeatureDeps): UpstreamsFeature {
  const { transaction, db } = database
  const service = createUpstreamsService({ ...deps, transaction, repository: upstreamRepository(db, personal) })
  return { name: 'upstreams', service, personal: [SEALED_SETTINGS] }
}
