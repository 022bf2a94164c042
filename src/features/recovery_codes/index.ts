/**
 * Recovery codes: what lets in who has lost their second factor. Owns the rows of `recovery_code_sets` and `recovery_codes`,
 * the codes that wait for their one showing, and the pages that take, show and renew them. That an account has codes is
 * noted by enrolment; when a sign-in takes one, the levels say.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import type { SecurityRow } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { createRecoveryCodeRouter, holderOf, type RecoveryCodeRouteDeps, SHOWN } from './routes.ts'
import { createRecoveryCodeService, type RecoveryCodeDeps, type RecoveryCodeService } from './service.ts'
import { createNewRecoveryCodesStep, createRecoveryCodeStep, type RecoveryCodeStepDeps } from './step.ts'
import { FEW } from './types.ts'

export type RecoveryCodeFeatureDeps = RecoveryCodeDeps & Omit<RecoveryCodeStepDeps, 'codes'>

/** The feature and its service: `service` is what the account pages, enrolment and `keys reseal` get. */
export function createRecoveryCodes(
  deps: RecoveryCodeFeatureDeps,
): Feature & { readonly service: RecoveryCodeService } {
  const service = createRecoveryCodeService(deps)
  const parts = { ...deps, codes: service }
  return {
    name: 'recovery_codes',
    service,
    steps: [createRecoveryCodeStep(parts) as Step, createNewRecoveryCodesStep(parts) as Step],
    secrets: [{ table: 'recovery_codes', key: 'id', column: 'sealed_hash' }],
  }
}

/** The pages under /account, where there are any, and where whoever has set up a factor goes on. */
export function createRecoveryCodePages(deps: RecoveryCodeRouteDeps) {
  const { codes } = deps
  return {
    name: 'recovery_code_pages',
    router: createRecoveryCodeRouter(deps),

    async row({ accountId }: SignedIn): Promise<SecurityRow> {
      const found = await codes.find(accountId)
      const link = '/account/recovery-codes'
      if (found === undefined) return { label: 'recovery_code.name', state: 'security.off', link }
      const { left } = found
      return { label: 'recovery_code.name', state: 'recovery_code.left', count: left, warns: left <= FEW, link }
    },

    /** The page of the first codes of an account that has none; else the list of what it has. */
    async afterSetUp(me: SignedIn, page: { readonly locale: string }): Promise<string> {
      if (((await codes.find(me.accountId))?.left ?? 0) > 0) return '/account/security'
      return (await codes.regenerate(holderOf(me), me.account, page)) ? SHOWN : '/account/security'
    },
  }
}
