/**
 * Codes by mail. Owns one-time codes (their issue, counters and use, in the key/value store), the page that proves the
 * address of a new account, and the page that signs in by a code instead of a password. Other rooms use the service for
 * their own purposes: recovery, change of address. Which account is proven and what follows from it belongs to accounts;
 * writing and sending the mail to mails.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createEmailCodeService, type EmailCodeDeps, type EmailCodeService } from './service.ts'
import { createEmailCodeStep, createVerifyEmailStep, type EmailCodeStepDeps, type VerifyEmailStepDeps } from './step.ts'

export type EmailCodeFeatureDeps = EmailCodeDeps & Omit<VerifyEmailStepDeps & EmailCodeStepDeps, 'codes'>

/** The feature and its service: `service.sending` is for mails, the rest for rooms that send codes. */
export function createEmailCodes(deps: EmailCodeFeatureDeps): Feature & { readonly service: EmailCodeService } {
  const service = createEmailCodeService(deps)
  const parts = { ...deps, codes: service }
  return {
    name: 'email_codes',
    service,
    steps: [createVerifyEmailStep(parts) as Step, createEmailCodeStep(parts) as Step],
  }
}
