/**
 * Passwords. Owns the rows of `passwords`, the policy for new ones, their verification with its limits, and the password
 * page. Hashing and its queue belong to the platform; which account an identifier names is read here in one statement with
 * its hash; ending sessions after a change is the caller's act.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createPasswordService, type PasswordDeps, type PasswordService } from './service.ts'
import { createPasswordStep } from './step.ts'

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createPasswords(deps: PasswordDeps): Feature & { readonly service: PasswordService } {
  const service = createPasswordService(deps)
  return { name: 'passwords', service, steps: [createPasswordStep({ passwords: service, clock: deps.clock }) as Step] }
}
