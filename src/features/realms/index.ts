/**
 * Realms: e-mail domains whose people sign in by a provider, once a DNS record has proven the domain. Owns the tables `realms`
 * and `realm_break_glass`, the page that leads people there, and the daily look at the records. What a realm closes is decided
 * by `interaction/realms.ts`; the way to the provider and back belongs to upstream_sign_in, the providers to upstreams.
 */
import type { Feature } from '../../feature.ts'
import type { AccountView, Step } from '../../interaction/step.ts'
import type { Database, Tx } from '../../platform/postgres.ts'
import type { Tell } from '../notices/types.ts'
import { realmRepository } from './repository.ts'
import { createRealmsService, type RealmsDeps, type RealmsService } from './service.ts'
import { createRealmStep, type RealmStepDeps } from './step.ts'

export type RealmFeatureDeps = Omit<RealmsDeps, 'repository' | 'transaction'> &
  RealmStepDeps & {
    readonly database: Pick<Database, 'db' | 'transaction'>
    readonly accounts: { view(accountId: string, tx: Tx): Promise<AccountView | undefined> }
    readonly tell: Tell
    /** The language of mails that follow from no page. */
    readonly locale: string
  }

/** The feature and its service: `service` is what sign-in, registration and commands get. */
export function createRealms(deps: RealmFeatureDeps): Feature & { readonly service: RealmsService } {
  const { database, accounts, tell, locale, title, ...rest } = deps
  const { db, transaction } = database
  const service = createRealmsService({ ...rest, transaction, repository: realmRepository(db) })
  return {
    name: 'realms',
    service,
    steps: [createRealmStep({ title }) as Step],
    jobs: [{ name: 'realms_recheck', everySeconds: 3600, run: service.recheck }],
    subscribe: [
      {
        consumer: 'realm_notices',
        types: ['realm.break_glass_used'],
        // Nobody uses such an account unseen.
        handle: ({ accountId = '', occurredAt: at }) =>
          transaction(async (tx) => {
            const account = await accounts.view(accountId, tx)
            if (account !== undefined) await tell('break_glass_used', account, { locale }, tx, { at })
          }),
      },
    ],
  }
}
