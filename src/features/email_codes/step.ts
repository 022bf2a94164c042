/** The pages that ask for the code of a mail: for the address of a new account, and instead of a password. */
import { AppError } from '../../errors.ts'
import {
  type AccountView,
  authenticated,
  type FlowState,
  type Outcome,
  type Patch,
  type PromptName,
  type Step,
} from '../../interaction/step.ts'
import { CODE_MINUTES } from '../../platform/one_time_codes.ts'
import type { Tx } from '../../platform/postgres.ts'
import type { ReadEmail } from '../identifiers/types.ts'
import { type Credential, stampOf } from '../passwords/types.ts'
import { type EmailCodeForm, emailCodeForm, type VerifyEmailForm, verifyEmailForm } from './schema.ts'
import type { EmailCodeService } from './service.ts'
import { type CodeRequest, type CodeTarget, codeFailure } from './types.ts'

interface CodeStepDeps {
  readonly codes: Pick<EmailCodeService, 'ensure' | 'resend' | 'resendIn' | 'check'>
  readonly issuer: string
  /** The path where somebody who has an account already may sign in, or who has none may make one. */
  readonly home: string
  readonly clock: { now(): Date }
}

export interface VerifyEmailStepDeps extends CodeStepDeps {
  readonly accounts: {
    emailTaken(email: string, exceptId: string): Promise<boolean>
    proveEmail(id: string, email: string, tx: Tx): Promise<AccountView | undefined>
    correctPending(id: string, email: string, tx: Tx): Promise<AccountView | undefined>
    publish(id: string): Promise<void>
  }
  readonly readEmail: ReadEmail
  readonly transaction: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
}

export interface EmailCodeStepDeps extends CodeStepDeps {
  readonly passwords: {
    /** The account that has proven the address, in one statement whether there is one or not. */
    findProven(email: string): Promise<Credential | undefined>
  }
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']
/** RFC 8176 knows it as a one-time code. */
const PROOF = { method: 'email_code', amr: ['otp'] } as const

/** Proves the address of a new account. For an account without a password it is the proof that signs in, too. */
export function createVerifyEmailStep(deps: VerifyEmailStepDeps): Step<VerifyEmailForm> {
  const { codes } = deps
  return {
    name: 'verify_email',
    feature: 'email_codes',
    prompts: PROMPTS,
    meets: ['authentication', 'verified_email'],
    // Also while the account is not there any more, so that nothing tells what others did with the address.
    needed: ({ progress, account }) =>
      progress.path === 'create' &&
      progress.accountId !== undefined &&
      !(authenticated(progress) && account?.emailVerified === true),
    input: verifyEmailForm,

    /** A new conversation's first look at this page sends the code; later looks send nothing. */
    async show(state, { ip }) {
      await codes.ensure(await verifyRequest(deps, state, ip))
      const { to } = verifyTarget(state)
      const sent = state.progress.answers.verify_email === 'resent'
      return { email: to, minutes: CODE_MINUTES, resendIn: await codes.resendIn(verifyTarget(state)), sent }
    },

    async submit({ action, code, email }, state, { ip }) {
      if (action === 'change') return correct(deps, state, email, ip)
      if (action === 'resend') return resend(codes, await verifyRequest(deps, state, ip), 'verify_email')
      const checked = await codes.check(verifyTarget(state), code)
      return checked === 'right' ? prove(deps, state) : codeFailure(checked)
    },
  }
}

/**
 * Signs in by a code that is mailed to the identifier. The page, its work and its answers are the same for every address
 * (A31, A32): only the mail says whether there is an account, and only a code of an active one is ever right.
 */
export function createEmailCodeStep(deps: EmailCodeStepDeps): Step<EmailCodeForm> {
  const { codes, clock } = deps
  const needed = ({ progress }: FlowState) =>
    progress.path === 'login' && progress.identifier !== undefined && !authenticated(progress)
  return {
    name: 'email_code',
    feature: 'email_codes',
    prompts: PROMPTS,
    meets: ['authentication'],
    needed,
    offer: (state) => (needed(state) ? { step: 'email_code', label: 'email_code.offer' } : undefined),
    input: emailCodeForm,

    /** The first look sends the code. Too many mails leave the page, and with it the way back to the password (A38). */
    async show(state, { ip }) {
      const { request } = await signInRequest(deps, state, ip)
      const { progress } = state
      const shown = { email: request.to, minutes: CODE_MINUTES, remember: progress.remember !== false }
      try {
        await codes.ensure(request)
      } catch (error) {
        return { ...shown, error: tooMany(error) }
      }
      return { ...shown, sent: progress.answers.email_code === 'resent', resendIn: await codes.resendIn(request) }
    },

    async submit({ action, code, shared }, state, { ip }) {
      const { request, account } = await signInRequest(deps, state, ip)
      if (action === 'resend') return resend(codes, request, 'email_code')
      const checked = await codes.check(request, code)
      if (checked !== 'right' || account === undefined) return codeFailure(checked)
      return { ok: true, patch: { ...proofOf(account, clock), remember: shared !== 'yes' } }
    },
  }
}

async function resend(codes: CodeStepDeps['codes'], request: CodeRequest, step: string): Promise<Outcome> {
  try {
    const retryAfter = await codes.resend(request)
    if (retryAfter !== undefined) return { ok: false, code: 'code_resend_too_soon', retryAfter }
    return { ok: true, patch: { answers: { [step]: 'resent' } } }
  } catch (error) {
    return { ok: false, ...tooMany(error) }
  }
}

/** Too many mails for one mailbox, requester or conversation: said on the page, where the earlier code may still be typed. */
function tooMany(error: unknown): { readonly code: string; readonly retryAfter: number } {
  if (!(error instanceof AppError) || error.code !== 'too_many_requests') throw error
  return { code: error.code, retryAfter: error.retryAfter ?? 1 }
}

function proofOf(account: AccountView, clock: CodeStepDeps['clock']): Patch {
  const { accountId, epoch } = account
  return { accountId, account, proof: { ...PROOF, accountId, at: clock.now().getTime(), epoch } }
}

async function prove({ accounts, transaction, clock }: VerifyEmailStepDeps, state: FlowState): Promise<Outcome> {
  const { accountId = '' } = state.progress
  try {
    const account = await transaction((tx) => accounts.proveEmail(accountId, verifyTarget(state).to, tx))
    if (account === undefined) return codeFailure('wrong')
    await accounts.publish(accountId)
    // Whoever has chosen a password has shown it already; `amr` names what signed in.
    return { ok: true, patch: authenticated(state.progress) ? { account } : proofOf(account, clock) }
  } catch (error) {
    // Two accounts proved the address in the same moment, and this one was later.
    if (error instanceof AppError && error.code === 'already_exists') return codeFailure('wrong')
    throw error
  }
}

async function correct(deps: VerifyEmailStepDeps, state: FlowState, typed: string, ip: string): Promise<Outcome> {
  const { accounts, readEmail, transaction } = deps
  const { accountId = '' } = state.progress
  const email = await readEmail(typed, { ip, clientId: state.client.clientId })
  if (email === undefined) return { ok: false, code: 'email_invalid', field: 'email' }
  const account = await transaction((tx) => accounts.correctPending(accountId, email, tx))
  if (account === undefined) return { ok: false, code: 'stale' }
  return { ok: true, patch: { identifier: email, accountId, account, answers: { verify_email: null } } }
}

/** Only from the conversation's own record: nothing that the form says names a mailbox (A23, A25). */
function verifyTarget({ cid, progress: { identifier = '', accountId = '' } }: FlowState): CodeTarget {
  return { purpose: 'verify_email', cid, to: identifier, bound: accountId }
}

/** The page is the same for an address that has an account already; only the mail differs. */
async function verifyRequest(
  { accounts, issuer, home }: VerifyEmailStepDeps,
  state: FlowState,
  ip: string,
): Promise<CodeRequest> {
  const target = verifyTarget(state)
  const taken = await accounts.emailTaken(target.to, target.bound)
  const mail = taken
    ? mailWithoutCode(target.to, 'registration/already_registered', `${issuer}${home}`)
    : mailWithCode(target.to, 'email_codes/verify_email', linkTo(issuer, state, 'verify_email'))
  return { ...target, ip, locale: state.locale, accountId: target.bound, brand: state.client.brand?.id, mail }
}

/**
 * The code that signs in, bound to the account as it is: after a new password, another address or "end everything" it is
 * dead (A24, A53). An address without an account is told so in the mail. A disabled account gets none: it cannot be used.
 */
async function signInRequest(
  { passwords, issuer, home }: EmailCodeStepDeps,
  state: FlowState,
  ip: string,
): Promise<{ request: CodeRequest; account: AccountView | undefined }> {
  const { cid, locale, progress } = state
  const to = progress.identifier ?? ''
  const credential = await passwords.findProven(to)
  const account = credential?.account.active ? credential.account : undefined
  const mail =
    credential === undefined
      ? mailWithoutCode(to, 'email_codes/no_account', `${issuer}${home}`)
      : mailWithCode(account && to, 'email_codes/sign_in', linkTo(issuer, state, 'email_code'))
  const target: CodeTarget = { purpose: 'sign_in', cid, to, bound: stampOf(credential) }
  const brand = state.client.brand?.id
  return { request: { ...target, ip, locale, accountId: account?.accountId, brand, mail }, account }
}

type CodeMail = CodeRequest['mail']

function mailWithCode(to: string | undefined, template: string, link: (code: string) => string): CodeMail {
  return { to: to ?? null, template, carriesCode: true, values: (code) => ({ url: link(code) }) }
}

function mailWithoutCode(to: string, template: string, url: string): CodeMail {
  return { to, template, carriesCode: false, values: () => ({ url }) }
}

function linkTo(issuer: string, { uid }: FlowState, step: string): (code: string) => string {
  return (code) => `${issuer}/interaction/${uid}/${step}?code=${code}`
}
