/**
 * Warnings before credentials of clients end: secrets with an end, certificates and keys in `jwks`. Owns the table
 * `client_expiries`. Hands off: the mail to the client's `contacts` to mails, everything else to whoever reads the facts.
 */
import type { Feature } from '../../feature.ts'
import { expiryRepository } from './repository.ts'
import { createExpiriesService, type ExpiriesDeps } from './service.ts'

/** An operator may let a secret end a day after its rotation: once a day would be too late for that. */
const EVERY_SECONDS = 3600

/** Builds the feature. */
export function createClientExpiries(deps: Omit<ExpiriesDeps, 'repository'>): Feature {
  const { watch } = createExpiriesService({ ...deps, repository: expiryRepository() })
  return { name: 'client_expiries', jobs: [{ name: 'client_expiries', everySeconds: EVERY_SECONDS, run: watch }] }
}
