/**
 * Enrolment: what an account has set up beside its password and its mailbox, and whether it must set up more. Owns these
 * columns of `accounts`, which are read with the account at each sign-in, what follows from a change of a factor, the page
 * that asks to set one up, and the list of them under /account. The factors themselves belong to their rooms (passkeys,
 * TOTP, …), and whether one is demanded is policy, which is handed in.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createSecurityRouter, type SecurityRouteDeps } from './routes.ts'
import { createEnrolmentService, type EnrolmentDeps, type EnrolmentService } from './service.ts'
import { createEnrolStep, type EnrolStepDeps } from './step.ts'

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createEnrolment(deps: EnrolmentDeps): Feature & { readonly service: EnrolmentService } {
  return { name: 'enrolment', service: createEnrolmentService(deps) }
}

/** The page of the conversation; it is made when it is known what can be set up. */
export function createEnrolling(deps: EnrolStepDeps): Feature {
  return { name: 'enrolling', steps: [createEnrolStep(deps) as Step] }
}

/** The page under /account. */
export function createSecurityPages(deps: SecurityRouteDeps): Feature {
  return { name: 'security_pages', router: createSecurityRouter(deps) }
}
