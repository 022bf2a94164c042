/** The three pages of recovery: whose mailbox, the code, the new password. */
import {
  authenticated,
  type FlowState,
  MAILBOX,
  type Outcome,
  type PromptName,
  type Step,
} from '../../interaction/step.ts'
import { type Checked, CODE_MINUTES } from '../../platform/one_time_codes.ts'
import { failureOf, type RequestGuard } from '../abuse/types.ts'
import { type CodeRequest, type CodeTarget, codeFailure } from '../email_codes/types.ts'
import type { ReadEmail } from '../identifiers/types.ts'
import {
  type NewPasswordForm,
  newPasswordForm,
  type RecoverCodeForm,
  type RecoverForm,
  recoverCodeForm,
  recoverForm,
} from './schema.ts'
import type { Asked, RecoveryService } from './service.ts'

export interface RecoveryStepDeps {
  readonly recovery: RecoveryService
  readonly codes: {
    ensure(request: CodeRequest): Promise<void>
    resend(request: CodeRequest): Promise<number | undefined>
    resendIn(target: CodeTarget): Promise<number>
    check(target: CodeTarget, typed: string): Promise<Checked>
  }
  readonly readEmail: ReadEmail
  readonly guard: RequestGuard
  readonly minLength: number
  readonly clock: { now(): Date }
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']

/** Nothing is looked up here: the answer is the same whoever has an account. */
export function createRecoverStep({
  readEmail,
  guard,
}: Pick<RecoveryStepDeps, 'readEmail' | 'guard'>): Step<RecoverForm> {
  return {
    name: 'recover',
    feature: 'recovery',
    prompts: PROMPTS,
    meets: ['account'],
    begins: 'recover',
    needed: ({ progress }) => progress.path === 'recover' && progress.answers.recover === undefined,
    input: recoverForm,
    show: async ({ progress }) => (progress.identifier === undefined ? {} : { identifier: progress.identifier }),
    async submit({ identifier, proof }, { client: { clientId } }, { ip }) {
      const email = await readEmail(identifier, { ip, clientId })
      if (email === undefined) return { ok: false, code: 'email_invalid', field: 'identifier' }
      const admitted = await guard.admit({ flow: 'recover', identifier: email, ip, clientId, proof })
      if (!admitted.ok) return failureOf(admitted)
      return { ok: true, patch: { identifier: email, answers: { recover: 'asked', recover_code: null } } }
    },
  }
}

export function createRecoverCodeStep({ recovery, codes, clock }: RecoveryStepDeps): Step<RecoverCodeForm> {
  return {
    name: 'recover_code',
    feature: 'recovery',
    prompts: PROMPTS,
    meets: ['account'],
    needed: ({ progress }) =>
      progress.path === 'recover' &&
      progress.answers.recover !== undefined &&
      !holdsMailbox(progress) &&
      // The new password ends everything older, the proof of the mailbox too.
      !authenticated(progress),
    input: recoverCodeForm,

    async show(state, { ip }) {
      const request = await recovery.request(askedBy(state), { ip, locale: state.locale })
      await codes.ensure(request)
      const sent = state.progress.answers.recover_code === 'resent'
      return { email: request.to, minutes: CODE_MINUTES, resendIn: await codes.resendIn(request), sent }
    },

    async submit({ action, code }, state, { ip }) {
      if (action === 'resend') {
        const retryAfter = await codes.resend(await recovery.request(askedBy(state), { ip, locale: state.locale }))
        if (retryAfter !== undefined) return { ok: false, code: 'code_resend_too_soon', retryAfter }
        return { ok: true, patch: { answers: { recover_code: 'resent' } } }
      }
      const { target, account, stamp } = await recovery.target(askedBy(state))
      const checked = await codes.check(target, code)
      if (checked !== 'right' || account === undefined) return codeFailure(checked)
      const { accountId, epoch } = account
      const proof = { method: MAILBOX, accountId, at: clock.now().getTime(), epoch }
      return { ok: true, patch: { accountId, account, proof, answers: { recover_code: stamp } } }
    },
  }
}

/** There is no way to this page but a mailed code of this conversation (A21). */
export function createNewPasswordStep({ recovery, minLength, clock }: RecoveryStepDeps): Step<NewPasswordForm> {
  return {
    name: 'new_password',
    feature: 'recovery',
    prompts: PROMPTS,
    meets: ['authentication'],
    needed: ({ progress }) =>
      progress.path === 'recover' && holdsMailbox(progress) && !progress.proofs.some(({ method }) => method === 'pwd'),
    input: newPasswordForm,
    show: async ({ progress }) => ({ identifier: progress.identifier ?? '', minLength }),

    async submit({ password, shared }, state) {
      const { account, progress, locale, client } = state
      const stamp = progress.answers.recover_code
      // The account was deleted, or the answer is not that of this proof: begin again.
      if (account === undefined || typeof stamp !== 'string') return startAgain
      const recovered = await recovery.newPassword(account, stamp, password, {
        locale,
        brand: client.brand?.id,
      })
      if (!recovered.ok) {
        return recovered.code === 'stale' ? startAgain : { ok: false, code: recovered.code, field: 'password' }
      }
      const { accountId, epoch } = recovered.account
      return {
        ok: true,
        patch: {
          accountId,
          account: recovered.account,
          proof: { method: 'pwd', amr: ['pwd'], accountId, at: clock.now().getTime(), epoch },
          remember: shared !== 'yes',
        },
      }
    },
  }
}

const startAgain: Outcome = {
  ok: true,
  patch: { path: 'recover', accountId: null, answers: { recover: null, recover_code: null } },
}

function holdsMailbox({ accountId, proofs }: FlowState['progress']): boolean {
  return accountId !== undefined && proofs.some((proof) => proof.method === MAILBOX && proof.accountId === accountId)
}

function askedBy({ cid, uid, client, progress: { identifier = '' } }: FlowState): Asked {
  return { cid, uid, email: identifier, brand: client.brand?.id }
}
