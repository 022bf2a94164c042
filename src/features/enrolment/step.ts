/** The page that says why a second factor is to be set up, and lists what can be. */
import { enrolmentDue, lacking, putOffBy } from '../../interaction/levels.ts'
import { authenticated, type FlowState, type Outcome, type Step } from '../../interaction/step.ts'
import { type EnrolForm, enrolForm } from './schema.ts'
import type { EnrolmentService } from './service.ts'
import type { Setup } from './types.ts'

export interface EnrolStepDeps {
  readonly enrolment: Pick<EnrolmentService, 'putOff'>
  /** What there is to set up; the page knows none of it. */
  readonly setups: readonly Setup[]
}

/**
 * Chooses what to set up: one of the methods that what was asked for lacks, or any where policy demands a second factor. It
 * comes before the steps that do it, which are reached by choosing them. Whoever refuses what a request demands leaves the
 * request unmet (RFC 9470 §5); what policy demands may be put off while its grace lasts, counted on the account (A45).
 */
export function createEnrolStep({ enrolment, setups }: EnrolStepDeps): Step<EnrolForm> {
  return {
    name: 'enrol',
    feature: 'enrolment',
    prompts: ['login', 'create', 'select_account'],
    meets: ['enrolment'],
    needed,
    input: enrolForm,
    show: async (state) => ({
      setups: possible(setups, state),
      left: left(state),
      demanded: lacking(state).length > 0,
    }),
    async submit({ action }, state): Promise<Outcome> {
      const { account } = state
      if (account === undefined) return { ok: false, code: 'stale' }
      if (action === 'refuse') return REFUSED
      if (left(state) === 0) return { ok: false, code: 'enrolment_required' }
      const counted = await enrolment.putOff(account.accountId, state.enrolment.grace)
      if (!counted) return { ok: false, code: 'enrolment_required' }
      return { ok: true, patch: { answers: putOffBy(account.accountId), chosen: null } }
    },
  }
}

const REFUSED: Outcome = {
  ok: true,
  deny: { error: 'unmet_authentication_requirements', description: 'the end-user did not set up a second factor' },
}

function needed(state: FlowState): boolean {
  if (lacking(state).length > 0) return true
  return enrolmentDue(state) && authenticated(state.progress) && state.account?.emailVerified === true
}

function possible(setups: readonly Setup[], state: FlowState): readonly Setup[] {
  const methods = lacking(state)
  return methods.length === 0 ? setups : setups.filter(({ method }) => methods.includes(method))
}

/** How often it may still be put off; what a request demands may not. */
function left(state: FlowState): number {
  const { enrolment, account } = state
  if (lacking(state).length > 0) return 0
  return Math.max(0, enrolment.grace - (account?.enrolmentSkips ?? 0))
}
