/**
 * Accounts. Owns the rows of `accounts`, the one form of an e-mail address, the account state that everything alive is
 * compared with (active, epoch), and the pages that ask whom the conversation is about. Passwords, sessions and consents
 * are other rooms; ending sessions is given as a function.
 */
import type { Feature, Job, Subscription } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { type AccountDeps, type AccountService, createAccountService } from './service.ts'
import {
  createChooseAccountStep,
  createIdentifierStep,
  createSwitchAccountStep,
  type IdentifierStepDeps,
} from './step.ts'
import { PERSONAL } from './types.ts'

export interface AccountFeatureDeps extends AccountDeps, IdentifierStepDeps {
  readonly retention: { readonly pendingAccountDays: number }
}

const DAY = 86_400_000
const BATCH = 500
const BATCHES = 20

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createAccounts(deps: AccountFeatureDeps): Feature & { readonly service: AccountService } {
  const service = createAccountService(deps)
  return {
    name: 'accounts',
    service,
    steps: [
      createChooseAccountStep({ accounts: service }) as Step,
      createIdentifierStep(deps) as Step,
      createSwitchAccountStep({ accounts: service }) as Step,
    ],
    jobs: [purge(service, deps.retention.pendingAccountDays)],
    subscribe: [repeatState(service)],
    personal: [PERSONAL],
  }
}

/** Writes the account state through again, in case the process died between the commit and the store. Idempotent. */
function repeatState(service: Pick<AccountService, 'publish'>): Subscription {
  return {
    consumer: 'account_state',
    types: [
      'account.disabled',
      'account.enabled',
      'account.deleted',
      'account.email_verified',
      'account.password_changed',
      'sessions.ended',
      'factor.added',
      'factor.removed',
    ],
    async handle({ accountId }) {
      if (accountId !== undefined) await service.publish(accountId)
    },
  }
}

/** Registrations that nobody proved. */
function purge(service: Pick<AccountService, 'purgePending'>, days: number): Job {
  return {
    name: 'accounts_purge_pending',
    everySeconds: 600,
    async run(now) {
      const before = new Date(now.getTime() - days * DAY)
      for (let round = 0; round < BATCHES; round++) {
        if ((await service.purgePending(before, BATCH)) < BATCH) return
      }
    },
  }
}
