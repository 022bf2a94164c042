/** The pages of the conversation that ask for the code of a text message, and that set a phone up. */
import { enrolmentDue, lacking, wanted } from '../../interaction/levels.ts'
import {
  type AccountView,
  authenticated,
  type FlowState,
  type Outcome,
  type PromptName,
  type Proof,
  type RequestFacts,
  type Step,
} from '../../interaction/step.ts'
import { CODE_MINUTES } from '../../platform/one_time_codes.ts'
import { type SmsCodeForm, type SmsSetupForm, smsCodeForm, smsSetupForm } from './schema.ts'
import { METHOD, type SmsCodeService } from './service.ts'
import { type Asker, type Done, fieldOf, type Holder } from './types.ts'

export interface SmsStepDeps {
  readonly sms: SmsCodeService
  readonly accounts: { view(accountId: string): Promise<AccountView | undefined> }
  readonly clock: { now(): Date }
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']

/** Asks for the code of a message, once something that signs in was shown. */
export function createSmsCodeStep({ sms, clock }: SmsStepDeps): Step<SmsCodeForm> {
  const needed = (state: FlowState) => wanted(state).includes(METHOD)
  return {
    name: 'sms_code',
    feature: 'sms_codes',
    prompts: PROMPTS,
    meets: ['second_factor'],
    needed,
    offer: (state) => (needed(state) ? { step: 'sms_code', label: 'sms_code.offer' } : undefined),
    input: smsCodeForm,

    /** The first look sends the code. Where none can be sent, the page says so and leads to another way. */
    async show(state, request) {
      const { failed, ...shown } = await sms.show(holderOf(state), askerOf(state, request))
      const sent = state.progress.answers.sms_code === 'resent'
      return { ...shown, minutes: CODE_MINUTES, sent, ...(failed && { error: failed }) }
    },

    async submit({ action, code }, state, request) {
      const { account, client } = state
      if (account === undefined) return { ok: false, code: 'stale' }
      const holder = holderOf(state)
      if (action === 'resend') {
        const done = await sms.resend(holder, askerOf(state, request))
        return done.ok ? { ok: true, patch: { answers: { sms_code: 'resent' } } } : failure(done)
      }
      const done = await sms.verify(holder, code, client.clientId)
      return done.ok ? { ok: true, patch: { proof: proofOf(account, clock) } } : failure(done)
    },
  }
}

/** Sets up a phone, where the sign-in needs a second factor that the account lacks: first the number, then its code. */
export function createSmsSetupStep(deps: SmsStepDeps): Step<SmsSetupForm> {
  const { sms } = deps
  return {
    name: 'sms_setup',
    feature: 'sms_codes',
    prompts: PROMPTS,
    meets: ['enrolment'],
    needed: (state) =>
      lacking(state).includes(METHOD) ||
      (enrolmentDue(state) && authenticated(state.progress) && state.account?.emailVerified === true),
    input: smsSetupForm,

    async show(state) {
      const pending = await sms.pending(holderOf(state))
      const sent = state.progress.answers.sms_setup === 'resent'
      return { number: '', minutes: CODE_MINUTES, sent, ...pending }
    },

    async submit({ action, code, phone }, state, request) {
      if (state.account === undefined) return { ok: false, code: 'stale' }
      const [holder, asker] = [holderOf(state), askerOf(state, request)]
      switch (action) {
        case 'send': {
          const done = await sms.propose(holder, phone, asker)
          return done.ok ? answered(null) : { ...failure(done), values: { phone } }
        }
        case 'resend': {
          const done = await sms.resendPending(holder, asker)
          return done.ok ? answered('resent') : failure(done)
        }
        case 'change':
          await sms.forget(holder)
          return answered(null)
        default:
          return confirm(deps, state, state.account, code)
      }
    },
  }
}

const answered = (word: 'resent' | null): Outcome => ({ ok: true, patch: { answers: { sms_setup: word } } })

async function confirm(
  { sms, accounts, clock }: SmsStepDeps,
  state: FlowState,
  account: AccountView,
  code: string,
): Promise<Outcome> {
  const { session, client, locale } = state
  const { accountId } = account
  const sessionUid = session?.accountId === accountId ? session.uid : undefined
  const change = { page: { locale, brand: client.brand?.id }, sessionUid }
  const done = await sms.confirm(holderOf(state), account, code, change)
  if (!done.ok) return failure(done)
  const after = await accounts.view(accountId)
  return { ok: true, patch: { accountId, account: after, proof: proofOf(account, clock), chosen: null } }
}

/** Of the conversation's own record only. */
function holderOf({ cid, progress: { accountId = '' } }: FlowState): Holder {
  return { id: cid, accountId }
}

function askerOf({ account, locale, client }: FlowState, { ip }: RequestFacts): Asker {
  return { ip, locale: account?.locale ?? locale, brand: client.brand?.id }
}

function proofOf({ accountId, epoch }: AccountView, clock: SmsStepDeps['clock']): Proof {
  return { method: METHOD, amr: ['otp', 'sms'], second: true, accountId, at: clock.now().getTime(), epoch }
}

type Failure = Extract<Outcome, { ok: false }>

function failure(failed: Extract<Done, { ok: false }>): Failure {
  const { code, retryAfter } = failed
  const field = fieldOf(failed)
  return { ok: false, code, ...(field && { field }), ...(retryAfter !== undefined && { retryAfter }) }
}
