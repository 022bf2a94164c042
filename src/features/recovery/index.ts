/**
 * Recovery of an account by its mailbox. Owns no table; codes belong to email_codes, the password to passwords, the account
 * to accounts, and ending what was open to sessions. A second factor, once there is one, is not skipped by it.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createRecoveryService, type RecoveryDeps } from './service.ts'
import { createNewPasswordStep, createRecoverCodeStep, createRecoverStep, type RecoveryStepDeps } from './step.ts'

export type RecoveryFeatureDeps = RecoveryDeps & Omit<RecoveryStepDeps, 'recovery'>

export function createRecovery(deps: RecoveryFeatureDeps): Feature {
  const parts = { ...deps, recovery: createRecoveryService(deps) }
  const steps = [createRecoverStep(parts), createRecoverCodeStep(parts), createNewPasswordStep(parts)]
  return { name: 'recovery', steps: steps as Step[] }
}
