/** The pages of the conversation that take a recovery code, and that show new ones. */
import { enrolmentDue, met, wanted } from '../../interaction/levels.ts'
import {
  type AccountView,
  authenticated,
  type FlowState,
  type PromptName,
  type Proof,
  type Step,
} from '../../interaction/step.ts'
import { type RecoveryCodeForm, recoveryCodeForm, type SavedForm, savedForm } from './schema.ts'
import { METHOD, type RecoveryCodeService } from './service.ts'
import type { Holder } from './types.ts'

export interface RecoveryCodeStepDeps {
  readonly codes: Pick<RecoveryCodeService, 'redeem' | 'draft' | 'save'>
  readonly accounts: { view(accountId: string): Promise<AccountView | undefined> }
  readonly clock: { now(): Date }
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']

/** Another way to show a second factor, for whoever has lost theirs. */
export function createRecoveryCodeStep({ codes, clock }: RecoveryCodeStepDeps): Step<RecoveryCodeForm> {
  const needed = (state: FlowState) => wanted(state).includes(METHOD)
  return {
    name: 'recovery_code',
    feature: 'recovery_codes',
    prompts: PROMPTS,
    meets: ['second_factor'],
    needed,
    offer: (state) => (needed(state) ? { step: 'recovery_code', label: 'recovery_code.offer' } : undefined),
    input: recoveryCodeForm,
    show: async () => ({}),
    async submit({ code }, { account, client, locale }) {
      if (account === undefined) return { ok: false, code: 'stale' }
      const redeemed = await codes.redeem(account, code, {
        clientId: client.clientId,
        locale,
        brand: client.brand?.id,
      })
      if (redeemed.ok) return { ok: true, patch: { proof: proofOf(account, clock) } }
      return redeemed.code === 'too_many_requests' ? redeemed : { ...redeemed, field: 'code' }
    },
  }
}

/**
 * Shows an account its first codes, or new ones after the last was used, once all else has been shown: whoever knows only
 * a password must not see them. They begin to work by "I have saved them", so that nobody relies on codes never read.
 */
export function createNewRecoveryCodesStep({ codes, accounts }: RecoveryCodeStepDeps): Step<SavedForm> {
  return {
    name: 'new_recovery_codes',
    feature: 'recovery_codes',
    prompts: PROMPTS,
    meets: ['enrolment'],
    needed,
    input: savedForm,
    show: async (state) => ({ codes: await codes.draft(holderOf(state)) }),
    async submit(_input, state) {
      const { account, client, locale } = state
      if (account === undefined) return { ok: false, code: 'stale' }
      const saved = await codes.save(holderOf(state), account, { locale, brand: client.brand?.id })
      if (!saved) return { ok: false, code: 'recovery_codes_gone' }
      const { accountId } = account
      return { ok: true, patch: { accountId, account: await accounts.view(accountId) } }
    },
  }
}

function needed(state: FlowState): boolean {
  const { account, progress, demands, enrolment, now } = state
  if (account === undefined || !authenticated(progress) || account.factors.includes(METHOD)) return false
  if (!demands.every((demand) => met(demand, progress.proofs, now)) || enrolmentDue(state)) return false
  // A passkey beside a password is another way in; who loses it is not locked out, unless a second factor is demanded.
  const asks = demands.some(({ reason }) => reason === 'account')
  return asks || (enrolment.policy === 'required' && account.factors.length > 0)
}

function holderOf({ cid, progress: { accountId = '' } }: FlowState): Holder {
  return { id: cid, accountId }
}

function proofOf({ accountId, epoch }: AccountView, clock: RecoveryCodeStepDeps['clock']): Proof {
  return { method: METHOD, amr: ['otp'], second: true, accountId, at: clock.now().getTime(), epoch }
}
