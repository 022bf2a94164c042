/** "I can't use any of these": the page that asks for the removal of all second factors, says how long it takes, and does it. */
import { z } from 'zod'
import { wanted } from '../../interaction/levels.ts'
import { type FlowState, MAILBOX, type PromptName, type Proof, type Step } from '../../interaction/step.ts'
import { momentIn } from '../../platform/locales.ts'
import type { LostFactorService } from './service.ts'

export interface LostFactorStepDeps {
  readonly lostFactors: Pick<LostFactorService, 'find' | 'request' | 'complete' | 'waitingHours'>
}

const PROMPTS: readonly PromptName[] = ['login', 'create', 'select_account']

const input = z.object({ action: z.enum(['request', 'remove']) })

export function createLostFactorStep({ lostFactors }: LostFactorStepDeps): Step<z.output<typeof input>> {
  return {
    name: 'lost_factor',
    feature: 'lost_factors',
    prompts: PROMPTS,
    meets: ['second_factor'],
    needed: isStuck,
    offer: (state) => (isStuck(state) ? { step: 'lost_factor', label: 'lost_factor.offer' } : undefined),
    input,

    async show({ account, locale }) {
      const removal = account === undefined ? undefined : await lostFactors.find(account.accountId)
      const hours = lostFactors.waitingHours
      if (removal === undefined) return { state: 'open', hours, due: '' }
      return { state: removal.isDue ? 'due' : 'waiting', hours, due: momentIn(locale, removal.dueAt) }
    },

    async submit({ action }, state, { ip }) {
      const { account, client, locale } = state
      const first = firstShown(state)
      if (account === undefined || first === undefined) return { ok: false, code: 'stale' }
      const page = { locale, brand: client.brand?.id }
      if (action === 'request') {
        const asked = await lostFactors.request(account, ip, page)
        if (!asked.ok) return { ok: false, code: 'too_many_requests', retryAfter: asked.retryAfter }
        return { ok: true, patch: { chosen: 'lost_factor' } }
      }
      const after = await lostFactors.complete(account.accountId, page)
      if (after === undefined) return { ok: false, code: 'removal_not_due' }
      // All proofs of before are void with the sessions; the first factor was shown a moment ago by whoever is here.
      const proof = { ...first, epoch: after.epoch }
      return { ok: true, patch: { accountId: after.accountId, account: after, proof, chosen: null } }
    },
  }
}

/** Something is asked for that the account has set up, by a person who has shown the first factor here and now. */
function isStuck(state: FlowState): boolean {
  const { account } = state
  if (account === undefined || firstShown(state) === undefined) return false
  return wanted(state).some((method) => account.factors.includes(method))
}

/** The latest first factor of this very conversation: what the session brought along is not enough to ask for a removal. */
function firstShown({ session, progress: { accountId, proofs } }: FlowState): Proof | undefined {
  const brought = session?.proofs ?? []
  return proofs.findLast(
    ({ method, second, at, accountId: of }) =>
      of === accountId &&
      method !== MAILBOX &&
      second !== true &&
      !brought.some((proof) => proof.method === method && proof.at === at),
  )
}
