/**
 * Lost factors: the way back in for whoever cannot use their second factors, without a help desk and without a shortcut. Owns
 * `factor_removals`, the page that asks for a removal, its waiting and its end. Recovery codes are another way, of their own
 * room; the factors themselves are removed by theirs, mails are written by notices.
 */
import type { Feature } from '../../feature.ts'
import type { Step } from '../../interaction/step.ts'
import { createLostFactorService, type LostFactorDeps, type LostFactorService } from './service.ts'
import { createLostFactorStep } from './step.ts'

/** Whoever does one of these is there, or has made the account safe: what was asked for before is not to happen. */
const SECURING = [
  'account.password_changed',
  'account.email_changed',
  'account.disabled',
  'account.disowned',
  'factor.added',
  'factor.updated',
  'factor.removed',
]

/** A sign-in with any of these shows that the factors are not lost. A remembered browser shows nothing. */
const SHOWN = ['totp.verified', 'passkey.verified', 'sms_code.verified', 'recovery_code.verified']

/** The feature and its service: `service` is what other rooms get as narrow functions. */
export function createLostFactors(deps: LostFactorDeps): Feature & { readonly service: LostFactorService } {
  const service = createLostFactorService(deps)
  return {
    name: 'lost_factors',
    service,
    steps: [createLostFactorStep({ lostFactors: service }) as Step],
    subscribe: [
      {
        consumer: 'lost_factors',
        types: SHOWN,
        handle: async ({ accountId }) => {
          if (accountId !== undefined) await service.shown(accountId)
        },
      },
    ],
    reacts: [
      {
        types: SECURING,
        handle: async ({ type, accountId }, tx) => {
          if (accountId !== undefined) await service.cancel(accountId, type, tx)
        },
      },
    ],
    jobs: [{ name: 'factor_removals', everySeconds: 300, run: (now) => service.tend(now) }],
  }
}
