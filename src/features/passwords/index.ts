/**
 * Passwords. Owns the rows of `passwords` and of `password_failures`, the policy for new ones, their verification, and the
 * password page. Limits belong to abuse; what was breached elsewhere is asked of a function. Hashing and its queue belong to the platform; which account an identifier names is read here in one statement with
 * its hash; ending sessions after a change is the caller's act.
 */
import type { Feature, Job } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createPasswordService, type PasswordDeps, type PasswordService } from './service.ts'
import { createPasswordStep } from './step.ts'

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createPasswords(deps: PasswordDeps): Feature & { readonly service: PasswordService } {
  const service = createPasswordService(deps)
  return {
    name: 'passwords',
    service,
    steps: [createPasswordStep({ passwords: service, clock: deps.clock }) as Step],
    jobs: [purge(deps.repository)],
  }
}

const DAY = 86_400_000
const IDLE_DAYS = 365
const BATCH = 500
const BATCHES = 20

/** Failures in a row that nobody has added to for a year: anybody may type any address, and the table must not grow for ever. */
function purge({ purgeFailures }: Pick<PasswordDeps['repository'], 'purgeFailures'>): Job {
  return {
    name: 'passwords_purge_failures',
    everySeconds: 3600,
    async run(now) {
      for (let round = 0; round < BATCHES; round++) {
        if ((await purgeFailures(new Date(now.getTime() - IDLE_DAYS * DAY), BATCH)) < BATCH) return
      }
    },
  }
}
