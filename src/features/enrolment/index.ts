/**
 * Enrolment: what an account has set up beside its password and its mailbox, and whether it must set up more. Owns these
 * columns of `accounts`, which are read with the account at each sign-in. The factors themselves belong to their rooms
 * (passkeys, TOTP, …), and whether one is demanded is policy, which the conversation hands in.
 */
import type { Feature } from '../../feature.ts'
import { createEnrolmentService, type EnrolmentDeps, type EnrolmentService } from './service.ts'

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createEnrolment(deps: EnrolmentDeps): Feature & { readonly service: EnrolmentService } {
  return { name: 'enrolment', service: createEnrolmentService(deps) }
}
