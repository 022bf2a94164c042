/** The password page: the proof that goes with the identifier. */
import { authenticated, type FlowState, type Outcome, type Step } from '../../interaction/step.ts'
import { failureOf } from '../abuse/types.ts'
import { type PasswordForm, passwordForm } from './schema.ts'
import type { PasswordService } from './service.ts'
import type { Verified } from './types.ts'

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
    inRealm: 'break_glass',
    needed,
    offer: (state) => (needed(state) ? { step: 'password', label: 'password.offer' } : undefined),
    input: passwordForm,
    async show({ progress: { identifier, remember } }) {
      return { identifier: identifier ?? '', remember: remember !== false }
    },
    async submit({ password, shared, proof }, { progress, client }, { ip, deviceToken }) {
      // The identifier is the one of the conversation; the form's copy is for password managers only.
      const { identifier = '' } = progress
      const from = { ip, clientId: client.clientId, proof, deviceToken }
      const verified = await passwords.verifyIdentifier(identifier, password, from)
      if (!verified.ok) return refused(verified)
      const { account } = verified
      const { accountId, epoch, passwordAt = 0 } = account
      // An instance whose clock is behind has seen a password that was set "later": the proof is of that one all the same.
      const at = Math.max(clock.now().getTime(), passwordAt)
      return {
        ok: true,
        patch: {
          accountId,
          account,
          proof: { method: 'pwd', amr: ['pwd'], accountId, at, epoch },
          remember: shared !== 'yes',
        },
      }
    },
  }
}

function refused(verified: Exclude<Verified, { readonly ok: true }>): Outcome {
  const { rejected, challenge } = verified
  if (rejected) return { ok: false, code: 'login_failed', field: 'password', ...(challenge && { challenge }) }
  return failureOf(verified)
}
