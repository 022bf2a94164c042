/**
 * The conversation as pure functions: where it begins, what a submit changes, what comes next, when it is done. The order
 * of the steps is the order of the table that `app.ts` hands in. The one rule that everything rests on: each proof names
 * the account it proves, and naming another account drops all proofs. Without it two parallel submits could pair one
 * account's password with another account.
 */
import { enrolmentDue, met } from './levels.ts'
import { isFinished } from './progress.ts'
import { isClosed, isConfined } from './realms.ts'
import {
  authenticated,
  type FlowState,
  needsSwitch,
  type Patch,
  type Progress,
  type PromptName,
  type Proof,
  type Step,
} from './step.ts'

/** The progress before the first answer. `version` is that of the stored record it replaces, 0 when there is none. */
export function begin(prompt: PromptName, identifier: string | undefined, version = 0): Progress {
  return { version, path: prompt === 'create' ? 'create' : 'login', identifier, proofs: [], answers: {} }
}

/**
 * The progress after a submit. Naming another account, another identifier or another path drops the account and all
 * proofs, unless the same patch names the account again; a proof of an account that is not the named one is refused, and
 * a proof made before "end everything" gives way to one made after it.
 */
export function merge(progress: Progress, patch: Patch): Progress {
  const identifier = patch.identifier === undefined ? progress.identifier : (patch.identifier ?? undefined)
  const path = patch.path ?? progress.path
  const elsewhere = identifier !== progress.identifier || path !== progress.path
  const kept = elsewhere && patch.accountId === undefined ? undefined : progress.accountId
  const accountId = patch.accountId === undefined ? kept : (patch.accountId ?? undefined)
  const proofs = accountId === progress.accountId ? progress.proofs : []
  return {
    version: progress.version,
    path,
    identifier,
    accountId,
    proofs: addProof(proofs, accountId, patch.proof),
    chosen: patch.chosen === undefined ? progress.chosen : (patch.chosen ?? undefined),
    remember: patch.remember ?? progress.remember,
    answers: mergeAnswers(progress.answers, patch.answers),
    browser: progress.browser,
    finished: progress.finished,
  }
}

function addProof(proofs: readonly Proof[], accountId: string | undefined, proof: Proof | undefined): readonly Proof[] {
  if (proof === undefined || accountId === undefined || proof.accountId !== accountId) return proofs
  if (proofs.some(({ epoch }) => epoch > proof.epoch)) return proofs
  return [...proofs.filter(({ method, epoch }) => method !== proof.method && epoch === proof.epoch), proof]
}

function mergeAnswers(answers: Progress['answers'], changes: Patch['answers']): Progress['answers'] {
  if (changes === undefined) return answers
  return Object.fromEntries(Object.entries({ ...answers, ...changes }).filter(([, value]) => value != null))
}

/**
 * Whether the conversation may end, and as whom: as the `account` that was proven, or with the `session` that the person
 * chose to go on with. Consent ends by its own outcome, never here.
 */
export function finished(state: FlowState): 'account' | 'session' | undefined {
  const { prompt, progress, session, account } = state
  if (prompt.name === 'consent') return undefined
  const { accountId, proofs, answers } = progress
  if (accountId === undefined) {
    const goesOn = prompt.name !== 'login' && session !== undefined && answers.choose_account === 'continue'
    return goesOn ? 'session' : undefined
  }
  if (!authenticated(progress) || !proofs.every((proof) => proof.accountId === accountId)) return undefined
  if (account?.accountId !== accountId || !account.active || !account.emailVerified) return undefined
  // Only the provider of the domain signs its people in.
  const { realm } = state
  if (isConfined(realm, accountId) && !proofs.some(({ by }) => by?.upstream === realm.upstream)) return undefined
  // The levels of the account and of the request, whichever pages were seen, skipped or never loaded (A41, A43, A45).
  if (!state.demands.every((demand) => met(demand, proofs, state.now)) || enrolmentDue(state)) return undefined
  if (needsSwitch(state)) return undefined
  return 'account'
}

/**
 * The step to show: the first of the table that is needed, or the one chosen by "another way" when it is needed too and
 * meets a requirement of the first, so that a choice never jumps over a step.
 */
export function next(steps: readonly Step[], state: FlowState): Step | undefined {
  const needed = steps.filter(
    (step) => step.prompts.includes(state.prompt.name) && step.needed(state) && !isClosed(step, state),
  )
  const [first] = needed
  const chosen = needed.find(({ name }) => name === state.progress.chosen)
  return chosen?.meets.some((requirement) => first?.meets.includes(requirement)) ? chosen : first
}

/**
 * The named step, when it may be answered now: the one that is shown or, if it gives challenges or sends the browser away, one
 * that could be chosen.
 */
export function answerable(steps: readonly Step[], state: FlowState, name: string): Step | undefined {
  const chosen = next(steps, { ...state, progress: { ...state.progress, chosen: name } })
  const isWithin = chosen?.challenge === undefined && chosen?.arrive === undefined
  const step = isWithin ? next(steps, state) : chosen
  return step?.name === name ? step : undefined
}

/** Every change of path forgets the account and its proofs; what was typed stays, to be corrected instead of typed again. */
export function switchPatch({ progress }: FlowState, to: string): Patch {
  const afresh = { accountId: null, chosen: null } as const
  switch (to) {
    case 'login':
      return { ...afresh, path: 'login', answers: { choose_account: 'other' } }
    case 'identifier':
      return {
        ...afresh,
        path: 'login',
        identifier: null,
        answers: { choose_account: 'other', identifier: progress.identifier },
      }
    case 'create':
      return { ...afresh, path: 'create', answers: { verify_email: null, choose_account: 'other' } }
    case 'recover':
      return { ...afresh, path: 'recover', answers: { recover: null, recover_code: null } }
    default:
      return { chosen: to }
  }
}

/** Whoever has signed in, but not at the level that is asked for, leaves the request unmet (RFC 9470 §5). */
export function abortOf(state: FlowState) {
  const isShort =
    authenticated(state.progress) && !state.demands.every((demand) => met(demand, state.progress.proofs, state.now))
  const error = isShort ? 'unmet_authentication_requirements' : 'access_denied'
  return { error, error_description: 'the end-user cancelled' }
}

/** A step that a conversation which could end still has for the person: an offer to be taken or left. */
export function optional(steps: readonly Step[], state: FlowState): Step | undefined {
  return finished(state) === 'account' && !isFinished(state) ? next(steps, state) : undefined
}
