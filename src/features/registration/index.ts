/**
 * Registration: an e-mail, a password unless it is optional, and what the client asks for make a pending account. Owns no
 * table; the account row and what a profile may hold belong to accounts, the hash to passwords, proving the address to
 * email_codes.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createRegistrationService, type RegistrationDeps } from './service.ts'
import { createRegisterStep } from './step.ts'

export function createRegistration(deps: RegistrationDeps): Feature {
  const registration = createRegistrationService(deps)
  const { clock, password, passwords } = deps
  const { minLength } = passwords
  return {
    name: 'registration',
    steps: [createRegisterStep({ registration, minLength, password, clock }) as Step],
  }
}
