/** The pages of the conversation that ask for a passkey, set one up where one is demanded, and offer to make one. */
import { activeOf, enrolmentDue, lacking, met, wanted } from '../../interaction/levels.ts'
import {
  ABILITIES,
  type AccountView,
  authenticated,
  type FlowState,
  type Outcome,
  type PromptName,
  type Proof,
  type Step,
} from '../../interaction/step.ts'
import { type PasskeyForm, type PasskeySetupForm, passkeyForm, passkeySetupForm } from './schema.ts'
import { METHOD, type PasskeyService } from './service.ts'
import type { Holder } from './types.ts'

export interface PasskeyStepDeps {
  readonly passkeys: Pick<PasskeyService, 'requestOptions' | 'creationOptions' | 'show' | 'register'>
  readonly accounts: { view(accountId: string): Promise<AccountView | undefined> }
  readonly enrolment: { nudgeAfter(accountId: string, at: Date): Promise<void> }
  /** The name that the authenticator shows beside the account. */
  readonly rpName: (brandId: string | undefined) => Promise<string>
  readonly clock: { now(): Date }
  /** Counts what becomes of offers. */
  readonly offered?: ((result: 'shown' | 'taken' | 'declined') => void) | undefined
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']
/** Whoever declined an offer is not asked again for so long. */
const NUDGE_MS = 30 * 86_400_000

/** In the place of identifier and password alike; and beside what was shown already, where that is not enough. */
const signsIn = ({ progress }: FlowState) => progress.path === 'login' && !authenticated(progress)
const adds = (state: FlowState) => wanted(state).includes(METHOD)

/** Asks for a passkey: of whoever is there, or of the account that has shown something else. */
export function createPasskeyStep({ passkeys, clock }: PasskeyStepDeps): Step<PasskeyForm> {
  const needed = (state: FlowState) => signsIn(state) || adds(state)
  return {
    name: 'passkey',
    feature: 'passkeys',
    prompts: PROMPTS,
    meets: ['account', 'authentication', 'second_factor'],
    inRealm: 'break_glass',
    needed,
    offer: (state) =>
      needed(state)
        ? { step: 'passkey', label: 'passkey.offer', ...(signsIn(state) && { autofill: true }) }
        : undefined,
    input: passkeyForm,
    show: async (state) => ({ first: signsIn(state), identifier: state.progress.identifier ?? '' }),
    challenge: (state) => passkeys.requestOptions(askedOf(state)),
    async submit({ credential }, state, { ip }) {
      const shown = await passkeys.show(credential, askedOf(state), { ip, clientId: state.client.clientId })
      if (!shown.ok) {
        const { unknown, ...failure } = shown
        return unknown === undefined ? failure : { ...failure, values: { unknown } }
      }
      const { account } = shown
      const { accountId, email } = account
      return {
        ok: true,
        patch: { accountId, account, identifier: email, proof: proofOf(account, clock), chosen: null },
      }
    },
  }
}

/** Sets one up, where the sign-in needs what the account lacks. */
export function createPasskeySetupStep(deps: PasskeyStepDeps): Step<PasskeySetupForm> {
  return {
    ...making(deps),
    name: 'passkey_setup',
    feature: 'passkeys',
    meets: ['enrolment'],
    needed: (state) =>
      lacking(state).includes(METHOD) ||
      (enrolmentDue(state) && authenticated(state.progress) && state.account?.emailVerified === true),
    show: async () => ({}),
    submit: ({ credential }, state) => make(deps, credential, state),
  }
}

/** Offers one to whoever has signed in by what can be stolen, in a browser that can make one, now and then. */
export function createPasskeyOfferStep(deps: PasskeyStepDeps): Step<PasskeySetupForm> {
  const { enrolment, clock, offered } = deps
  return {
    ...making(deps),
    name: 'passkey_offer',
    feature: 'passkeys',
    meets: [],
    needed: isOffered,
    async show() {
      offered?.('shown')
      return {}
    },
    async submit({ credential, action }, state) {
      const { account } = state
      if (account === undefined) return { ok: false, code: 'stale' }
      if (action === 'add') {
        const made = await make(deps, credential, state)
        if (made.ok) offered?.('taken')
        return made
      }
      offered?.('declined')
      await enrolment.nudgeAfter(account.accountId, new Date(clock.now().getTime() + NUDGE_MS))
      // Answers outlive a change of account: this one names whose it is.
      return { ok: true, patch: { answers: { passkey_offer: account.accountId } } }
    },
  }
}

function making({ passkeys, rpName }: PasskeyStepDeps) {
  return {
    prompts: PROMPTS,
    input: passkeySetupForm,
    async challenge(state: FlowState) {
      const { account, cid, client } = state
      if (account === undefined) return {}
      return passkeys.creationOptions({ id: cid }, account, await rpName(client.brand?.id))
    },
  }
}

async function make({ passkeys, accounts, clock }: PasskeyStepDeps, text: string, state: FlowState): Promise<Outcome> {
  const { account, cid, session, client, locale } = state
  if (account === undefined) return { ok: false, code: 'stale' }
  const { accountId } = account
  const sessionUid = session?.accountId === accountId ? session.uid : undefined
  const change = { page: { locale, brand: client.brand?.id }, sessionUid }
  const registered = await passkeys.register(text, { id: cid }, account, change)
  if (!registered.ok) return registered
  const after = await accounts.view(accountId)
  return { ok: true, patch: { accountId, account: after, proof: proofOf(account, clock), chosen: null } }
}

function isOffered(state: FlowState): boolean {
  const { progress, account, session, demands, now } = state
  if (!authenticated(progress) || account === undefined || !account.emailVerified) return false
  if (account.factors.includes(METHOD) || progress.answers[ABILITIES] !== METHOD) return false
  // Whoever came by a provider signs in without typing anything already.
  if (progress.proofs.some(({ by }) => by !== undefined)) return false
  // Not on a shared computer, and not whoever only confirms who they are.
  if (progress.remember === false || session?.accountId === account.accountId) return false
  if (progress.answers.passkey_offer === account.accountId || (account.nudgeAfter ?? 0) > now) return false
  // A remembered browser is no reason to trust another key (A48).
  return demands.every((demand) => met(demand, activeOf(progress.proofs), now)) && !enrolmentDue(state)
}

/** Of the conversation's own record only: whose passkey it must be is never the form's to say. */
function askedOf(state: FlowState): Holder {
  return { id: state.cid, accountId: signsIn(state) ? undefined : state.progress.accountId }
}

/** RFC 8176: a key was shown, by somebody whom the authenticator had verified. */
function proofOf({ accountId, epoch }: AccountView, clock: PasskeyStepDeps['clock']): Proof {
  return { method: METHOD, amr: ['pop', 'mfa'], accountId, at: clock.now().getTime(), epoch }
}
