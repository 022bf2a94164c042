/** Whom the conversation is about: the identifier, the account of this browser, and the change from one to another. */
import { z } from 'zod'
import {
  type AccountView,
  authenticated,
  type FlowState,
  needsSwitch,
  type Patch,
  type PromptName,
  type RequestFacts,
  type Step,
} from '../../interaction/step.ts'
import type { ReadEmail } from '../identifiers/types.ts'

export interface AccountStepDeps {
  readonly accounts: { view(accountId: string): Promise<AccountView | undefined> }
}

export interface IdentifierStepDeps {
  readonly readEmail: ReadEmail
  /** Where the browser is sent at once because the domain of the address has a provider; undefined when it stays. */
  readonly leadAway: (email: string, state: FlowState, request: RequestFacts) => Promise<string | undefined>
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']

/** `prompt=select_account`: go on as the account of this browser, or as another. */
export function createChooseAccountStep({ accounts }: AccountStepDeps): Step<{ action: 'continue' | 'other' }> {
  return {
    name: 'choose_account',
    feature: 'accounts',
    prompts: ['select_account'],
    meets: ['account'],
    needed: ({ session, progress }) =>
      session !== undefined && progress.accountId === undefined && progress.answers.choose_account === undefined,
    input: z.object({ action: z.enum(['continue', 'other']) }),
    async show({ session }) {
      const account = session === undefined ? undefined : await accounts.view(session.accountId)
      return { account: { email: account?.email ?? '', name: account?.name }, accountLocale: account?.locale }
    },
    submit: async ({ action }) => ({ ok: true, patch: { answers: { choose_account: action } } }),
  }
}

/** Who is signing in. Only the domain is looked at: the answer is the same whoever has an account (A31). */
export function createIdentifierStep({ readEmail, leadAway }: IdentifierStepDeps): Step<{ identifier: string }> {
  return {
    name: 'identifier',
    feature: 'accounts',
    prompts: PROMPTS,
    meets: ['account'],
    begins: 'login',
    needed: ({ progress }) => progress.path === 'login' && progress.identifier === undefined,
    input: z.object({ identifier: z.string().default('') }),
    async show({ progress }) {
      const typed = progress.answers.identifier
      return typeof typed === 'string' ? { identifier: typed } : {}
    },
    async submit({ identifier }, state, request) {
      const email = await readEmail(identifier, { ip: request.ip, clientId: state.client.clientId })
      if (email === undefined) return { ok: false, code: 'email_invalid', field: 'identifier' }
      const patch: Patch = { identifier: email, answers: { identifier: null } }
      const leave = await leadAway(email, state, request)
      return leave === undefined ? { ok: true, patch } : { ok: true, patch, leave }
    },
  }
}

/** Another account than the proven one is signed in in this browser; only one can be. */
export function createSwitchAccountStep({ accounts }: AccountStepDeps): Step<{ action: 'switch' | 'stay' }> {
  return {
    name: 'switch_account',
    feature: 'accounts',
    prompts: PROMPTS,
    meets: ['account'],
    needed: (state) => authenticated(state.progress) && state.account?.emailVerified === true && needsSwitch(state),
    input: z.object({ action: z.enum(['switch', 'stay']) }),
    async show({ session, account }) {
      const current = session === undefined ? undefined : await accounts.view(session.accountId)
      return { current: { email: current?.email ?? '' }, next: { email: account?.email ?? '' } }
    },
    async submit({ action }, { prompt, session, progress }) {
      if (action === 'switch') return { ok: true, patch: { answers: { switch_account: progress.accountId } } }
      if (prompt.name !== 'login') {
        return { ok: true, patch: { accountId: null, path: 'login', answers: { choose_account: 'continue' } } }
      }
      const current = session === undefined ? undefined : await accounts.view(session.accountId)
      return { ok: true, patch: { accountId: null, path: 'login', identifier: current?.email ?? null } }
    },
  }
}
