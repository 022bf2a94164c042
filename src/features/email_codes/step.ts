/** The page that asks a new account for the code of its mail. */
import { AppError } from '../../errors.ts'
import { type AccountView, authenticated, type FlowState, type Outcome, type Step } from '../../interaction/step.ts'
import type { Tx } from '../../platform/postgres.ts'
import { type VerifyEmailForm, verifyEmailForm } from './schema.ts'
import type { EmailCodeService } from './service.ts'
import { CODE_MINUTES, type CodeRequest, type CodeTarget } from './types.ts'

export interface VerifyEmailStepDeps {
  readonly codes: Pick<EmailCodeService, 'ensure' | 'resend' | 'resendIn' | 'check'>
  readonly accounts: {
    emailTaken(email: string, exceptId: string): Promise<boolean>
    proveEmail(id: string, email: string, tx: Tx): Promise<AccountView | undefined>
    correctPending(id: string, email: string, tx: Tx): Promise<AccountView | undefined>
    publish(id: string): Promise<void>
    canonicalEmail(input: unknown): string | undefined
  }
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
  readonly issuer: string
}

export function createVerifyEmailStep(deps: VerifyEmailStepDeps): Step<VerifyEmailForm> {
  const { codes } = deps
  return {
    name: 'verify_email',
    feature: 'email_codes',
    prompts: ['login', 'create', 'select_account'],
    meets: ['verified_email'],
    // Also while the account is not there any more, so that nothing tells what others did with the address.
    needed: ({ progress, account }) =>
      progress.path === 'create' && authenticated(progress) && account?.emailVerified !== true,
    input: verifyEmailForm,

    /** A new conversation's first look at this page sends the code; later looks send nothing. */
    async show(state, { ip }) {
      await codes.ensure(await requestOf(deps, state, ip))
      const { to } = targetOf(state)
      const sent = state.progress.answers.verify_email === 'resent'
      return { email: to, minutes: CODE_MINUTES, resendIn: await codes.resendIn(targetOf(state)), sent }
    },

    async submit({ action, code, email }, state, { ip }) {
      if (action === 'change') return correct(deps, state, email)
      if (action === 'resend') {
        const retryAfter = await codes.resend(await requestOf(deps, state, ip))
        if (retryAfter !== undefined) return { ok: false, code: 'code_resend_too_soon', retryAfter }
        return { ok: true, patch: { answers: { verify_email: 'resent' } } }
      }
      const checked = await codes.check(targetOf(state), code)
      return checked === 'right' ? prove(deps, state) : codeFailure(checked)
    },
  }
}

/** The page's answer to a code that did not work. */
function codeFailure(checked: 'wrong' | 'used_up' | { readonly retryAfter: number }): Outcome {
  if (typeof checked === 'object') return { ok: false, code: 'too_many_requests', retryAfter: checked.retryAfter }
  return { ok: false, code: checked === 'used_up' ? 'code_used_up' : 'code_invalid', field: 'code' }
}

async function prove({ accounts, transaction }: VerifyEmailStepDeps, state: FlowState): Promise<Outcome> {
  const { accountId = '' } = state.progress
  try {
    const account = await transaction((tx) => accounts.proveEmail(accountId, targetOf(state).to, tx))
    if (account === undefined) return codeFailure('wrong')
    await accounts.publish(accountId)
    return { ok: true, patch: { account } }
  } catch (error) {
    // Two accounts proved the address in the same moment, and this one was later.
    if (error instanceof AppError && error.code === 'already_exists') return codeFailure('wrong')
    throw error
  }
}

async function correct(deps: VerifyEmailStepDeps, state: FlowState, typed: string): Promise<Outcome> {
  const { accounts, transaction } = deps
  const { accountId = '' } = state.progress
  const email = accounts.canonicalEmail(typed)
  if (email === undefined) return { ok: false, code: 'email_invalid', field: 'email' }
  const account = await transaction((tx) => accounts.correctPending(accountId, email, tx))
  if (account === undefined) return { ok: false, code: 'stale' }
  return { ok: true, patch: { identifier: email, accountId, account, answers: { verify_email: null } } }
}

/** Only from the conversation's own record: nothing that the form says names a mailbox (A23, A25). */
function targetOf({ cid, progress: { identifier = '', accountId = '' } }: FlowState): CodeTarget {
  return { purpose: 'verify_email', cid, to: identifier, bound: accountId }
}

/** The page is the same for an address that has an account already; only the mail differs. */
async function requestOf(
  { accounts, issuer }: VerifyEmailStepDeps,
  state: FlowState,
  ip: string,
): Promise<CodeRequest> {
  const target = targetOf(state)
  const taken = await accounts.emailTaken(target.to, target.bound)
  const mail = taken
    ? {
        to: target.to,
        template: 'registration/already_registered',
        carriesCode: false,
        values: () => ({ url: `${issuer}/account` }),
      }
    : {
        to: target.to,
        template: 'email_codes/verify_email',
        carriesCode: true,
        values: (code: string) => ({ url: `${issuer}/interaction/${state.uid}/verify_email?code=${code}` }),
      }
  return { ...target, ip, locale: state.locale, accountId: target.bound, brand: state.client.brand?.id, mail }
}
