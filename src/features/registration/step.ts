/** The registration page. */
import { authenticated, type Step } from '../../interaction/step.ts'
import { type RegisterForm, registerForm } from './schema.ts'
import type { RegistrationService } from './service.ts'

export interface RegisterStepDeps {
  readonly registration: RegistrationService
  readonly minLength: number
  readonly clock: { now(): Date }
}

export function createRegisterStep({ registration, minLength, clock }: RegisterStepDeps): Step<RegisterForm> {
  return {
    name: 'register',
    feature: 'registration',
    prompts: ['login', 'create', 'select_account'],
    meets: ['account', 'authentication'],
    begins: 'create',
    needed: ({ progress }) => progress.path === 'create' && !authenticated(progress),
    input: registerForm,
    show: async ({ progress }) => ({ minLength, ...(progress.identifier && { email: progress.identifier }) }),
    async submit({ email, password, shared }, { locale, client }, { ip }) {
      const registered = await registration.register({ email, password }, { ip, clientId: client.clientId, locale })
      if (!registered.ok) return registered
      const { account } = registered
      const { accountId, epoch } = account
      return {
        ok: true,
        patch: {
          identifier: account.email,
          accountId,
          account,
          proof: { method: 'pwd', accountId, at: clock.now().getTime(), epoch },
          remember: shared !== 'yes',
        },
      }
    },
  }
}
