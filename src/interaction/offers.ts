/** The other ways that the page of a step shows, with a word at the one that this browser took last. */
import type { Context } from 'koa'
import type { LastMethod } from '../http/last_method.ts'
import { isClosed } from './realms.ts'
import type { FlowState, Offer, Step } from './step.ts'

export interface LastUsedDeps {
  readonly lastMethod: Pick<LastMethod, 'read'>
  /** The method that a step proves, by the step's name. */
  readonly methodOf: (step: string) => string | undefined
}

/** Whether an offer is what this browser took last; of several of one step, by the answer that its button gives. */
export function lastUsed({ lastMethod, methodOf }: LastUsedDeps, ctx: Context): (offer: Offer) => boolean {
  const last = lastMethod.read(ctx)
  return ({ step, field }) => {
    const method = methodOf(step)
    return method !== undefined && wayOf(method, field?.value) === last
  }
}

/** How the cookie names what was taken: the method and, of several providers of it, which. */
export function wayOf(method: string, of: string | undefined): string {
  return of === undefined ? method : `${method}.${of}`
}

export async function offersBeside(
  steps: readonly Step[],
  state: FlowState,
  shown: Step,
  isLast: (offer: Offer) => boolean,
): Promise<readonly (Offer & { readonly lastUsed?: boolean })[]> {
  const others = steps.filter(
    (step) => step !== shown && step.prompts.includes(state.prompt.name) && !isClosed(step, state),
  )
  const offers = await Promise.all(
    others.map(async (step) => (step.offers === undefined ? [step.offer?.(state)] : step.offers(state))),
  )
  return offers.flat().flatMap((offer) => {
    if (offer === undefined) return []
    return isLast(offer) ? [{ ...offer, lastUsed: true }] : [offer]
  })
}
