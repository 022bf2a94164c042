/** The pages of the conversation that ask for a code of the app, and that set one up. */
import { enrolmentDue, lacking, wanted } from '../../interaction/levels.ts'
import {
  type AccountView,
  authenticated,
  type FlowState,
  type Outcome,
  type PromptName,
  type Proof,
  type Step,
  trusting,
} from '../../interaction/step.ts'
import { type TotpForm, totpForm } from './schema.ts'
import { type Checked, METHOD, type TotpService } from './service.ts'
import type { Holder } from './types.ts'

export interface TotpStepDeps {
  readonly totp: Pick<TotpService, 'verify' | 'pending' | 'confirm'>
  readonly accounts: { view(accountId: string): Promise<AccountView | undefined> }
  /** The name that the app shows beside the account. */
  readonly issuerName: (brandId: string | undefined) => Promise<string>
  readonly clock: { now(): Date }
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']

/** Asks for a code of the app, once something that signs in was shown. */
export function createTotpStep({ totp, clock }: TotpStepDeps): Step<TotpForm> {
  const needed = (state: FlowState) => wanted(state).includes(METHOD)
  return {
    name: 'totp',
    feature: 'totp',
    prompts: PROMPTS,
    meets: ['second_factor'],
    needed,
    offer: (state) => (needed(state) ? { step: 'totp', label: 'totp.offer' } : undefined),
    input: totpForm,
    show: async () => ({}),
    async submit({ code, trust }, state) {
      const { account, client } = state
      if (account === undefined) return { ok: false, code: 'stale' }
      const checked = await totp.verify(account.accountId, code, client.clientId)
      if (!checked.ok) return failure(checked)
      return { ok: true, patch: { proof: proofOf(account, clock), answers: trusting(trust, state) } }
    },
  }
}

/** Sets up an app, where the sign-in needs a second factor that the account lacks. The seed never comes from the form. */
export function createTotpSetupStep(deps: TotpStepDeps): Step<TotpForm> {
  const { totp, accounts, issuerName, clock } = deps
  return {
    name: 'totp_setup',
    feature: 'totp',
    prompts: PROMPTS,
    meets: ['enrolment'],
    needed: (state) =>
      lacking(state).includes(METHOD) ||
      (enrolmentDue(state) && authenticated(state.progress) && state.account?.emailVerified === true),
    input: totpForm,
    async show(state) {
      const names = { issuer: await issuerName(state.client.brand?.id), label: state.account?.email ?? '' }
      return { ...(await totp.pending(holderOf(state), names)) }
    },
    async submit({ code }, state) {
      const { account, session, client, locale } = state
      if (account === undefined) return { ok: false, code: 'stale' }
      const { accountId } = account
      const sessionUid = session?.accountId === accountId ? session.uid : undefined
      const change = { page: { locale, brand: client.brand?.id }, sessionUid }
      const checked = await totp.confirm(holderOf(state), account, code, change)
      if (!checked.ok) return failure(checked)
      const after = await accounts.view(accountId)
      return { ok: true, patch: { accountId, account: after, proof: proofOf(account, clock), chosen: null } }
    },
  }
}

/** Of the conversation's own record only. */
function holderOf({ cid, progress: { accountId = '' } }: FlowState): Holder {
  return { id: cid, accountId }
}

function proofOf({ accountId, epoch }: AccountView, clock: TotpStepDeps['clock']): Proof {
  return { method: METHOD, amr: ['otp'], second: true, accountId, at: clock.now().getTime(), epoch }
}

function failure(checked: Exclude<Checked, { ok: true }>): Outcome {
  return checked.code === 'too_many_requests' ? checked : { ...checked, field: 'code' }
}
