/**
 * Passkeys (WebAuthn Level 3): signing in by a discoverable credential without identifier or password, as a second factor, and
 * instead of a password. Owns the rows of `passkeys`, the challenges of ceremonies under way, the pages of the conversation and
 * of the account, and the documents under /.well-known. What follows from a change of a factor belongs to enrolment; which
 * methods a sign-in asks for, to the levels; the cryptography, to `platform/webauthn.ts`.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import type { SecurityRow } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { createPasskeyDocuments, createPasskeyRouter, type PasskeyRouteDeps } from './routes.ts'
import { createPasskeyService, type PasskeyDeps, type PasskeyService } from './service.ts'
import { createPasskeyOfferStep, createPasskeySetupStep, createPasskeyStep, type PasskeyStepDeps } from './step.ts'
import { SEALED_NAME, servesPasskeys } from './types.ts'

export type PasskeyFeatureDeps = PasskeyDeps &
  Omit<PasskeyStepDeps, 'passkeys'> &
  Parameters<typeof createPasskeyDocuments>[0]

/** The feature and its service: `service` is what the account pages get. Where no browser takes part it has no step. */
export function createPasskeys(deps: PasskeyFeatureDeps): Feature & { readonly service: PasskeyService } {
  const service = createPasskeyService(deps)
  const room = { name: 'passkeys', service, personal: [SEALED_NAME] }
  if (!servesPasskeys(deps.issuer)) return room
  const parts = { ...deps, passkeys: service }
  const steps = [createPasskeyStep(parts), createPasskeySetupStep(parts), createPasskeyOfferStep(parts)]
  return { ...room, steps: steps as Step[], router: createPasskeyDocuments(deps) }
}

/** The pages under /account, where there are any. */
export function createPasskeyPages(deps: PasskeyRouteDeps): Feature & { row(me: SignedIn): Promise<SecurityRow> } {
  return {
    name: 'passkey_pages',
    router: createPasskeyRouter(deps),
    row: async ({ accountId }) => {
      const count = (await deps.passkeys.list(accountId)).length
      const state = count === 0 ? 'security.off' : 'passkeys.count'
      return { label: 'passkeys.name', state, link: '/account/passkeys', ...(count > 0 && { count }) }
    },
  }
}
