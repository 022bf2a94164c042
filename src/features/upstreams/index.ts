/**
 * Upstream providers: whom people may come from. Declared in the configuration file or made by commands. Owns the table
 * `upstreams`. Hands off: speaking to them to `platform/upstream_*.ts`, signing in by one to upstream_sign_in.
 */
import type { Fact } from '../../events.ts'
import type { Feature, Job } from '../../feature.ts'
import type { KeyValue } from '../../platform/key_value.ts'
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
  readonly kv: Pick<KeyValue, 'add' | 'delete'>
}

/** Builds the feature. */
export function createUpstreams({ database, personal, kv, ...deps }: UpstreamsFeatureDeps): UpstreamsFeature {
  const { transaction, db } = database
  const service = createUpstreamsService({ ...deps, transaction, repository: upstreamRepository(db, personal) })
  const jobs = [watchCertificates({ ...deps, transaction, kv }, service)]
  return { name: 'upstreams', service, personal: [SEALED_SETTINGS], jobs }
}

const DAY_MS = 86_400_000
/** How many days before a certificate expires it is stated, each once. */
const STAGES = [1, 7, 30]
const REMEMBERED_SECONDS = 60 * 86_400

/**
 * States that a certificate, the provider's or ours, will soon expire. Nobody is kept out by that (it only carries a key), but
 * the provider takes another then, and whose it is must be known before.
 */
function watchCertificates(
  { kv, outbox, transaction }: Pick<UpstreamsDeps, 'outbox' | 'transaction'> & Pick<UpstreamsFeatureDeps, 'kv'>,
  service: UpstreamsService,
): Job {
  return {
    name: 'upstream_certificates',
    everySeconds: 86_400,
    async run(now) {
      for (const { name, kind, isOn } of await service.states()) {
        // The others would be asked over the network, and have none.
        const expiresAt = isOn && kind === 'saml' ? (await service.inspect(name))?.expiresAt : undefined
        if (expiresAt === undefined) continue
        const days = Math.max(0, Math.floor((expiresAt - now.getTime()) / DAY_MS))
        const stage = STAGES.find((most) => days < most)
        if (stage === undefined) continue
        // Of all instances, and of all starts, one states it.
        const key = `upstream_expiry:${name}:${expiresAt}:${stage}`
        if (!(await kv.add(key, '1', REMEMBERED_SECONDS))) continue
        const data = { upstream: name, days, expiresAt: new Date(expiresAt).toISOString() }
        const fact: Fact = { type: 'upstream.expiry_neared', actor: 'system', data }
        await transaction((tx) => outbox.record([fact], tx)).catch(async (error: unknown) => {
          await kv.delete(key)
          throw error
        })
      }
    },
  }
}
