/**
 * Codes by text message. Owns the rows of `phones`, the numbers that wait for their code, and the pages that ask for a code,
 * set a phone up, replace it or take it away. Sending, and what it may cost, belong to text_messages; what an account has
 * set up and what follows from a change of it, to enrolment; which methods a sign-in asks for, to the levels.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import type { SecurityRow } from '../account_area/types.ts'
import type { SignedIn } from '../account_sign_in/types.ts'
import { createSmsRouter, type SmsRouteDeps } from './routes.ts'
import { createSmsCodeService, type SmsCodeDeps, type SmsCodeService } from './service.ts'
import { createSmsCodeStep, createSmsSetupStep, type SmsStepDeps } from './step.ts'

export type SmsCodeFeatureDeps = SmsCodeDeps & Omit<SmsStepDeps, 'sms'>

/** The feature and its service: `service` is what the account pages, text_messages and `keys reseal` get. */
export function createSmsCodes(deps: SmsCodeFeatureDeps): Feature & { readonly service: SmsCodeService } {
  const service = createSmsCodeService(deps)
  const parts = { ...deps, sms: service }
  return {
    name: 'sms_codes',
    service,
    steps: [createSmsCodeStep(parts) as Step, createSmsSetupStep(parts) as Step],
    secrets: [{ table: 'phones', key: 'account_id', column: 'sealed_number' }],
  }
}

/** The pages under /account, where there are any. */
export function createPhonePages(deps: SmsRouteDeps): Feature & { row(me: SignedIn): Promise<SecurityRow> } {
  return {
    name: 'phone_pages',
    router: createSmsRouter(deps),
    row: async ({ accountId }) => {
      const isSet = (await deps.sms.find(accountId)) !== undefined
      return { label: 'sms_code.name', state: isSet ? 'security.on' : 'security.off', link: '/account/phone' }
    },
  }
}
