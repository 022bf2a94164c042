/**
 * Authenticator apps (TOTP, RFC 6238). Owns the rows of `totp_seeds`, the seeds that wait to be confirmed, and the pages that
 * ask for a code, set an app up, replace it or take it away. What an account has set up, and what follows from a change of
 * it, belongs to enrolment; which methods a sign-in asks for, to the levels.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import type { SecurityRow } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { createTotpRouter, type TotpRouteDeps } from './routes.ts'
import { createTotpService, type TotpDeps, type TotpService } from './service.ts'
import { createTotpSetupStep, createTotpStep, type TotpStepDeps } from './step.ts'

export type TotpFeatureDeps = TotpDeps & Omit<TotpStepDeps, 'totp'>

/** The feature and its service: `service` is what the account pages and `keys reseal` get. */
export function createTotp(deps: TotpFeatureDeps): Feature & { readonly service: TotpService } {
  const service = createTotpService(deps)
  const parts = { ...deps, totp: service }
  return {
    name: 'totp',
    service,
    steps: [createTotpStep(parts) as Step, createTotpSetupStep(parts) as Step],
    secrets: [{ table: 'totp_seeds', key: 'account_id', column: 'sealed_seed' }],
  }
}

/** The pages under /account, where there are any. */
export function createTotpPages(deps: TotpRouteDeps): Feature & { row(me: SignedIn): Promise<SecurityRow> } {
  return {
    name: 'totp_pages',
    router: createTotpRouter(deps),
    row: async ({ accountId }) => {
      const isSet = (await deps.totp.find(accountId)) !== undefined
      return { label: 'totp.name', state: isSet ? 'security.on' : 'security.off', link: '/account/totp' }
    },
  }
}
