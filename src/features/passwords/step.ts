/** The password page: the proof that goes with the identifier. */
import { authenticated, type FlowState, type Step } from '../../interaction/step.ts'
import { type PasswordForm, passwordForm } from './schema.ts'
import type { PasswordService } from './service.ts'

export interface PasswordStepDeps {
  readonly passwords: Pick<PasswordService, 'verifyIdentifier'>
  readonly clock: { now(): Date }
}

/** The same for every identifier: whether the account has a password is told to nobody (A31). */
function needed({ progress }: FlowState): boolean {
  return progress.path === 'login' && progress.identifier !== undefined && !authenticated(progress)
}

export function createPasswordStep({ passwords, clock }: PasswordStepDeps): Step<PasswordForm> {
  return {
    name: 'password',
    feature: 'passwords',
    prompts: ['login', 'create', 'select_account'],
    meets: ['authentication'],
    needed,
    offer: (state) => (needed(state) ? { step: 'password', label: 'password.offer' } : undefined),
    input: passwordForm,
    async show({ progress: { identifier, remember } }) {
      return { identifier: identifier ?? '', remember: remember !== false }
    },
    async submit({ password, shared }, { progress, client }, { ip }) {
      // The identifier is the one of the conversation; the form's copy is for password managers only.
      const { identifier = '' } = progress
      const verified = await passwords.verifyIdentifier(identifier, password, { ip, clientId: client.clientId })
      if (!verified.ok) {
        const { retryAfter } = verified
        return retryAfter === undefined
          ? { ok: false, code: 'login_failed', field: 'password' }
          : { ok: false, code: 'too_many_requests', retryAfter }
      }
      const { account } = verified
      const { accountId, epoch } = account
      return {
        ok: true,
        patch: {
          accountId,
          account,
          proof: { method: 'pwd', amr: ['pwd'], accountId, at: clock.now().getTime(), epoch },
          remember: shared !== 'yes',
        },
      }
    },
  }
}
