/**
 * Registration: e-mail and password make a pending account. Owns no table; the account row belongs to accounts, the hash to
 * passwords, proving the address to email_codes.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createRegistrationService, type RegistrationDeps } from './service.ts'
import { createRegisterStep } from './step.ts'

export type RegistrationFeatureDeps = RegistrationDeps & { readonly clock: { now(): Date } }

export function createRegistration(deps: RegistrationFeatureDeps): Feature {
  const registration = createRegistrationService(deps)
  const { minLength } = deps.passwords
  return {
    name: 'registration',
    steps: [createRegisterStep({ registration, minLength, clock: deps.clock }) as Step],
  }
}
