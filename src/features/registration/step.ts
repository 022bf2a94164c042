/** The registration page. */
import type { FlowState, Step } from '../../interaction/step.ts'
import { type RegisterForm, registerForm } from './schema.ts'
import type { RegistrationService } from './service.ts'
import type { Claims } from './types.ts'

export interface RegisterStepDeps {
  readonly registration: RegistrationService
  readonly minLength: number
  readonly password: 'optional' | 'required'
  readonly clock: { now(): Date }
}

export function createRegisterStep({ registration, minLength, password, clock }: RegisterStepDeps): Step<RegisterForm> {
  return {
    name: 'register',
    feature: 'registration',
    prompts: ['login', 'create', 'select_account'],
    meets: ['account', 'authentication'],
    begins: 'create',
    needed: ({ progress }) => progress.path === 'create' && progress.accountId === undefined,
    input: registerForm,
    show: async (state) => ({
      minLength,
      passwordOptional: password === 'optional',
      fields: fieldsOf(state),
      today: clock.now().toISOString().slice(0, 10),
      ...(state.progress.identifier && { email: state.progress.identifier }),
    }),
    async submit({ email, password, shared, proof, ...claims }, state, { ip }) {
      const fields = fieldsOf(state)
      const { locale, client } = state
      const from = { ip, clientId: client.clientId, locale, proof, fields }
      const registered = await registration.register({ email, password, claims }, from)
      if (!registered.ok && registered.elsewhere !== undefined) {
        return { ok: true, patch: { path: 'login', identifier: registered.elsewhere } }
      }
      if (!registered.ok) return { ...registered, values: shownAgain(state, claims) }
      const { account, hasPassword } = registered
      const { accountId, epoch } = account
      const at = clock.now().getTime()
      return {
        ok: true,
        patch: {
          identifier: account.email,
          accountId,
          account,
          // Without a password nothing is proven yet: the code of the mail will be the proof.
          ...(hasPassword && { proof: { method: 'pwd', amr: ['pwd'], accountId, at, epoch } }),
          remember: shared !== 'yes',
        },
      }
    },
  }
}

function fieldsOf({ client }: FlowState) {
  return client.registrationFields ?? []
}

function shownAgain(state: FlowState, typed: Claims): Claims {
  return Object.fromEntries(fieldsOf(state).map(({ claim }) => [claim, typed[claim] ?? '']))
}
