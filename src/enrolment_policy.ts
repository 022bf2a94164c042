/** Who must have a second factor, by the settings. */
import type { Config } from './config/config.ts'
import type { AccountView, ClientView, EnrolmentPolicy } from './interaction/step.ts'

/**
 * Whether an account that signs in to a client must have a second factor. The operator's word about the account, the domain
 * of its proven address, and the client (or else the settings) each may demand one, and none can waive what another
 * demands; of several the shortest grace holds.
 */
export function enrolmentPolicy({ policy, grace, emailDomains }: Config['secondFactor']) {
  return (
    { secondFactor: ofClient }: Pick<ClientView, 'secondFactor'>,
    account: AccountView | undefined,
  ): EnrolmentPolicy => {
    const domain = account?.email.split('@')[1] ?? ''
    const ofDomain = Object.hasOwn(emailDomains, domain) ? emailDomains[domain] : undefined
    const usual = ofClient ?? { policy: ofDomain ?? policy, grace }
    const demands: EnrolmentPolicy[] = [
      { policy: account?.secondFactorRequired ? 'required' : 'none', grace },
      { policy: ofDomain ?? 'none', grace },
      usual,
    ]
    const required = demands.filter((demand) => demand.policy === 'required')
    if (required.length === 0) return usual
    return { policy: 'required', grace: Math.min(...required.map((demand) => demand.grace)) }
  }
}
